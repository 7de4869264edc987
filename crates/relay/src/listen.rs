//! Sockets to accept from.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs};
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

/// Listens on `port` of all addresses. A machine without IPv6 has those of IPv4.
///
/// # Errors
///
/// [`ListenError`] names the port and why it cannot be had.
pub fn everywhere(port: u16) -> Result<TcpListener, ListenError> {
    let both = listen((Ipv6Addr::UNSPECIFIED, port).into());
    both.or_else(|error| match error.source.kind() {
        io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied => Err(error),
        _ => listen((Ipv4Addr::UNSPECIFIED, port).into()),
    })
}

/// Listens on `port` of `host`, a name or an address; all addresses if it is empty.
///
/// # Errors
///
/// A name without an address, or what [`everywhere`] answers.
pub fn at(host: &str, port: u16) -> io::Result<TcpListener> {
    if host.is_empty() {
        return everywhere(port).map_err(io::Error::other);
    }
    let addr: Option<SocketAddr> = (host, port).to_socket_addrs()?.next();
    let addr = addr.ok_or_else(|| io::Error::other(format!("{host:?} has no address")))?;
    listen(addr).map_err(io::Error::other)
}

/// A listener that could not be had.
#[derive(Debug, thiserror::Error)]
#[error("the {what} listener: {source}")]
pub struct NoListener {
    /// What it was to be for.
    pub what: &'static str,
    /// Why not.
    pub source: ListenError,
}

/// Listens on each of these ports of one address, or on none; on all addresses without one.
///
/// # Errors
///
/// All [`NoListener`]s together.
pub fn all<const N: usize>(
    host: Option<IpAddr>,
    ports: [(&'static str, u16); N],
) -> Result<[TcpListener; N], Vec<NoListener>> {
    let mut bad = Vec::new();
    let listeners = ports.map(|(what, port)| {
        host.map_or_else(|| everywhere(port), |host| listen((host, port).into()))
            .map_err(|source| bad.push(NoListener { what, source }))
            .ok()
    });
    // All of them, or none.
    let listeners: Option<Vec<TcpListener>> = listeners.into_iter().collect();
    listeners.and_then(|all| all.try_into().ok()).ok_or(bad)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpStream;

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

    #[test]
    fn both_families_reach_a_port_on_all_addresses() {
        let listener = everywhere(0).unwrap();
        let addr = listener.local_addr().unwrap();
        assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, addr.port())).is_ok());
        if addr.is_ipv6() {
            assert!(TcpStream::connect((Ipv6Addr::LOCALHOST, addr.port())).is_ok());
        }
    }

    #[test]
    fn a_taken_port_is_named_and_not_taken_in_the_other_family() {
        let taken = everywhere(0).unwrap();
        let port = taken.local_addr().unwrap().port();
        let error = everywhere(port).unwrap_err().to_string();
        assert!(error.contains(&port.to_string()), "{error}");
        assert!(error.contains("taken by another program"), "{error}");
    }

    #[test]
    fn a_host_narrows_it_down() {
        let listener = at("127.0.0.1", 0).unwrap();
        assert_eq!(listener.local_addr().unwrap().ip(), Ipv4Addr::LOCALHOST);
        assert!(at("", 0).is_ok());
        assert!(at("no such host", 0).is_err());
    }
}
