//! One message on its way to a collector.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri};
use prost::Message;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;

use super::address::{Collector, Protocol, Signal};
use super::{grpc, http as plain};
use crate::seldom::Seldom;

/// Time before a message is sent again; twice as long each time.
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// Why there is no way to a collector.
#[derive(Debug, thiserror::Error)]
#[error("{url:?} cannot be a collector: {reason}")]
pub struct BadCollector {
    url: String,
    reason: String,
}

/// Why a message did not get there.
#[derive(Debug, thiserror::Error)]
pub(super) enum Undelivered {
    #[error("no connection: {0}")]
    Connect(io::Error),
    #[error("the connection broke: {0}")]
    Http(#[from] hyper::Error),
    #[error("the connection broke: {0}")]
    Http2(#[from] h2::Error),
    #[error("it answered {0}")]
    Status(StatusCode),
    #[error("it answered with gRPC status {code} {message}")]
    Grpc { code: u32, message: String },
    #[error("it took longer than {0:?}")]
    TooLate(Duration),
}

/// The way to a collector. Each message has a connection of its own: there are seconds between
/// them, and nothing has to be watched meanwhile.
#[derive(Debug)]
pub(super) struct Channel {
    pub(super) protocol: Protocol,
    pub(super) uri: Uri,
    /// Headers beside those of the protocol.
    pub(super) headers: HeaderMap,
    host: String,
    port: u16,
    tls: Option<Secured>,
    patience: Duration,
    failures: Seldom,
}

/// TLS, and the name that the other side has to prove.
struct Secured {
    connector: TlsConnector,
    name: ServerName<'static>,
}

impl std::fmt::Debug for Secured {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Secured")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Channel {
    /// The way of one signal to `collector`.
    pub(super) fn open(collector: &Collector, signal: Signal) -> Result<Self, BadCollector> {
        let url = &collector.url;
        let bad = |reason: String| BadCollector {
            url: url.clone(),
            reason,
        };
        let mut uri: Uri = url.parse().map_err(|error| bad(format!("{error}")))?;
        let place = host_and_port(&uri);
        let (host, port) = place.ok_or_else(|| bad("it is not a whole URL".to_owned()))?;
        let secured = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            other => return Err(bad(format!("{other:?} is neither http nor https"))),
        };
        if collector.protocol == Protocol::Grpc {
            let mut parts = uri.into_parts();
            parts.path_and_query = Some(grpc::path(signal));
            uri = Uri::from_parts(parts).map_err(|error| bad(error.to_string()))?;
        }
        let mut headers = HeaderMap::new();
        for (name, value) in &collector.headers {
            let (Ok(header), Ok(mut value)) =
                (name.parse::<HeaderName>(), HeaderValue::try_from(value))
            else {
                return Err(bad(format!("{name:?} cannot be a header")));
            };
            value.set_sensitive(true);
            headers.append(header, value);
        }
        let tls = secured.then(|| Secured::to(&host, collector));
        Ok(Self {
            protocol: collector.protocol,
            uri,
            headers,
            host,
            port,
            tls: tls.transpose().map_err(bad)?,
            patience: collector.patience,
            failures: Seldom::default(),
        })
    }

    /// Sends a message with `count` of `what`, and tells in the log if it did not get there. Until
    /// `stop` it is sent again if the collector may take it later.
    pub(super) async fn deliver(
        &self,
        message: &impl Message,
        (count, what): (usize, &str),
        stop: &CancellationToken,
    ) {
        if let Err(error) = self.send(message.encode_to_vec().into(), stop).await
            && let Some(unsaid) = self.failures.may_say()
        {
            tracing::warn!(%error, count, unsaid, "{what} did not get to {}", self.uri);
        }
    }

    async fn send(&self, message: Bytes, stop: &CancellationToken) -> Result<(), Undelivered> {
        let mut last = None;
        let attempts = async {
            let mut pause = FIRST_PAUSE;
            loop {
                match self.exchange(message.clone()).await {
                    Err(error) if error.may_pass() => last = Some(error),
                    end => return end,
                }
                if stop.run_until_cancelled(sleep(pause)).await.is_none() {
                    return Ok(()); // `last` tells
                }
                pause *= 2;
                last = None;
            }
        };
        let end = timeout(self.patience, attempts).await;
        match (end, last) {
            (_, Some(error)) => Err(error),
            (Ok(end), None) => end,
            (Err(_), None) => Err(Undelivered::TooLate(self.patience)),
        }
    }

    async fn exchange(&self, message: Bytes) -> Result<(), Undelivered> {
        let socket = self.connect().await.map_err(Undelivered::Connect)?;
        match self.protocol {
            Protocol::Http => plain::export(self, socket, message).await,
            Protocol::Grpc => grpc::export(self, socket, message).await,
        }
    }

    async fn connect(&self) -> io::Result<Box<dyn Socket>> {
        let socket = TcpStream::connect((&*self.host, self.port)).await?;
        socket.set_nodelay(true)?;
        let Some(Secured { connector, name }) = &self.tls else {
            return Ok(Box::new(socket));
        };
        Ok(Box::new(connector.connect(name.clone(), socket).await?))
    }
}

impl Undelivered {
    /// Whether the same message may be taken later (OTLP §Failures).
    fn may_pass(&self) -> bool {
        match self {
            Self::Connect(_) | Self::Http(_) | Self::Http2(_) => true,
            Self::Status(status) => matches!(status.as_u16(), 429 | 502 | 503 | 504),
            // CANCELLED, DEADLINE_EXCEEDED, ABORTED, OUT_OF_RANGE, UNAVAILABLE, DATA_LOSS.
            Self::Grpc { code, .. } => matches!(code, 1 | 4 | 10 | 11 | 14 | 15),
            Self::TooLate(_) => false,
        }
    }
}

/// A connection, with TLS or without.
pub(super) trait Socket: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Socket for S {}

impl Secured {
    fn to(host: &str, collector: &Collector) -> Result<Self, String> {
        let name = ServerName::try_from(host.to_owned()).map_err(|error| error.to_string())?;
        let roots = roots(collector.certificate.as_deref())?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![match collector.protocol {
            Protocol::Http => b"http/1.1".to_vec(),
            Protocol::Grpc => b"h2".to_vec(),
        }];
        Ok(Self {
            connector: TlsConnector::from(Arc::new(config)),
            name,
        })
    }
}

/// Whom the system trusts, and who is in `file`.
fn roots(file: Option<&Path>) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    // Those that cannot be read vouch for nobody.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(file) = file {
        let bad = |error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
        let all = CertificateDer::pem_file_iter(file).map_err(|error| bad(&error))?;
        for certificate in all {
            let certificate = certificate.map_err(|error| bad(&error))?;
            roots.add(certificate).map_err(|error| bad(&error))?;
        }
    }
    Ok(roots)
}

