//! Sockets to accept from.

use std::io;
use std::net::{SocketAddr, TcpListener};

use std::time::Duration;

use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};

/// Connections that the kernel holds until they are accepted.
const BACKLOG: i32 = 4096;
/// Time without a sign of life after which a caller is asked for one: what callers of the original
/// know.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// An address that could not be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {addr}: {}", reason(.source))]
pub struct ListenError {
    /// Where.
    pub addr: SocketAddr,
    /// Why not, in the system's words.
    pub source: io::Error,
}

fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => "the port is taken by another program".to_owned(),
        io::ErrorKind::AddrNotAvailable => "no interface has that address".to_owned(),
        io::ErrorKind::PermissionDenied => "not permitted (ports below 1024 need root)".to_owned(),
        _ => error.to_string(),
    }
}

/// Listens on `addr`; port 0 takes a free one. An IPv6 wildcard takes IPv4 as well.
///
/// # Errors
///
/// [`ListenError`] names the address and why it cannot be had.
pub fn listen(addr: SocketAddr) -> Result<TcpListener, ListenError> {
    bind(addr).map_err(|source| ListenError { addr, source })
}

fn bind(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if addr.is_ipv6() && addr.ip().is_unspecified() {
        socket.set_only_v6(false)?;
    }
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    // Accepted sockets inherit it: a caller that is gone without a word is noticed in the end.
    let keep_alive = TcpKeepalive::new()
        .with_time(KEEP_ALIVE)
        .with_interval(KEEP_ALIVE);
    socket.set_tcp_keepalive(&keep_alive)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_named_with_its_reason() {
        let first = listen(([127, 0, 0, 1], 0).into()).unwrap();
        let addr = first.local_addr().unwrap();
        let error = listen(addr).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("cannot listen on {addr}: the port is taken by another program")
        );
    }
}
