//! What an HTTP probe asks for: scheme, host, port, path; and where a redirect leads from there.

use std::net::IpAddr;

use http::Uri;
use penstock_types::probe::HttpGet;

use super::{Failure, named, without_brackets};

/// An absolute URL, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Url {
    pub(super) tls: bool,
    /// Name or address, without brackets.
    pub(super) host: String,
    pub(super) port: u16,
    /// Path and query, with its leading slash.
    pub(super) path: String,
}

impl Url {
    /// The first one that `get` asks for; `host` is that of a probe which names none.
    pub(super) fn of(get: &HttpGet, host: IpAddr, port: u16) -> Self {
        Self {
            tls: get.tls,
            host: named(get.host.as_deref(), host),
            port,
            path: format!("/{}", get.path.strip_prefix('/').unwrap_or(&get.path)),
        }
    }

    /// Host and port as the Host header has them.
    pub(super) fn authority(&self) -> String {
        let Self { host, port, .. } = self;
        let (open, close) = if host.contains(':') {
            ("[", "]")
        } else {
            ("", "")
        };
        if *port == default_port(self.tls) {
            return format!("{open}{host}{close}");
        }
        format!("{open}{host}{close}:{port}")
    }

    /// Where `location` leads from here (RFC 3986 §5.2).
    pub(super) fn join(&self, location: &str) -> Result<Self, Failure> {
        let location = location.split('#').next().unwrap_or_default();
        let scheme = if self.tls { "https" } else { "http" };
        if location.starts_with("//") {
            return Self::absolute(&format!("{scheme}:{location}"));
        }
        let first = location.split(['/', '?']).next().unwrap_or_default();
        if first.contains(':') {
            return Self::absolute(location);
        }
        let current = self.path.split('?').next().unwrap_or_default();
        let path = match location.chars().next() {
            None => self.path.clone(),
            Some('/') => location.to_owned(),
            Some('?') => format!("{current}{location}"),
            Some(_) => {
                let folder = current.rfind('/').map_or("/", |end| &current[..=end]);
                format!("{folder}{location}")
            }
        };
        Ok(Self {
            path: without_dots(&path),
            ..self.clone()
        })
    }

    fn absolute(location: &str) -> Result<Self, Failure> {
        let invalid = || Failure::Invalid {
            what: "redirect",
            value: location.to_owned(),
        };
        let uri: Uri = location.parse().map_err(|_| invalid())?;
        let tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(invalid()),
        };
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        Ok(Self {
            tls,
            host: without_brackets(uri.host().ok_or_else(invalid)?).to_owned(),
            port: uri.port_u16().unwrap_or(default_port(tls)),
            path: without_dots(path),
        })
    }
}

fn default_port(tls: bool) -> u16 {
    if tls { 443 } else { 80 }
}

/// Resolves `.` and `..` in the path, as RFC 3986 §5.2.4 does; a query stays as it is.
fn without_dots(path_and_query: &str) -> String {
    let (path, query) = path_and_query
        .find('?')
        .map_or((path_and_query, ""), |at| path_and_query.split_at(at));
    let mut kept: Vec<&str> = Vec::new();
    let mut parts = path.trim_start_matches('/').split('/').peekable();
    while let Some(part) = parts.next() {
        let last = parts.peek().is_none();
        match part {
            "." | ".." => {
                if part == ".." {
                    kept.pop();
                }
                if last {
                    kept.push("");
                }
            }
            _ => kept.push(part),
        }
    }
    format!("/{}{query}", kept.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(tls: bool, host: &str, port: u16, path: &str) -> Url {
        Url {
            tls,
            host: host.to_owned(),
            port,
            path: path.to_owned(),
        }
    }

    #[test]
    fn a_location_is_resolved_against_the_url_that_gave_it() {
        let from = url(false, "127.0.0.1", 8080, "/a/b?c=d");
        let here = |path| url(false, "127.0.0.1", 8080, path);
        let table = [
            ("/x?y=1", here("/x?y=1")),
            ("x", here("/a/x")),
            ("../x", here("/x")),
            ("./", here("/a/")),
            ("?q=2", here("/a/b?q=2")),
            ("#part", here("/a/b?c=d")),
            ("x#part", here("/a/x")),
            ("/to?url=http://other/", here("/to?url=http://other/")),
            (
                "http://127.0.0.1:9090/z",
                url(false, "127.0.0.1", 9090, "/z"),
            ),
            ("http://127.0.0.1", url(false, "127.0.0.1", 80, "/")),
            ("//127.0.0.1:81/z", url(false, "127.0.0.1", 81, "/z")),
            ("http://other/z?q", url(false, "other", 80, "/z?q")),
            ("https://other/z", url(true, "other", 443, "/z")),
            ("https://[::1]:8443", url(true, "::1", 8443, "/")),
        ];
        for (location, want) in table {
            assert_eq!(from.join(location).unwrap(), want, "{location}");
        }
        for location in ["ftp://other/", "mailto:a@b", "http://", "http://a b/"] {
            let failure = from.join(location).unwrap_err();
            assert!(matches!(failure, Failure::Invalid { .. }), "{location}");
        }
    }

    #[test]
    fn the_authority_has_brackets_and_a_port_where_they_are_needed() {
        let table = [
            (url(false, "127.0.0.1", 8080, "/"), "127.0.0.1:8080"),
            (url(false, "a", 80, "/"), "a"),
            (url(true, "a", 80, "/"), "a:80"),
            (url(true, "a", 443, "/"), "a"),
            (url(false, "::1", 1, "/"), "[::1]:1"),
        ];
        for (url, want) in table {
            assert_eq!(url.authority(), want);
        }
    }

    #[test]
    fn a_probe_asks_where_it_runs_unless_it_names_a_host() {
        let localhost = [127, 0, 0, 1].into();
        let table = [
            (None, "health", url(false, "127.0.0.1", 1, "/health")),
            (Some(""), "/health", url(false, "127.0.0.1", 1, "/health")),
            (Some("[::1]"), "", url(false, "::1", 1, "/")),
            (Some("a"), "//b", url(false, "a", 1, "//b")),
        ];
        for (host, path, want) in table {
            let get = HttpGet {
                host: host.map(str::to_owned),
                path: path.to_owned(),
                ..HttpGet::default()
            };
            assert_eq!(Url::of(&get, localhost, 1), want);
        }
    }
}
