//! Whether callers have to prove who they are.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{self, PemObject};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;

use super::{Choices, ServerError};

/// What callers are asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ClientAuth {
    /// Nothing.
    #[default]
    None,
    /// A certificate that one of this file vouches for, if they have one at all.
    Optional(PathBuf),
    /// Such a certificate.
    Require(PathBuf),
}

impl ClientAuth {
    pub(super) fn verifier(
        &self,
        choices: &Choices,
    ) -> Result<Option<Arc<dyn ClientCertVerifier>>, ServerError> {
        let (path, optional) = match self {
            Self::None => return Ok(None),
            Self::Optional(path) => (path, true),
            Self::Require(path) => (path, false),
        };
        let unusable = |source: Box<dyn std::error::Error + Send + Sync>| ServerError::UnusableCa {
            path: path.clone(),
            source,
        };
        let mut roots = RootCertStore::empty();
        for certificate in certificates(path)? {
            roots.add(certificate).map_err(|e| unusable(e.into()))?;
        }
        let provider = Arc::clone(choices.provider());
        let mut builder = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
        if optional {
            builder = builder.allow_unauthenticated();
        }
        let verifier = builder.build().map_err(|error| unusable(error.into()))?;
        Ok(Some(verifier))
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, ServerError> {
    let bad = |source| ServerError::Ca {
        path: path.to_owned(),
        source,
    };
    let found = CertificateDer::pem_file_iter(path).map_err(bad)?;
    let found = found.collect::<Result<Vec<_>, _>>().map_err(bad)?;
    if found.is_empty() {
        return Err(bad(pem::Error::NoItemsFound));
    }
    Ok(found)
}
