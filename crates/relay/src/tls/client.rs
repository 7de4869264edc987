//! The caller's side of a handshake with a pod.
//!
//! All pods are asked for by one name and vouched for by the same authorities; which of them may
//! answer for a namespace, a second name in their certificates says.
//!
//! Source: spec/activator.md §7, "TLS".

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use std::{fmt, io};

use rustls::client::{Resumption, verify_server_name};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::ParsedCertificate;
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::provider;

/// A connection to a pod that speaks TLS.
pub(crate) type ToPod = tokio_rustls::client::TlsStream<TcpStream>;

/// The name of all pods.
const DATA_PLANE: &str = "data-plane.knative.dev";

/// Limit of a handshake.
const LIMIT: Duration = Duration::from_secs(10);

/// There can be no TLS with pods.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct ClientError(#[from] rustls::Error);

/// What is needed for TLS with pods.
pub struct Client(RwLock<Arc<ClientConfig>>);

impl Client {
    /// Trusts those whom these texts vouch for, each a name and certificates in PEM. A bad one is
    /// told, and left out.
    ///
    /// # Errors
    ///
    /// [`ClientError`], if TLS 1.3 cannot be spoken at all.
    pub fn trusting<'a>(
        bundles: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    ) -> Result<Arc<Self>, ClientError> {
        Ok(Arc::new(Self(RwLock::new(config(bundles)?))))
    }

    /// Trusts these, and no others, from the next connection on.
    ///
    /// # Errors
    ///
    /// [`ClientError`]; nothing has changed then.
    pub fn replace<'a>(
        &self,
        bundles: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    ) -> Result<(), ClientError> {
        let config = config(bundles)?;
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = config;
        Ok(())
    }

    /// Agrees on TLS with the pod at the other end, whose certificate has to have `name`.
    pub(crate) async fn connect(&self, stream: TcpStream, name: &str) -> io::Result<ToPod> {
        let config = Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner));
        let data_plane = ServerName::try_from(DATA_PLANE).map_err(io::Error::other)?;
        let shaking = TlsConnector::from(config).connect(data_plane, stream);
        let stream = timeout(LIMIT, shaking)
            .await
            .unwrap_or_else(|_elapsed| Err(io::ErrorKind::TimedOut.into()))?;
        let (_, session) = stream.get_ref();
        let shown = session.peer_certificates().and_then(<[_]>::first);
        answers_for(shown, name).map_err(io::Error::other)?;
        Ok(stream)
    }
}

/// The name that a pod's certificate has to have besides that of all pods.
pub fn name_in(namespace: &str) -> String {
    format!("kn-user-{}", namespace.to_ascii_lowercase())
}

/// Whether one of the names in a certificate is `name`.
fn answers_for(shown: Option<&CertificateDer<'_>>, name: &str) -> Result<(), NotOurs> {
    let not_ours = |source| NotOurs {
        name: name.to_owned(),
        source,
    };
    let wanted = ServerName::try_from(name);
    let (Some(shown), Ok(wanted)) = (shown, wanted) else {
        return Err(not_ours(rustls::Error::NoCertificatesPresented));
    };
    let certificate = ParsedCertificate::try_from(shown).map_err(not_ours)?;
    verify_server_name(&certificate, &wanted).map_err(not_ours)
}

#[derive(Debug, thiserror::Error)]
#[error("san {name:?} does not have a matching name in the pod's certificate: {source}")]
struct NotOurs {
    name: String,
    source: rustls::Error,
}

fn config<'a>(
    bundles: impl IntoIterator<Item = (&'a str, &'a [u8])>,
) -> Result<Arc<ClientConfig>, ClientError> {
    let mut roots = RootCertStore::empty();
    for (name, text) in bundles {
        let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
        let (good, bad) = match all {
            Ok(all) if all.is_empty() => (0, 1),
            Ok(all) => roots.add_parsable_certificates(all),
            Err(error) => {
                tracing::warn!(%error, "{name} vouches for no pod: it is no certificate in PEM");
                continue;
            }
        };
        if bad > 0 {
            tracing::warn!(
                good,
                bad,
                "{name} has certificates that can vouch for no pod"
            );
        }
    }
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    // All pods have one name here: what one has left must not be shown to another.
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(names: &[&str]) -> CertificateDer<'static> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        made.cert.der().clone()
    }

    #[test]
    fn case_115_any_of_the_names_of_a_certificate_may_be_the_one() {
        let name = name_in("Default");
        assert_eq!(name, "kn-user-default");
        for (names, want) in [
            (vec!["kn-user-default", DATA_PLANE], true),
            (vec![DATA_PLANE, "kn-user-default"], true),
            (vec![DATA_PLANE], false),
            (
                vec![DATA_PLANE, "kn-user-other", "kn-user-default.x"],
                false,
            ),
        ] {
            let shown = certificate(&names);
            assert_eq!(answers_for(Some(&shown), &name).is_ok(), want, "{names:?}");
        }
        let told = answers_for(Some(&certificate(&[DATA_PLANE])), &name).unwrap_err();
        let want = "san \"kn-user-default\" does not have a matching name";
        assert!(told.to_string().starts_with(want), "{told}");
        answers_for(None, &name).unwrap_err();
    }
}
