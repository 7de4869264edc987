//! What a program's variables say of the TLS of one listener: `PREFIX_CERT`, `PREFIX_KEY` and so on.
//!
//! Source: spec/queue-proxy.md §1, spec/activator.md §1.1 (`*_TLS_*`).

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use super::{
    CertificateError, Certificates, Choices, ClientAuth, Pair, Server, ServerError, Written,
};

/// Time between two looks at files, unless told otherwise.
pub const POLL: Duration = Duration::from_secs(60);

/// A variable that is wrong, or missing beside another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadVariable {
    /// Its name.
    pub name: String,
    /// Its text, or the part of it that is wrong; `None` if it is not set.
    pub text: Option<String>,
    /// What would be right.
    pub wanted: String,
}

/// What a listener with TLS needs, before anything of it is read.
#[derive(Clone, Debug)]
pub struct Wanted {
    pair: Pair,
    choices: Choices,
    client_auth: ClientAuth,
}

/// A listener's TLS, and what keeps its certificate new.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What is spoken.
    pub server: Server,
    certificates: Arc<Certificates>,
}

/// Why a listener cannot have its TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// Its certificate is bad.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// Who vouches for callers is bad.
    #[error(transparent)]
    Server(#[from] ServerError),
}

impl Loaded {
    /// Looks each `every` whether the certificate has changed.
    pub async fn watch(&self, every: Duration) -> Infallible {
        self.certificates.watch(every).await
    }
}

impl Wanted {
    /// Its certificate and key.
    pub fn pair(&self) -> &Pair {
        &self.pair
    }

