//! A certificate and its key, from two files that somebody may replace at any time.

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;
use std::{fmt, fs, io};

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::provider;

/// Where a certificate and its key are, in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The certificate, and those that vouch for it.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

impl Pair {
    /// Whether both files are there. They are not opened.
    ///
    /// # Errors
    ///
    /// [`CertificateError::Read`] if the system cannot tell.
    pub fn is_present(&self) -> Result<bool, CertificateError> {
        for path in [&self.certificate, &self.key] {
            let there = path.try_exists();
            if !there.map_err(|source| unreadable(path, source))? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn read(&self) -> Result<Contents, CertificateError> {
        let read = |path| fs::read(path).map_err(|source| unreadable(path, source));
        Ok(Contents {
            certificate: read(&self.certificate)?,
            key: read(&self.key)?,
        })
    }
}

fn unreadable(path: &std::path::Path, source: io::Error) -> CertificateError {
    CertificateError::Read {
        path: path.to_owned(),
        source,
    }
}

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file has something else in it.
    #[error("{} holds no {wanted} in PEM: {source}", path.display())]
    Pem {
        /// Which.
        path: PathBuf,
        /// What belongs there.
        wanted: &'static str,
        /// What was wrong.
        source: pem::Error,
    },
    /// They are not a pair, or of a kind that is not known here.
    #[error("{} and {} are no usable pair: {source}", pair.certificate.display(), pair.key.display())]
    Unusable {
        /// Which.
        pair: Pair,
        /// What was wrong.
        source: rustls::Error,
    },
}

/// What was in the files.
#[derive(PartialEq, Eq)]
pub(super) struct Contents {
    pub(super) certificate: Vec<u8>,
    pub(super) key: Vec<u8>,
}

/// The certificate that is shown to callers: the newest good one.
pub struct Certificates {
    pair: Pair,
    provider: Arc<CryptoProvider>,
    shown: RwLock<Arc<CertifiedKey>>,
    /// What was read last, good or bad: only something new is looked at.
    seen: Mutex<Contents>,
}

impl Certificates {
    /// Reads `pair`.
    ///
    /// # Errors
    ///
    /// [`CertificateError`] names the file and what is wrong with it.
    pub fn load(pair: Pair) -> Result<Arc<Self>, CertificateError> {
        let provider = provider();
        let contents = pair.read()?;
        let shown = parse(&pair, &contents, &provider)?;
        tell_loaded();
        Ok(Arc::new(Self {
            pair,
            provider,
            shown: RwLock::new(shown),
            seen: Mutex::new(contents),
        }))
    }

    /// Looks at the files each `every`, and shows what is new in them from then on. What is wrong
    /// there is logged, and changes nothing.
    pub async fn watch(&self, every: Duration) -> Infallible {
        loop {
            tokio::time::sleep(every).await;
            // Two small files, from memory in a cluster: less than a change of threads would cost.
            if let Err(error) = self.look() {
                tracing::error!(%error, "the certificate was not reloaded; the old one stays");
            }
        }
    }

    /// Shows what is new in the files; whether anything was.
    pub(super) fn look(&self) -> Result<bool, CertificateError> {
        let contents = self.pair.read()?;
        {
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            if *seen == contents {
                return Ok(false);
            }
            let good = parse(&self.pair, &contents, &self.provider);
            *seen = contents;
            *self.shown.write().unwrap_or_else(PoisonError::into_inner) = good?;
        }
        tell_loaded();
        Ok(true)
    }
}

/// In the words that tests of whole clusters look for; also at the start.
fn tell_loaded() {
    tracing::info!("Certificate and/or key have changed on disk and were reloaded.");
}

pub(super) fn parse(
    pair: &Pair,
    contents: &Contents,
    provider: &CryptoProvider,
) -> Result<Arc<CertifiedKey>, CertificateError> {
    let not_certificate = |source| CertificateError::Pem {
        path: pair.certificate.clone(),
        wanted: "certificate",
        source,
    };
    let chain = CertificateDer::pem_slice_iter(&contents.certificate);
    let chain = chain.collect::<Result<Vec<_>, _>>();
    let chain = chain.map_err(not_certificate)?;
    if chain.is_empty() {
        return Err(not_certificate(pem::Error::NoItemsFound));
    }
    let key = PrivateKeyDer::from_pem_slice(&contents.key);
    let key = key.map_err(|source| CertificateError::Pem {
        path: pair.key.clone(),
        wanted: "private key",
        source,
    })?;
    let usable = CertifiedKey::from_der(chain, key, provider);
    let usable = usable.map_err(|source| CertificateError::Unusable {
        pair: pair.clone(),
        source,
    })?;
    Ok(Arc::new(usable))
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let shown = self.shown.read().unwrap_or_else(PoisonError::into_inner);
        Some(Arc::clone(&shown))
    }
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.pair.fmt(f)
    }
}
