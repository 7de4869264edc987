//! What is said first: who is there, and how to ask.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use penstock_serving::HostRoute;

/// The hosts with their URLs, each with a line to paste, and where to look.
pub(crate) fn greeting(hosts: &[HostRoute], gateway: SocketAddr, admin: SocketAddr) -> String {
    let mut text = self::hosts(hosts, gateway);
    let admin = callable(admin);
    // Writing to a string does not fail.
    let _ = writeln!(text, "\nstate    http://{admin}/state");
    let _ = writeln!(text, "metrics  http://{admin}/metrics\n");
    text
}

/// The hosts with their URLs, each with a line to paste.
pub(crate) fn hosts(hosts: &[HostRoute], gateway: SocketAddr) -> String {
    let gateway = callable(gateway);
    let port = match gateway.port() {
        80 => String::new(),
        port => format!(":{port}"),
    };
    let mut text = String::new();
    for host in hosts {
        let HostRoute {
            host,
            namespace,
            route,
            tag,
            ..
        } = host;
        let of = match tag {
            Some(tag) => format!("{namespace}/{route}, tag {tag}"),
            None => format!("{namespace}/{route}"),
        };
        let _ = writeln!(text, "{of}  http://{host}{port}");
        let _ = writeln!(text, "  curl -H \"Host: {host}\" http://{gateway}");
    }
    text
}

/// An address that can be called: a listener on all addresses is on this machine's own as well.
fn callable(addr: SocketAddr) -> SocketAddr {
    let ip = match addr.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, addr.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(host: &str, tag: Option<&str>) -> HostRoute {
        HostRoute {
            host: host.to_owned(),
            namespace: "default".to_owned(),
            route: "hello".to_owned(),
            tag: tag.map(str::to_owned),
            targets: Vec::new(),
        }
    }

    #[test]
    fn each_host_has_its_url_and_a_line_to_paste() {
        let hosts = [
            host("hello.default.example.com", None),
            host("next-hello.default.example.com", Some("next")),
        ];
        let text = greeting(
            &hosts,
            ([127, 0, 0, 1], 8080).into(),
            ([127, 0, 0, 1], 9090).into(),
        );
        let want = "\
default/hello  http://hello.default.example.com:8080
  curl -H \"Host: hello.default.example.com\" http://127.0.0.1:8080
default/hello, tag next  http://next-hello.default.example.com:8080
  curl -H \"Host: next-hello.default.example.com\" http://127.0.0.1:8080

state    http://127.0.0.1:9090/state
metrics  http://127.0.0.1:9090/metrics

";
        assert_eq!(text, want);
    }

    #[test]
    fn a_listener_on_all_addresses_is_called_on_this_machines_own() {
        let hosts = [host("hello.default.example.com", None)];
        let all_v4 = SocketAddr::from(([0, 0, 0, 0], 80));
        let all_v6 = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 9090));
        let text = greeting(&hosts, all_v4, all_v6);
        assert!(text.starts_with("default/hello  http://hello.default.example.com\n"));
        assert!(text.contains(" http://127.0.0.1:80\n"));
        assert!(text.contains("http://[::1]:9090/state\n"));
    }
}
