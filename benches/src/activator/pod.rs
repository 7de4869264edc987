//! Pods in this process, which see what comes to them: a fixed time for each request.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::process::Outcome;

/// What a pod has seen.
#[derive(Default)]
pub(super) struct Pod {
    inside: AtomicUsize,
    most: AtomicUsize,
    /// The number of each request, and when it came.
    seen: Mutex<Vec<(usize, Instant)>>,
}

impl Pod {
    /// Serves on the current runtime, each request for so long.
    pub(super) async fn start(time: Duration) -> Outcome<(u16, Arc<Self>)> {
        let failed = |error: std::io::Error| format!("no pod: {error}");
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let listener = TcpListener::bind(any).await.map_err(failed)?;
        let port = listener.local_addr().map_err(failed)?.port();
        let pod = Arc::new(Self::default());
        let serving = Arc::clone(&pod);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let pod = Arc::clone(&serving);
                tokio::spawn(async move { pod.serve(stream, time).await });
            }
        });
        Ok((port, pod))
    }

    /// Most requests that were inside at once.
    pub(super) fn most(&self) -> usize {
        self.most.load(Ordering::Relaxed)
    }

    /// The numbers of all requests, and when they came, in this order.
    pub(super) fn seen(&self) -> Vec<(usize, Instant)> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.clone()
    }

    pub(super) fn count(&self) -> usize {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.len()
    }

    fn comes(&self, number: usize, now: Instant) {
        let inside = self.inside.fetch_add(1, Ordering::Relaxed) + 1;
        self.most.fetch_max(inside, Ordering::Relaxed);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.push((number, now));
    }

    async fn serve(&self, mut stream: TcpStream, time: Duration) -> std::io::Result<()> {
        stream.set_nodelay(true)?;
        let mut head = Vec::new();
        loop {
            while !head.ends_with(b"\r\n\r\n") {
                if stream.read_buf(&mut head).await? == 0 {
                    return Ok(());
                }
            }
            self.comes(number_in(&head), Instant::now());
            head.clear();
            if !time.is_zero() {
                tokio::time::sleep(time).await;
            }
            self.inside.fetch_sub(1, Ordering::Relaxed);
            stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 13\r\n\r\nHello, World!")
                .await?;
        }
    }
}

/// What the target of a request is after its `/`.
fn number_in(head: &[u8]) -> usize {
    let text = std::str::from_utf8(head).unwrap_or_default();
    let target = text.split_whitespace().nth(1).unwrap_or_default();
    target.trim_start_matches('/').parse().unwrap_or(0)
}
