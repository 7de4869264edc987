//! TLS to a workload that is probed over HTTPS.
//!
//! Trusted is whom the system trusts, as the contract has it (spec/queue-proxy.md §4.4): a
//! certificate that a workload signed itself does not pass. The roots are read when the first such
//! probe asks, and kept; bringing roots along would cost every queue-proxy some 200 KiB.

use std::io;
use std::sync::{Arc, OnceLock};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::task::spawn_blocking;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::Failure;
use super::http::invalid;
use crate::tls::provider;

/// Whom to trust; the system's roots unless it is already filled in.
pub(super) type Trust = OnceLock<Arc<ClientConfig>>;

/// Read once for all probes of the process.
pub(super) static SYSTEM: Trust = Trust::new();

/// Speaks TLS on `stream`, with a host that proves to be `host`.
pub(super) async fn wrap(
    stream: TcpStream,
    host: &str,
    trust: &Trust,
) -> Result<TlsStream<TcpStream>, Failure> {
    let name = ServerName::try_from(host.to_owned()).map_err(|_| invalid("host", host))?;
    let failed = |source| Failure::Tls {
        host: host.to_owned(),
        source,
    };
    let config = match trust.get() {
        Some(config) => Arc::clone(config),
        None => {
            let read = spawn_blocking(|| trusting(system_roots())).await;
            let config = read.map_err(io::Error::other).map_err(failed)?;
            let config = config.map_err(io::Error::other).map_err(failed)?;
            Arc::clone(trust.get_or_init(|| config))
        }
    };
    let connector = TlsConnector::from(config);
    connector.connect(name, stream).await.map_err(failed)
}

/// What speaks TLS with whom `roots` vouch for.
pub(super) fn trusting(roots: RootCertStore) -> Result<Arc<ClientConfig>, rustls::Error> {
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// Roots that cannot be read are left out; without any, no probe over HTTPS passes.
fn system_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    let read = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(read.certs);
    roots
}
