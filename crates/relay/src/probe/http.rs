//! GET until an answer is final: redirects are followed, and HTTP/2 is tried first where the
//! probe says so.

use std::net::IpAddr;

use http::header::{CONNECTION, HOST, HeaderName, HeaderValue, LOCATION, USER_AGENT};
use http::{HeaderMap, Response, StatusCode};
use penstock_types::probe::HttpGet;

use super::tls::Trust;
use super::url::Url;
use super::{AGENT, Failure, http1, http2};

/// Redirects that are followed.
const MAX_REDIRECTS: usize = 10;

/// Asks as `get` says; `host` and `port` are those of a probe which names none.
pub(super) async fn ask(
    get: &HttpGet,
    host: IpAddr,
    port: u16,
    trust: &Trust,
) -> Result<(), Failure> {
    let url = Url::of(get, host, port);
    let own = parse(&get.headers)?;
    let bare = HeaderMap::new();
    let asked = |version, headers| Asked {
        version,
        headers,
        leaves_host: get.leaves_host,
        trust,
    };
    // HTTP/2 over TLS is agreed on with the certificate; there is nothing to detect.
    if !get.detects_http2 || get.tls {
        return asked(Version::One, &own).until_final(url).await;
    }
    // Without the probe's own headers: they are for the workload, not for finding out.
    match asked(Version::Two, &bare).until_final(url.clone()).await {
        Ok(()) => asked(Version::Two, &own).until_final(url).await,
        Err(_) => asked(Version::One, &bare).until_final(url).await,
    }
}

#[derive(Clone, Copy)]
enum Version {
    One,
    Two,
}

/// How each request of one attempt is made.
struct Asked<'a> {
    version: Version,
    /// The probe's own.
    headers: &'a HeaderMap,
    leaves_host: bool,
    trust: &'a Trust,
}

impl Asked<'_> {
    /// Asks for `url` until an answer is final, then judges its status.
    async fn until_final(&self, mut url: Url) -> Result<(), Failure> {
        for _ in 0..=MAX_REDIRECTS {
            let Answer { status, location } = self.once(&url).await?;
            if !(200..400).contains(&status.as_u16()) {
                return Err(Failure::Status { status });
            }
            let Some(location) = location else {
                return Ok(());
            };
            let next = url.join(&location)?;
            if next.host != url.host && !self.leaves_host {
                return Ok(());
            }
            url = next;
        }
        Err(Failure::Redirects {
            limit: MAX_REDIRECTS,
        })
    }

    async fn once(&self, url: &Url) -> Result<Answer, Failure> {
        let mut headers = HeaderMap::new();
        headers.append(USER_AGENT, HeaderValue::from_static(AGENT));
        match self.version {
            Version::Two if !url.tls => {
                self.add_own(&mut headers);
                http2::get(url, headers).await
            }
            Version::One | Version::Two => {
                headers.append(CONNECTION, HeaderValue::from_static("close"));
                let host = HeaderValue::from_str(&url.authority());
                headers.append(HOST, host.map_err(|_| invalid("host", &url.host))?);
                self.add_own(&mut headers);
                http1::get(url, headers, self.trust).await
            }
        }
    }

    /// Beside those that are there already, even under the same name.
    fn add_own(&self, headers: &mut HeaderMap) {
        for (name, value) in self.headers {
            headers.append(name.clone(), value.clone());
        }
    }
}

/// What matters of an answer.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    /// Where it redirects to, if it does.
    pub(super) location: Option<String>,
}

impl<B> From<&Response<B>> for Answer {
    fn from(answer: &Response<B>) -> Self {
        let status = answer.status();
        let redirects = matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308);
        let location = answer.headers().get(LOCATION).filter(|_| redirects);
        let location = location.map(|place| String::from_utf8_lossy(place.as_bytes()).into_owned());
        Self {
            status,
            location: location.filter(|place| !place.is_empty()),
        }
    }
}

/// The probe's own headers; a Host among them is ignored.
fn parse(headers: &[(String, String)]) -> Result<HeaderMap, Failure> {
    let mut own = HeaderMap::new();
    for (name, value) in headers {
        let name: HeaderName = name.parse().map_err(|_| invalid("header name", name))?;
        let value: HeaderValue = value.parse().map_err(|_| invalid("header value", value))?;
        if name != HOST {
            own.append(name, value);
        }
    }
    Ok(own)
}

pub(super) fn invalid(what: &'static str, value: &str) -> Failure {
    Failure::Invalid {
        what,
        value: value.to_owned(),
    }
}