    /// TLS with `pair`, as `PREFIX_MIN_VERSION` and the like say; callers prove nothing.
    ///
    /// # Errors
    ///
    /// All wrong variables together.
    pub fn with(
        pair: Pair,
        prefix: &str,
        get: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, Vec<BadVariable>> {
        Ok(Self {
            pair,
            choices: choices(prefix, get)?,
            client_auth: ClientAuth::None,
        })
    }

    /// TLS as all variables that begin with `prefix` say; `None` if they name no certificate.
    ///
    /// # Errors
    ///
    /// All wrong variables together.
    pub fn read(
        prefix: &str,
        get: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<Self>, Vec<BadVariable>> {
        let name = |which| format!("{prefix}_{which}");
        let given = |which| get(&name(which)).filter(|text| !text.is_empty());
        let (cert, key) = (given("CERT"), given("KEY"));
        let (auth, ca) = (given("CLIENT_AUTH"), given("CLIENT_CA_FILE"));
        let mut bad = Vec::new();
        let missing = |which, wanted| BadVariable {
            name: name(which),
            text: None,
            wanted,
        };
        let client_auth = match (auth.as_deref(), ca.map(Into::into)) {
            (None | Some("none"), _) => ClientAuth::None,
            (Some("optional"), Some(ca)) => ClientAuth::Optional(ca),
            (Some("require"), Some(ca)) => ClientAuth::Require(ca),
            (Some("optional" | "require"), None) => {
                let auth = name("CLIENT_AUTH");
                let wanted = format!("the file of those who vouch for callers, as {auth} needs it");
                bad.push(missing("CLIENT_CA_FILE", wanted));
                ClientAuth::None
            }
            (Some(other), _) => {
                bad.push(BadVariable {
                    name: name("CLIENT_AUTH"),
                    text: Some(other.to_owned()),
                    wanted: "none, optional or require".to_owned(),
                });
                ClientAuth::None
            }
        };
        let pair = match (cert, key) {
            (Some(certificate), Some(key)) => Some(Pair {
                certificate: certificate.into(),
                key: key.into(),
            }),
            (Some(_), None) => {
                bad.push(missing("KEY", format!("the key to {}", name("CERT"))));
                None
            }
            (None, Some(_)) => {
                let wanted = format!("the certificate to {}", name("KEY"));
                bad.push(missing("CERT", wanted));
                None
            }
            (None, None) => {
                if client_auth != ClientAuth::None {
                    let wanted = format!("a certificate, as {} needs it", name("CLIENT_AUTH"));
                    bad.push(missing("CERT", wanted));
                }
                None
            }
        };
        let Some(pair) = pair else {
            return if bad.is_empty() { Ok(None) } else { Err(bad) };
        };
        match (choices(prefix, get), bad.is_empty()) {
            (Ok(choices), true) => Ok(Some(Self {
                pair,
                choices,
                client_auth,
            })),
            (Ok(_), false) => Err(bad),
            (Err(more), _) => {
                bad.extend(more);
                Err(bad)
            }
        }
    }

    /// Reads the files. `protocols` are those of the listener, the preferred first.
    ///
    /// # Errors
    ///
    /// [`TlsError`] names the file and what is wrong with it.
    pub fn load(&self, protocols: &[&str]) -> Result<Loaded, TlsError> {
        for name in self.choices.left_out() {
            tracing::warn!("TLS goes without {name}, which is not known here");
        }
        let certificates = Certificates::load(self.pair.clone())?;
        let shown = Arc::clone(&certificates);
        let server = Server::new(shown, &self.choices, &self.client_auth, protocols)?;
        Ok(Loaded {
            server,
            certificates,
        })
    }
}

/// Choices as the variables say that begin with `prefix`.
///
/// # Errors
///
/// All wrong variables together.
pub fn choices(
    prefix: &str,
    get: impl Fn(&str) -> Option<String>,
) -> Result<Choices, Vec<BadVariable>> {
    let text = |which| get(&format!("{prefix}_{which}")).unwrap_or_default();
    let (min, max) = (text("MIN_VERSION"), text("MAX_VERSION"));
    let (suites, curves) = (text("CIPHER_SUITES"), text("CURVE_PREFERENCES"));
    let choices = Choices::read(Written {
        min_version: &min,
        max_version: &max,
        cipher_suites: &suites,
        curve_preferences: &curves,
    });
    choices.map_err(|bad| {
        let variable = |bad: super::BadChoice| BadVariable {
            name: format!("{prefix}_{}", bad.which),
            text: Some(bad.text),
            wanted: bad.wanted,
        };
        bad.into_iter().map(variable).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is wanted, and what is wrong with that.
    fn read(set: &[(&str, &str)]) -> (Option<Wanted>, String) {
        let get = |name: &str| {
            let name = name.strip_prefix("METRICS_PROMETHEUS_TLS_")?;
            let found = set.iter().find(|(set, _)| *set == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        match Wanted::read("METRICS_PROMETHEUS_TLS", get) {
            Ok(wanted) => (wanted, String::new()),
            Err(bad) => {
                let told = bad.iter().map(|bad| match &bad.text {
                    Some(text) => format!("{}={text:?} is not {}", bad.name, bad.wanted),
                    None => format!("{} is not set; it has to be {}", bad.name, bad.wanted),
                });
                (None, told.collect::<Vec<_>>().join("\n"))
            }
        }
    }

    const CERT: (&str, &str) = ("CERT", "/c");
    const KEY: (&str, &str) = ("KEY", "/k");

    #[test]
    fn metrics_have_tls_with_a_certificate_and_a_key() {
        let ca = ("CLIENT_CA_FILE", "/ca");
        let table = [
            (vec![CERT, KEY], ClientAuth::None),
            (vec![CERT, KEY, ("CLIENT_AUTH", "none")], ClientAuth::None),
            (
                vec![CERT, KEY, ca, ("CLIENT_AUTH", "optional")],
                ClientAuth::Optional("/ca".into()),
            ),
            (
                vec![CERT, KEY, ca, ("CLIENT_AUTH", "require")],
                ClientAuth::Require("/ca".into()),
            ),
        ];
        for (set, auth) in table {
            let (wanted, told) = read(&set);
            assert_eq!(told, "");
            let wanted = wanted.unwrap();
            assert_eq!(wanted.client_auth, auth);
            let pair = Pair {
                certificate: "/c".into(),
                key: "/k".into(),
            };
            assert_eq!(wanted.pair, pair);
        }
        for set in [
            vec![],
            vec![("CERT", ""), ("KEY", "")],
            vec![("MIN_VERSION", "1.1")],
        ] {
            let (wanted, told) = read(&set);
            assert!(wanted.is_none() && told.is_empty(), "{told}");
        }
    }

    #[test]
    fn sets_that_do_not_fit_together_are_told() {
        let table = [
            (
                vec![CERT],
                "KEY is not set; it has to be the key to METRICS_PROMETHEUS_TLS_CERT",
            ),
            (
                vec![KEY],
                "CERT is not set; it has to be the certificate to METRICS_PROMETHEUS_TLS_KEY",
            ),
            (
                vec![CERT, KEY, ("CLIENT_AUTH", "require")],
                "CLIENT_CA_FILE is not set; it has to be the file of those who vouch for callers, \
                 as METRICS_PROMETHEUS_TLS_CLIENT_AUTH needs it",
            ),
            (
                vec![CERT, KEY, ("CLIENT_AUTH", "yes")],
                "CLIENT_AUTH=\"yes\" is not none, optional or require",
            ),
            (
                vec![("CLIENT_AUTH", "require"), ("CLIENT_CA_FILE", "/ca")],
                "CERT is not set; it has to be a certificate, as \
                 METRICS_PROMETHEUS_TLS_CLIENT_AUTH needs it",
            ),
            (
                vec![CERT, KEY, ("MIN_VERSION", "1.1")],
                "MIN_VERSION=\"1.1\" is not 1.2 or 1.3",
            ),
        ];
        for (set, want) in table {
            let (wanted, told) = read(&set);
            assert!(wanted.is_none());
            assert_eq!(told, format!("METRICS_PROMETHEUS_TLS_{want}"));
        }
    }
}
