//! One connection to an autoscaler, from the handshake to its end.

use std::future::poll_fn;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use http::HeaderValue;
use penstock_types::demand::Demand;
use penstock_types::header::{DEMAND_EXTENSION, DEMAND_EXTENSION_VERSION};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep_until, timeout};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::protocol::frame::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};
use tokio_util::sync::CancellationToken;

use super::outbox::Outbox;

/// Time after which a connection without an answer to a ping is dead.
const DEAD: Duration = Duration::from_secs(10);
/// Time between two pings: three of them until then.
const PING: Duration = Duration::from_millis(3333);
/// Time to take leave.
const LEAVE: Duration = Duration::from_secs(1);
/// What an autoscaler may send: it has nothing to say.
const MOST_HEARD: usize = 64 << 10;

/// A connection that was opened.
#[derive(Debug)]
pub(super) struct Connection {
    to: SplitSink<WebSocketStream<TcpStream>, Message>,
    from: SplitStream<WebSocketStream<TcpStream>>,
    /// Whether the other side knows our additions.
    pub(super) additions: bool,
}

/// How it ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// It was to end.
    Told,
    /// It broke, or was closed by the other side.
    Lost(Box<Error>),
}

impl Connection {
    /// Opens a connection to `host`.
    ///
    /// # Errors
    ///
    /// What the system or the other side had against it.
    pub(super) async fn open(host: &str) -> Result<Self, Error> {
        let stream = TcpStream::connect(host).await?;
        // A first word is small, and worth every millisecond.
        stream.set_nodelay(true)?;
        let mut request = format!("ws://{host}/").into_client_request()?;
        let version = HeaderValue::from_static(DEMAND_EXTENSION_VERSION);
        let headers = request.headers_mut();
        headers.insert(DEMAND_EXTENSION, version.clone());
        let config = WebSocketConfig::default()
            .read_buffer_size(4 << 10)
            .max_message_size(Some(MOST_HEARD))
            .max_frame_size(Some(MOST_HEARD));
        let (socket, answer) = client_async_with_config(request, stream, Some(config)).await?;
        let additions = answer.headers().get(DEMAND_EXTENSION) == Some(&version);
        let (to, from) = socket.split();
        Ok(Self {
            to,
            from,
            additions,
        })
    }

    /// Says what is in `outbox` and what comes in `reports`. Batches are taken also while the other
    /// side does not read.
    pub(super) async fn run(
        mut self,
        mut outbox: Outbox,
        reports: &mut mpsc::Receiver<Vec<Demand>>,
        stop: &CancellationToken,
    ) -> Ended {
        let mut pings = interval_at(Instant::now() + PING, PING);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut alive = Instant::now();
        // Something was written that may not have been sent.
        let mut unsent = false;
        let mut ping = false;
        let lost = |error| Ended::Lost(Box::new(error));
        loop {
            let said = ping || !outbox.is_empty();
            let to = &mut self.to;
            tokio::select! {
                () = stop.cancelled() => {
                    self.take_leave().await;
                    return Ended::Told;
                }
                batch = reports.recv() => match batch {
                    Some(batch) => outbox.add(batch),
                    None => {
                        self.take_leave().await;
                        return Ended::Told;
                    }
                },
                done = poll_fn(|cx| {
                    // Ready for the next one, or rid of the last one.
                    if said { to.poll_ready_unpin(cx) } else { to.poll_flush_unpin(cx) }
                }), if said || unsent => {
                    unsent = said;
                    let next = if !said {
                        None
                    } else if std::mem::take(&mut ping) {
                        Some(Message::Ping(Bytes::new()))
                    } else {
                        outbox.next()
                    };
                    let written = done.and_then(|()| {
                        next.map_or(Ok(()), |message| to.start_send_unpin(message))
                    });
                    if let Err(error) = written {
                        return lost(error);
                    }
                }
                heard = self.from.next() => match heard {
                    Some(Ok(Message::Pong(_))) => alive = Instant::now(),
                    Some(Ok(Message::Close(_))) => {
                        // The answer to it is written already.
                        let _ = timeout(LEAVE, to.flush()).await;
                        return lost(Error::ConnectionClosed);
                    }
                    Some(Ok(_)) => {}
                    Some(Err(error)) => return lost(error),
                    None => return lost(Error::ConnectionClosed),
                },
                _ = pings.tick() => ping = true,
                () = sleep_until(alive + DEAD) => {
                    return lost(Error::Io(io::ErrorKind::TimedOut.into()));
                }
            }
        }
    }

    /// Says that this activator goes away.
    async fn take_leave(mut self) {
        let close = CloseFrame {
            code: CloseCode::Away,
            reason: "".into(),
        };
        // If it cannot be said, the end of the connection says it.
        let _ = timeout(LEAVE, self.to.send(Message::Close(Some(close)))).await;
    }
}
