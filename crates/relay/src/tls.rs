//! TLS.

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};

/// The algorithms that TLS is made of here. Chosen by name, so that no process-wide default is
/// touched.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}