/// Host and port that a URL leads to, if it has them.
fn host_and_port(uri: &Uri) -> Option<(String, u16)> {
    let authority = uri.authority()?;
    let usual = if uri.scheme_str()? == "https" {
        443
    } else {
        80
    };
    let host = authority.host().trim_matches(['[', ']']);
    Some((host.to_owned(), authority.port_u16().unwrap_or(usual)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_is_not_written_is_the_schemes() {
        let of = |url: &str| host_and_port(&url.parse().unwrap()).unwrap();
        assert_eq!(of("http://c/x"), ("c".to_owned(), 80));
        assert_eq!(of("https://[::1]/x"), ("::1".to_owned(), 443));
        assert_eq!(of("https://c:4318"), ("c".to_owned(), 4318));
        let near = Collector::nearby(Protocol::Grpc, Signal::Traces).url;
        assert_eq!(of(&near), ("localhost".to_owned(), 4317));
    }

    #[test]
    fn what_cannot_be_a_way_says_why_and_gives_no_secret_away() {
        let with = |url: &str, name: &str, file: Option<&str>| Collector {
            url: url.to_owned(),
            headers: vec![(name.to_owned(), "secret".to_owned())],
            certificate: file.map(Into::into),
            ..Collector::nearby(Protocol::Http, Signal::Metrics)
        };
        let table = [
            (
                with("no url", "a", None),
                "\"no url\" cannot be a collector: ",
            ),
            (with("ftp://c", "a", None), "\"ftp\""),
            (with("http://c", "a b", None), "\"a b\" cannot be a header"),
            (with("https://c", "a", Some("/nowhere/ca")), "/nowhere/ca: "),
        ];
        for (collector, want) in table {
            let error = Channel::open(&collector, Signal::Metrics).unwrap_err();
            let error = error.to_string();
            assert!(error.contains(want), "{error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn what_may_be_taken_later_is_sent_again() {
        let grpc = |code| Undelivered::Grpc {
            code,
            message: String::new(),
        };
        let passing =
            |code: &u16| Undelivered::Status(StatusCode::from_u16(*code).unwrap()).may_pass();
        let again: Vec<u16> = (400..600).filter(passing).collect();
        assert_eq!(again, [429, 502, 503, 504]);
        let again: Vec<u32> = (1..17).filter(|code| grpc(*code).may_pass()).collect();
        assert_eq!(again, [1, 4, 10, 11, 14, 15]);
    }
}
