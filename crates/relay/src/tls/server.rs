//! The server's side of a handshake.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, io};

use rustls::ServerConfig;
use rustls::pki_types::pem;
use rustls::server::ResolvesServerCert;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::{Choices, ClientAuth};

/// A connection that speaks TLS.
pub type Stream = tokio_rustls::server::TlsStream<TcpStream>;

/// Said to a caller who speaks HTTP where TLS is spoken, in the peer's words.
const NOT_PLAIN: &[u8] = b"HTTP/1.0 400 Bad Request\r\n\r\n\
    Client sent an HTTP request to an HTTPS server.\n";

/// How long, and how many bytes, such a caller may go on after the answer. Without that its own
/// bytes, unread, would turn the end of the connection into a reset that can destroy the answer.
const COURTESY: Duration = Duration::from_secs(1);
const COURTESY_BYTES: u64 = 64 * 1024;

/// What a listener needs for TLS.
#[derive(Clone)]
pub struct Server {
    acceptor: TlsAcceptor,
}

/// Why there can be no TLS with a caller.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// It took too long.
    #[error("no handshake within {limit:?}")]
    TimedOut {
        /// The limit.
        limit: Duration,
    },
    /// The caller spoke plain HTTP, and was told.
    #[error("plain HTTP where TLS is spoken")]
    Plain,
    /// It failed, or the caller left.
    #[error("no TLS: {source}")]
    Failed {
        /// What was wrong.
        source: io::Error,
    },
}

/// How a handshake ended.
pub type Handshake = Result<Stream, HandshakeError>;

/// Why a listener cannot have TLS.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// The file of those who vouch for callers cannot be read, or has something else in it.
    #[error("{} holds no certificates in PEM: {source}", path.display())]
    Ca {
        /// Which.
        path: PathBuf,
        /// What was wrong.
        source: pem::Error,
    },
    /// They cannot vouch for anybody.
    #[error("the certificates in {} cannot vouch for callers: {source}", path.display())]
    UnusableCa {
        /// Which file.
        path: PathBuf,
        /// What was wrong.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The choices contradict each other.
    #[error("the chosen versions, suites and curves leave nothing to speak: {source}")]
    Choices {
        /// How.
        source: rustls::Error,
    },
}

impl Server {
    /// Speaks as `choices` say, with what `certificates` show at the time, for `protocols` (such
    /// as `h2`) in the order of preference.
    ///
    /// # Errors
    ///
    /// [`ServerError`], most of all if callers are asked for certificates, and those that vouch
    /// for them are bad.
    pub fn new(
        certificates: Arc<dyn ResolvesServerCert>,
        choices: &Choices,
        client_auth: &ClientAuth,
        protocols: &[&str],
    ) -> Result<Self, ServerError> {
        let builder = ServerConfig::builder_with_provider(Arc::clone(choices.provider()))
            .with_protocol_versions(choices.versions())
            .map_err(|source| ServerError::Choices { source })?;
        let builder = match client_auth.verifier(choices)? {
            Some(verifier) => builder.with_client_cert_verifier(verifier),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_cert_resolver(certificates);
        config.alpn_protocols = protocols
            .iter()
            .map(|name| name.as_bytes().to_vec())
            .collect();
        Ok(Self {
            acceptor: TlsAcceptor::from(Arc::new(config)),
        })
    }

    /// Agrees on TLS with whoever is at the other end of `stream`, within `limit`.
    ///
    /// # Errors
    ///
    /// [`HandshakeError`]; a caller of plain HTTP has been told by then.
    pub async fn accept(&self, stream: TcpStream, limit: Duration) -> Handshake {
        timeout(limit, self.handshake(stream))
            .await
            .unwrap_or(Err(HandshakeError::TimedOut { limit }))
    }

    async fn handshake(&self, stream: TcpStream) -> Handshake {
        let failed = |source| HandshakeError::Failed { source };
        let mut first = [0];
        stream.peek(&mut first).await.map_err(failed)?;
        // Methods of HTTP begin with a letter; what TLS begins with is none.
        if first[0].is_ascii_alphabetic() {
            // A caller who does not take the answer was not owed more.
            let _ = refuse_plain(stream).await;
            return Err(HandshakeError::Plain);
        }
        self.acceptor.accept(stream).await.map_err(failed)
    }
}

async fn refuse_plain(mut stream: TcpStream) -> io::Result<()> {
    stream.write_all(NOT_PLAIN).await?;
    stream.shutdown().await?;
    let mut rest = stream.take(COURTESY_BYTES);
    let mut nowhere = tokio::io::sink();
    let _ = timeout(COURTESY, tokio::io::copy(&mut rest, &mut nowhere)).await;
    Ok(())
}

/// What was agreed on with a caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agreed {
    /// The version as it is on the wire: 0x0304 is TLS 1.3.
    pub version: u16,
    /// The cipher suite as it is on the wire.
    pub cipher_suite: u16,
    /// The protocol, such as `h2`; empty if the caller named none.
    pub protocol: String,
    /// The host that the caller wants; empty if it did not say.
    pub server_name: String,
}

impl Agreed {
    /// What the handshake of `stream` came to.
    pub fn on(stream: &Stream) -> Self {
        let (_, session) = stream.get_ref();
        let protocol = session.alpn_protocol().unwrap_or_default();
        Self {
            version: session.protocol_version().map_or(0, u16::from),
            cipher_suite: session
                .negotiated_cipher_suite()
                .map_or(0, |suite| suite.suite().into()),
            protocol: String::from_utf8_lossy(protocol).into_owned(),
            server_name: session.server_name().unwrap_or_default().to_owned(),
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").finish_non_exhaustive()
    }
}
