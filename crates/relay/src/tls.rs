//! TLS for listeners: what is spoken, with which certificate, to whom.
//!
//! - [`Choices`]: versions, cipher suites and curves, by the names that operators know
//! - [`Certificates`]: a pair of files, read anew when they change
//! - [`Client`]: the other side of it, to pods
//! - [`Held`]: a pair that is handed over as text
//! - [`ClientAuth`]: whether callers have to prove who they are
//! - [`Wanted`]: the same as a program's variables say it, for one listener
//! - [`Server`]: all that together, and the handshake
//!
//! Nothing here is made, and nothing of the library below is run, before a pair of files is there.
//!
//! The algorithms are ring's: they build without further tools, and are small. That leaves out
//! P-521, X25519MLKEM768 and the CBC and RC4 suites, which the peer's library has. Where they are
//! asked for beside others they are passed over, and told ([`Choices::left_out`]).
//!
//! Source: spec/queue-proxy.md §1 (variables), §2 (listeners) and §8.

mod certificates;
mod choices;
mod client;
mod client_auth;
mod held;
mod server;
mod wanted;

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};

pub use certificates::{CertificateError, Certificates, Pair};
pub use choices::{BadChoice, Choices, Written};
pub(crate) use client::ToPod;
pub use client::{Client, ClientError, name_in};
pub use client_auth::ClientAuth;
pub use held::Held;
pub use server::{Agreed, Handshake, HandshakeError, Server, ServerError, Stream};
pub use wanted::{BadVariable, Loaded, POLL, TlsError, Wanted, choices};

/// The algorithms that TLS is made of here. Handed over each time, so that no process-wide default
/// is touched.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

#[cfg(test)]
mod tests;
