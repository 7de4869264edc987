//! GET over HTTP/1.1, with redirects.

use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, HOST, HeaderName, HeaderValue, LOCATION, USER_AGENT};
use http::{HeaderMap, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;

use super::{AGENT, BODY_LIMIT, Failure, connect};

/// Redirects that are followed.
const MAX_REDIRECTS: usize = 10;

/// How long the body of an answer is waited for after its head.
const COURTESY: Duration = Duration::from_millis(10);

/// Asks for `path` until an answer is final, then judges its status.
pub(super) async fn get(
    mut addr: SocketAddr,
    path: &str,
    headers: &[(String, String)],
) -> Result<(), Failure> {
    let headers = parse(headers)?;
    let mut path = format!("/{}", path.strip_prefix('/').unwrap_or(path));
    for _ in 0..=MAX_REDIRECTS {
        let (status, location) = once(addr, &path, &headers).await?;
        if !(200..400).contains(&status.as_u16()) {
            return Err(Failure::Status { status });
        }
        let Some(location) = location else {
            return Ok(());
        };
        match follow(addr, &path, &location)? {
            Some((port, next)) => {
                addr.set_port(port);
                path = next;
            }
            None => return Ok(()),
        }
    }
    Err(Failure::Redirects {
        limit: MAX_REDIRECTS,
    })
}

/// One request on a connection of its own: the status, and where it redirects to, if it does.
async fn once(
    addr: SocketAddr,
    path: &str,
    headers: &HeaderMap,
) -> Result<(StatusCode, Option<String>), Failure> {
    let broken = |source| Failure::Protocol { addr, source };
    let mut request = Request::new(Empty::<Bytes>::new());
    *request.uri_mut() = path
        .parse::<Uri>()
        .map_err(|_| invalid("path", path.to_owned()))?;
    *request.headers_mut() = headers.clone();
    let host =
        HeaderValue::from_str(&addr.to_string()).map_err(|_| invalid("host", addr.to_string()))?;
    request.headers_mut().insert(HOST, host);

    let stream = connect(addr).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(broken)?;
    let mut connection = pin!(connection);
    let mut answer = pin!(sender.send_request(request));
    let answer = tokio::select! {
        biased;
        answer = &mut answer => answer,
        // A connection that ends well has left its answer behind.
        end = &mut connection => match end {
            Ok(()) => answer.await,
            Err(error) => Err(error),
        },
    }
    .map_err(broken)?;

    let status = answer.status();
    let location = redirect(&answer);
    // The rest decides nothing: it is read so that the workload can finish its answer.
    let rest = async {
        tokio::select! {
            () = read_some(answer.into_body()) => {}
            _ = connection => {}
        }
    };
    let _ = tokio::time::timeout(COURTESY, rest).await;
    Ok((status, location))
}

/// Reads a body to its end, or to the limit.
async fn read_some(body: Incoming) {
    let mut body = pin!(Limited::new(body, BODY_LIMIT));
    while let Some(Ok(_)) = body.frame().await {}
}

/// Where `answer` sends its reader, if its status says so and it names a place.
fn redirect(answer: &Response<Incoming>) -> Option<String> {
    if !matches!(answer.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return None;
    }
    let location = answer.headers().get(LOCATION)?;
    let location = String::from_utf8_lossy(location.as_bytes()).into_owned();
    (!location.is_empty()).then_some(location)
}

/// Port and path of `location`, seen from `path` at `addr`; `None` if it is on another host.
fn follow(addr: SocketAddr, path: &str, location: &str) -> Result<Option<(u16, String)>, Failure> {
    let location = location.split('#').next().unwrap_or_default();
    if let Some(rest) = location.strip_prefix("//") {
        return absolute(addr, &format!("http://{rest}"));
    }
    let scheme = location.split(['/', '?']).next().unwrap_or_default();
    if scheme.contains(':') {
        return absolute(addr, location);
    }
    let current = path.split('?').next().unwrap_or_default();
    let next = match location.chars().next() {
        None => path.to_owned(),
        Some('/') => location.to_owned(),
        Some('?') => format!("{current}{location}"),
        Some(_) => {
            let folder = current.rfind('/').map_or("/", |end| &current[..=end]);
            format!("{folder}{location}")
        }
    };
    Ok(Some((addr.port(), without_dots(&next))))
}

fn absolute(addr: SocketAddr, location: &str) -> Result<Option<(u16, String)>, Failure> {
    let uri: Uri = location
        .parse()
        .map_err(|_| invalid("redirect", location.to_owned()))?;
    let host = uri.host().unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    if host != addr.ip().to_string() {
        return Ok(None);
    }
    if uri.scheme_str() != Some("http") {
        return Err(Failure::Unsupported {
            what: "a redirect to another scheme than http",
        });
    }
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    Ok(Some((uri.port_u16().unwrap_or(80), without_dots(path))))
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

/// Ours first, then the probe's own beside them; a Host among those is ignored.
fn parse(headers: &[(String, String)]) -> Result<HeaderMap, Failure> {
    let mut all = HeaderMap::new();
    all.append(USER_AGENT, HeaderValue::from_static(AGENT));
    all.append(CONNECTION, HeaderValue::from_static("close"));
    for (name, value) in headers {
        let name: HeaderName = name
            .parse()
            .map_err(|_| invalid("header name", name.clone()))?;
        let value: HeaderValue = value
            .parse()
            .map_err(|_| invalid("header value", value.clone()))?;
        if name != HOST {
            all.append(name, value);
        }
    }
    Ok(all)
}

fn invalid(what: &'static str, value: String) -> Failure {
    Failure::Invalid { what, value }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_is_resolved_against_the_path_that_gave_it() {
        let addr: SocketAddr = "127.0.0.1:8080".parse().unwrap();
        let table = [
            ("/x?y=1", Some((8080, "/x?y=1"))),
            ("x", Some((8080, "/a/x"))),
            ("../x", Some((8080, "/x"))),
            ("./", Some((8080, "/a/"))),
            ("?q=2", Some((8080, "/a/b?q=2"))),
            ("x#part", Some((8080, "/a/x"))),
            ("http://127.0.0.1:9090/z", Some((9090, "/z"))),
            ("http://127.0.0.1", Some((80, "/"))),
            ("//127.0.0.1:81/z", Some((81, "/z"))),
            (
                "/to?url=http://elsewhere/",
                Some((8080, "/to?url=http://elsewhere/")),
            ),
            ("http://elsewhere/z", None),
            ("https://elsewhere/z", None),
        ];
        for (location, want) in table {
            let want = want.map(|(port, path): (u16, &str)| (port, path.to_owned()));
            assert_eq!(
                follow(addr, "/a/b?c=d", location).unwrap(),
                want,
                "{location}"
            );
        }
    }

    #[test]
    fn a_redirect_to_https_on_the_same_host_fails() {
        let addr: SocketAddr = "127.0.0.1:8080".parse().unwrap();
        assert!(matches!(
            follow(addr, "/", "https://127.0.0.1:8443/"),
            Err(Failure::Unsupported { .. })
        ));
    }
}
