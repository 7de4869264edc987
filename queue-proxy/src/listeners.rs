//! Sockets of a pod: on all its addresses, of both families.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs};

use penstock_relay::listen::{ListenError, listen};

/// Listens on `port` of all addresses. A machine without IPv6 has those of IPv4.
///
/// # Errors
///
/// [`ListenError`] names the port and why it cannot be had.
pub(crate) fn everywhere(port: u16) -> Result<TcpListener, ListenError> {
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
pub(crate) fn at(host: &str, port: u16) -> io::Result<TcpListener> {
    if host.is_empty() {
        return everywhere(port).map_err(io::Error::other);
    }
    let addr: Option<SocketAddr> = (host, port).to_socket_addrs()?.next();
    let addr = addr.ok_or_else(|| io::Error::other(format!("{host:?} has no address")))?;
    listen(addr).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpStream;

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
