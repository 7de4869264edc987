//! A certificate and its key that are handed over as text, and replaced while they are shown.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::certificates::{CertificateError, Contents, Pair, parse};
use super::provider;

/// The certificate that is shown to callers: the last good one.
pub struct Held(RwLock<Arc<CertifiedKey>>);

impl Held {
    /// Shows this certificate, in PEM with those that vouch for it, which `key` belongs to.
    ///
    /// # Errors
    ///
    /// [`CertificateError`] says what is wrong with which.
    pub fn new(certificate: &[u8], key: &[u8]) -> Result<Arc<Self>, CertificateError> {
        let shown = read(certificate, key)?;
        Ok(Arc::new(Self(RwLock::new(shown))))
    }

    /// Shows another from the next caller on.
    ///
    /// # Errors
    ///
    /// [`CertificateError`]; the old one then stays.
    pub fn replace(&self, certificate: &[u8], key: &[u8]) -> Result<(), CertificateError> {
        let shown = read(certificate, key)?;
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = shown;
        Ok(())
    }
}

/// They are named as in the secrets that they come from.
fn read(certificate: &[u8], key: &[u8]) -> Result<Arc<CertifiedKey>, CertificateError> {
    let pair = Pair {
        certificate: PathBuf::from("tls.crt"),
        key: PathBuf::from("tls.key"),
    };
    let contents = Contents {
        certificate: certificate.to_vec(),
        key: key.to_vec(),
    };
    parse(&pair, &contents, &provider())
}

impl ResolvesServerCert for Held {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let shown = self.0.read().unwrap_or_else(PoisonError::into_inner);
        Some(Arc::clone(&shown))
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held").finish_non_exhaustive()
    }
}
