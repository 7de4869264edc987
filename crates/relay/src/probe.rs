//! One attempt of a probe, over a real socket: TCP connect, HTTP GET, gRPC health check.
//!
//! How often to try, and what a failure means, is the caller's: the queue-proxy for
//! readiness, the kubelet (or whoever stands in for it) for startup and liveness.
//! A command (`exec`) can only be run by whoever started the workload, so it fails here.
//!
//! Source: spec/queue-proxy.md §4.3 (limits) and §4.4 (kinds). Unlike the peer, and like a
//! kubelet, a redirect to another host is not followed: it passes as the 3xx that it is.

mod grpc;
mod http1;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use http::StatusCode;
use penstock_types::probe::Check;
use tokio::net::TcpStream;

/// User-Agent of every attempt; the version parts are empty, as the contract has them.
const AGENT: &str = "kube-probe//";

/// Most of a response that is read. A kubelet stops there too.
const BODY_LIMIT: usize = 10 * 1024;

/// Asks once.
///
/// `own_port` is the port of a check that names none. `limit` bounds the whole attempt;
/// zero is "no limit" for TCP and HTTP, and fails at once for gRPC (spec/queue-proxy.md §4.3).
/// Dropping the future closes its connection and leaves nothing running.
///
/// # Errors
///
/// [`Failure`]: the first reason why this attempt does not pass.
pub async fn attempt(
    check: &Check,
    host: IpAddr,
    own_port: u16,
    limit: Duration,
) -> Result<(), Failure> {
    let at = |port: &Option<u16>| SocketAddr::new(host, port.unwrap_or(own_port));
    match check {
        Check::Tcp { port } => within(limit, connect(at(port))).await.map(drop),
        Check::Http { tls: true, .. } => Err(Failure::Unsupported {
            what: "an HTTPS probe",
        }),
        Check::Http {
            port,
            path,
            headers,
            tls: false,
        } => within(limit, http1::get(at(port), path, headers)).await,
        Check::Grpc { .. } if limit.is_zero() => Err(Failure::TimedOut { limit }),
        Check::Grpc { port, service } => within(limit, grpc::check(at(port), service)).await,
        Check::Exec { .. } => Err(Failure::Unsupported {
            what: "an exec probe",
        }),
    }
}

/// Why an attempt did not pass.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// Nothing decided within the limit.
    #[error("no answer within {limit:?}")]
    TimedOut {
        /// The limit of the attempt.
        limit: Duration,
    },
    /// Nobody accepts connections there.
    #[error("cannot connect to {addr}: {source}")]
    Connect {
        /// Where it was tried.
        addr: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// The answer is not the protocol's, or broke off.
    #[error("no proper answer from {addr}: {source}")]
    Protocol {
        /// Who answered.
        addr: SocketAddr,
        /// What was wrong.
        source: hyper::Error,
    },
    /// The path or a header of the probe itself cannot be sent.
    #[error("the probe cannot be sent: {what} {value:?} is not valid")]
    Invalid {
        /// Which part.
        what: &'static str,
        /// As it was given.
        value: String,
    },
    /// The final status is outside 200..=399.
    #[error("HTTP status {status} where 200 to 399 passes")]
    Status {
        /// The final status.
        status: StatusCode,
    },
    /// Redirects without end.
    #[error("more than {limit} redirects")]
    Redirects {
        /// How many were followed.
        limit: usize,
    },
    /// The health check was answered, but not with SERVING.
    #[error("gRPC health is {answer} where SERVING passes")]
    NotServing {
        /// The health, or the gRPC status in its place.
        answer: String,
    },
    /// A kind of probe that cannot be made from here.
    #[error("{what} is not supported here")]
    Unsupported {
        /// Which kind.
        what: &'static str,
    },
}

/// Ends `attempt` after `limit`; a limit of zero is none.
async fn within<T>(
    limit: Duration,
    attempt: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    if limit.is_zero() {
        return attempt.await;
    }
    tokio::time::timeout(limit, attempt)
        .await
        .unwrap_or(Err(Failure::TimedOut { limit }))
}

/// Connects to somebody else than itself.
async fn connect(addr: SocketAddr) -> Result<TcpStream, Failure> {
    let stream = TcpStream::connect(addr).await;
    let stream = stream.map_err(|source| Failure::Connect { addr, source })?;
    somebody_else(stream, addr)
}

/// Makes sure that somebody else is at the other end.
///
/// A connect from an ephemeral port to that very port on loopback succeeds with nobody
/// listening (simultaneous open with itself); a workload's port may well be ephemeral.
fn somebody_else(stream: TcpStream, addr: SocketAddr) -> Result<TcpStream, Failure> {
    let source = match stream.local_addr() {
        Ok(local) if local == addr => io::Error::new(
            io::ErrorKind::ConnectionRefused,
            "the connection met itself",
        ),
        Ok(_) => return Ok(stream),
        Err(source) => source,
    };
    Err(Failure::Connect { addr, source })
}

#[cfg(test)]
mod tests;
