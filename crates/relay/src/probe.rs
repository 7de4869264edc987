//! One attempt of a probe, over a real socket: TCP connect, HTTP GET, gRPC health check.
//!
//! How often to try, and what a failure means, is the caller's: the queue-proxy for
//! readiness, the kubelet (or whoever stands in for it) for startup and liveness.
//! A command (`exec`) can only be run by whoever started the workload, so it fails here.
//!
//! - `url.rs`: what is asked for, and where a redirect leads from there
//! - `http.rs`: GET until an answer is final; `http1.rs` and `http2.rs` are one exchange each
//! - `grpc.rs`: the health check
//! - `tls.rs`: whom an HTTPS probe trusts
//!
//! Source: spec/queue-proxy.md §4.3 (limits) and §4.4 (kinds).

mod grpc;
mod http;
mod http1;
mod http2;
mod tls;
mod url;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ::http::StatusCode;
use penstock_types::probe::Check;
use tokio::net::{TcpStream, lookup_host};

/// User-Agent of every attempt; the version parts are empty, as the contract has them.
const AGENT: &str = "kube-probe//";

/// Most of a response that is read. A kubelet stops there too.
const BODY_LIMIT: usize = 10 * 1024;

/// Asks once.
///
/// `host` and `own_port` are those of a check that names none. `limit` bounds the whole attempt;
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
    let port_or_own = |port: &Option<u16>| port.unwrap_or(own_port);
    match check {
        Check::Nothing => Err(Failure::Nothing),
        Check::Tcp { host: other, port } => {
            let (host, port) = (named(other.as_deref(), host), port_or_own(port));
            within(limit, connect_to(&host, port)).await.map(drop)
        }
        Check::Http(get) => {
            let port = port_or_own(&get.port);
            within(limit, http::ask(get, host, port, &tls::SYSTEM)).await
        }
        Check::Grpc { .. } if limit.is_zero() => Err(Failure::TimedOut { limit }),
        Check::Grpc { port, service } => {
            let addr = SocketAddr::new(host, port_or_own(port));
            within(limit, grpc::check(addr, service)).await
        }
        Check::Exec { .. } => Err(Failure::Exec),
    }
}

/// Why an attempt did not pass.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// The probe does not say what to ask.
    #[error("no probe found")]
    Nothing,
    /// A command cannot be run from here.
    #[error("exec probe not supported")]
    Exec,
    /// Nothing decided within the limit.
    #[error("no answer within {limit:?}")]
    TimedOut {
        /// The limit of the attempt.
        limit: Duration,
    },
    /// Nobody has that name.
    #[error("cannot find the host {host:?}: {source}")]
    Host {
        /// As the probe has it.
        host: String,
        /// Why not.
        source: io::Error,
    },
    /// Nobody accepts connections there.
    #[error("cannot connect to {addr}: {source}")]
    Connect {
        /// Where it was tried.
        addr: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// It does not speak TLS, or has no certificate that the system trusts.
    #[error("no trusted TLS with {host:?}: {source}")]
    Tls {
        /// Whom the certificate has to name.
        host: String,
        /// What was wrong.
        source: io::Error,
    },
    /// The answer is not the protocol's, or broke off.
    #[error("no proper answer from {host}: {source}")]
    Protocol {
        /// Who answered.
        host: String,
        /// What was wrong.
        source: Box<dyn std::error::Error + Send + Sync>,
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

/// The host that a check names, without the brackets of an IPv6 address; or else `here`.
fn named(host: Option<&str>, here: IpAddr) -> String {
    let host = host.map(without_brackets).filter(|host| !host.is_empty());
    host.map_or_else(|| here.to_string(), str::to_owned)
}

fn without_brackets(host: &str) -> &str {
    let inner = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    inner.unwrap_or(host)
}

/// Connects to `host`, a name or an address.
async fn connect_to(host: &str, port: u16) -> Result<TcpStream, Failure> {
    if let Ok(ip) = host.parse() {
        return connect(SocketAddr::new(ip, port)).await;
    }
    let unknown = |source| Failure::Host {
        host: host.to_owned(),
        source,
    };
    let mut last = unknown(io::Error::from(io::ErrorKind::NotFound));
    for addr in lookup_host((host, port)).await.map_err(unknown)? {
        match connect(addr).await {
            Ok(stream) => return Ok(stream),
            Err(failure) => last = failure,
        }
    }
    Err(last)
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
