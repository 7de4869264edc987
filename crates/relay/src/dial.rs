//! Connecting to upstreams.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

/// TCP keep-alive of upstream connections (spec/queue-proxy.md §3.8).
const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// First limit of a connection attempt; attempts that time out are repeated.
const DIAL_FIRST: Duration = Duration::from_millis(50);
/// Attempts after the first, each with a longer limit; about 20 s in all.
const DIAL_AGAIN: u32 = 15;
const DIAL_GROWTH: f64 = 1.4;
const DIAL_PAUSE: Duration = Duration::from_millis(45);

/// No connection to an upstream could be made, so nothing was sent.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// It said no, or cannot be reached.
    #[error("dial tcp {addr}: connect: {source}")]
    Refused {
        /// Who was dialled.
        addr: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// This process or machine has no descriptor, port or memory left to connect with.
    #[error("dial tcp {addr}: {source}")]
    Exhausted {
        /// Who was to be dialled.
        addr: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// It said nothing.
    #[error("timed out dialing {addr} after {:.2}s", .after.as_secs_f64())]
    TimedOut {
        /// Who was dialled.
        addr: SocketAddr,
        /// For how long.
        after: Duration,
    },
}

/// Connects; repeats what times out, gives up at once on a refusal (spec/queue-proxy.md §3.8).
///
/// # Errors
///
/// [`DialError`] says who was dialled and what came of it.
pub(crate) async fn dial(addr: SocketAddr) -> Result<TcpStream, DialError> {
    let start = Instant::now();
    for attempt in 0..=DIAL_AGAIN {
        let limit = if attempt == 0 {
            DIAL_FIRST
        } else {
            sleep(DIAL_PAUSE).await;
            let growth = i32::try_from(attempt - 1).map_or(1.0, |k| DIAL_GROWTH.powi(k));
            DIAL_FIRST.mul_f64(growth)
        };
        match timeout(limit, TcpStream::connect(addr)).await {
            // Nobody listens, and the system has connected the port with itself.
            Ok(Ok(stream)) if stream.local_addr().is_ok_and(|own| own == addr) => {
                let source = io::ErrorKind::ConnectionRefused.into();
                return Err(DialError::Refused { addr, source });
            }
            Ok(Ok(stream)) => {
                let _ = stream.set_nodelay(true);
                let keep_alive = TcpKeepalive::new()
                    .with_time(KEEP_ALIVE)
                    .with_interval(KEEP_ALIVE);
                let _ = SockRef::from(&stream).set_tcp_keepalive(&keep_alive);
                return Ok(stream);
            }
            Ok(Err(source)) if source.kind() == io::ErrorKind::TimedOut => {}
            Ok(Err(source)) if is_own(&source) => {
                return Err(DialError::Exhausted { addr, source });
            }
            Ok(Err(source)) => return Err(DialError::Refused { addr, source }),
            Err(_elapsed) => {}
        }
    }
    let after = start.elapsed();
    Err(DialError::TimedOut { addr, after })
}

/// Whether a failure is this side's, and says nothing of the upstream: no descriptor (EMFILE,
/// ENFILE), no buffer (ENOBUFS) or no port is left.
fn is_own(error: &io::Error) -> bool {
    const EXHAUSTED: [i32; 3] = [23, 24, 105];
    error.kind() == io::ErrorKind::AddrNotAvailable
        || error.kind() == io::ErrorKind::OutOfMemory
        || error
            .raw_os_error()
            .is_some_and(|code| EXHAUSTED.contains(&code))
}
