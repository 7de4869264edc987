//! A limit on connections, and a word to those beyond it.
//!
//! Who is turned away is told so in the protocol it speaks, if it says within [`PATIENCE`] which
//! one that is: by the answer that the server chose, or by a GOAWAY that leaves no doubt that no
//! request was taken (RFC 9113 §6.8). Only some at a time are: of more than that each is closed
//! without a word.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy, sink};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::connection::PREFACE;

/// How long somebody who is turned away may take.
const PATIENCE: Duration = Duration::from_secs(1);
/// Connections that are turned away with a word at the same time.
const AT_ONCE: usize = 100;

/// SETTINGS without any, and GOAWAY: the last stream that was taken is 0, there is no error.
const GOAWAY: [u8; 26] = [
    0, 0, 0, 4, 0, 0, 0, 0, 0, //
    0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
];

/// How many connections a server takes at once, on all its ports together.
#[derive(Clone, Copy, Debug)]
pub struct Most {
    /// So many.
    pub connections: usize,
    /// A whole HTTP/1.1 answer for those beyond. It has to say `Connection: close`.
    pub refusal: &'static [u8],
}

/// The connections of a server that takes so many at most.
#[derive(Debug)]
pub(crate) struct Crowd {
    most: Most,
    inside: AtomicUsize,
    refused: AtomicUsize,
}

impl Crowd {
    pub(crate) fn new(most: Most) -> Arc<Self> {
        Arc::new(Self {
            most,
            inside: AtomicUsize::new(0),
            refused: AtomicUsize::new(0),
        })
    }

    /// Counts one connection more, if there may be.
    pub(crate) fn enter(self: &Arc<Self>) -> Option<Member> {
        let most = self.most.connections;
        Member::enter(self, most, |crowd| &crowd.inside)
    }

    /// What tells the next one that there is no room; `None` if too many are being told.
    pub(crate) fn refuse(
        self: &Arc<Self>,
        stream: TcpStream,
    ) -> Option<impl Future<Output = ()> + Send + use<>> {
        let member = Member::enter(self, AT_ONCE, |crowd| &crowd.refused)?;
        let refusal = self.most.refusal;
        Some(async move {
            let _member = member;
            // Whoever does not listen is closed all the same.
            let _ = timeout(PATIENCE, tell(stream, refusal)).await;
        })
    }
}

async fn tell(mut stream: TcpStream, refusal: &[u8]) -> std::io::Result<()> {
    let mut first = [0; PREFACE.len()];
    let mut count = 0;
    while count < first.len() && first[..count] == PREFACE[..count] {
        match stream.read(&mut first[count..]).await? {
            0 => return Ok(()),
            read => count += read,
        }
    }
    let word = match &first == PREFACE {
        true => &GOAWAY,
        false => refusal,
    };
    stream.write_all(word).await?;
    stream.shutdown().await?;
    // A socket that is closed with bytes unread is reset, which would take the word away again.
    copy(&mut stream, &mut sink()).await?;
    Ok(())
}

/// Counts one connection while it is held.
pub(crate) struct Member {
    crowd: Arc<Crowd>,
    count: fn(&Crowd) -> &AtomicUsize,
}

impl Member {
    fn enter(crowd: &Arc<Crowd>, most: usize, count: fn(&Crowd) -> &AtomicUsize) -> Option<Self> {
        let before = count(crowd).fetch_add(1, Ordering::AcqRel);
        let member = Self {
            crowd: Arc::clone(crowd),
            count,
        };
        (before < most).then_some(member)
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        (self.count)(&self.crowd).fetch_sub(1, Ordering::AcqRel);
    }
}
