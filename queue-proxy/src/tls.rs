//! TLS in a pod: the certificates that the platform mounts, and those of the metrics listener.
//!
//! Without certificates nothing of TLS is read, and nothing of it runs.
//!
//! Source: spec/queue-proxy.md §1 (`QUEUE_PROXY_TLS_*`, `METRICS_PROMETHEUS_TLS_*`) and §8.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use penstock_relay::tls::{
    CertificateError, Certificates, Choices, ClientAuth, Pair, Server, ServerError, Written,
};
use penstock_runtime::admin::{Admin, Connection};
use penstock_runtime::vars::Vars;

/// Where the platform mounts a pod's certificate.
const MOUNTED: &str = "/var/lib/knative/certs";

/// Time between two looks at the files.
const POLL: Duration = Duration::from_secs(60);

/// Which listeners have TLS.
#[derive(Clone, Debug)]
pub struct Secured {
    /// That of requests, beside the one without TLS.
    pub requests: Option<Wanted>,
    /// That of metrics.
    pub metrics: Option<Wanted>,
    /// Time between two looks at the files.
    pub poll: Duration,
}

impl Secured {
    /// Reads what is wanted. `requests`, `metrics`: whether there may be such listeners.
    /// `is_there` looks whether a pair of files is there.
    pub(crate) fn read<G>(
        vars: &mut Vars<G>,
        requests: bool,
        metrics: bool,
        is_there: impl Fn(&Pair) -> bool,
    ) -> Self
    where
        G: Fn(&str) -> Option<String>,
    {
        let folder = vars.text("PENSTOCK_TLS_DIR");
        let folder = folder.as_deref().filter(|folder| !folder.is_empty());
        let pair = pair_in(Path::new(folder.unwrap_or(MOUNTED)));
        Self {
            requests: (requests && is_there(&pair))
                .then(|| Wanted::of_requests(pair, vars))
                .flatten(),
            metrics: metrics.then(|| Wanted::of_metrics(vars)).flatten(),
            poll: vars.read(
                "PENSTOCK_TLS_POLL_MS",
                POLL,
                "whole milliseconds above 0",
                |text| {
                    let millis = text.parse().ok().filter(|millis: &u32| *millis > 0)?;
                    Some(Duration::from_millis(millis.into()))
                },
            ),
        }
    }
}

async fn watch(loaded: Option<&Loaded>, every: Duration) {
    if let Some(Loaded { certificates, .. }) = loaded {
        match certificates.watch(every).await {}
    }
}

impl Secured {
    /// Reads the files of all.
    ///
    /// # Errors
    ///
    /// [`TlsError`] names the file and what is wrong with it.
    pub(crate) fn load(&self) -> Result<Tls, TlsError> {
        let (requests, metrics) = (self.requests.as_ref(), self.metrics.as_ref());
        let both = ["h2", "http/1.1"];
        Ok(Tls {
            requests: requests.map(|it| it.load(&both)).transpose()?,
            metrics: metrics.map(|it| it.load(&["http/1.1"])).transpose()?,
            poll: self.poll,
        })
    }
}

/// The pair of files in the folder of a mounted secret.
fn pair_in(folder: &Path) -> Pair {
    Pair {
        certificate: folder.join("tls.crt"),
        key: folder.join("tls.key"),
    }
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
struct Loaded {
    server: Server,
    certificates: Arc<Certificates>,
}

/// The TLS of those listeners that have it.
#[derive(Debug)]
pub(crate) struct Tls {
    requests: Option<Loaded>,
    metrics: Option<Loaded>,
    poll: Duration,
}

impl Tls {
    /// That of requests.
    pub(crate) fn of_requests(&self) -> Option<&Server> {
        self.requests.as_ref().map(|loaded| &loaded.server)
    }

    /// Speaks TLS on the listener for metrics, if it is to have it.
    pub(crate) fn guard_metrics(&self, admin: Admin) -> Admin {
        let Some(Loaded { server, .. }) = self.metrics.clone() else {
            return admin;
        };
        admin.wrapped(move |stream, limit| {
            let server = server.clone();
            Box::pin(async move {
                let shaken = server.accept(stream, limit).await;
                shaken
                    .inspect_err(|error| tracing::debug!(%error, "a scraper without TLS"))
                    .map(|stream| Box::new(stream) as Box<dyn Connection>)
                    .ok()
            })
        })
    }

    /// Looks after the certificates for as long as it is polled.
    pub(crate) async fn watch(self) {
        tokio::join!(
            watch(self.requests.as_ref(), self.poll),
            watch(self.metrics.as_ref(), self.poll),
        );
    }
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

impl Wanted {
    /// TLS of the requests, with `pair`, as `QUEUE_PROXY_TLS_*` say. `None` has left its mistakes
    /// in `vars`.
    fn of_requests<G>(pair: Pair, vars: &mut Vars<G>) -> Option<Self>
    where
        G: Fn(&str) -> Option<String>,
    {
        Some(Self {
            pair,
            choices: choices("QUEUE_PROXY_TLS", vars)?,
            client_auth: ClientAuth::None,
        })
    }

    /// TLS of the metrics, as `METRICS_PROMETHEUS_TLS_*` say. `None` is none, or has left its
    /// mistakes in `vars`.
    fn of_metrics<G>(vars: &mut Vars<G>) -> Option<Self>
    where
        G: Fn(&str) -> Option<String>,
    {
        const CERT: &str = "METRICS_PROMETHEUS_TLS_CERT";
        const KEY: &str = "METRICS_PROMETHEUS_TLS_KEY";
        const AUTH: &str = "METRICS_PROMETHEUS_TLS_CLIENT_AUTH";
        const CA: &str = "METRICS_PROMETHEUS_TLS_CLIENT_CA_FILE";
        let given = |name| vars.text(name).filter(|text| !text.is_empty());
        let (cert, key, auth, ca) = (given(CERT), given(KEY), given(AUTH), given(CA));
        let ca = ca.map(PathBuf::from);
        let client_auth = match (auth.as_deref(), ca) {
            (None | Some("none"), _) => Some(ClientAuth::None),
            (Some("optional"), Some(ca)) => Some(ClientAuth::Optional(ca)),
            (Some("require"), Some(ca)) => Some(ClientAuth::Require(ca)),
            (Some("optional" | "require"), None) => {
                vars.reject(
                    CA,
                    None,
                    format!("the file of those who vouch for callers, as {AUTH} needs it"),
                );
                None
            }
            (Some(_), _) => {
                vars.reject(AUTH, auth.clone(), "none, optional or require");
                None
            }
        };
        match (cert, key) {
            (Some(certificate), Some(key)) => {
                let choices = choices("METRICS_PROMETHEUS_TLS", vars);
                Some(Self {
                    pair: Pair {
                        certificate: certificate.into(),
                        key: key.into(),
                    },
                    choices: choices?,
                    client_auth: client_auth?,
                })
            }
            (Some(_), None) => {
                vars.reject(KEY, None, format!("the key to {CERT}"));
                None
            }
            (None, Some(_)) => {
                vars.reject(CERT, None, format!("the certificate to {KEY}"));
                None
            }
            (None, None) => {
                if client_auth.is_some_and(|auth| auth != ClientAuth::None) {
                    vars.reject(CERT, None, format!("a certificate, as {AUTH} needs it"));
                }
                None
            }
        }
    }

    /// Reads the files. `protocols` are those of the listener, the preferred first.
    fn load(&self, protocols: &[&str]) -> Result<Loaded, TlsError> {
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

fn choices<G>(prefix: &str, vars: &mut Vars<G>) -> Option<Choices>
where
    G: Fn(&str) -> Option<String>,
{
    let text = |which| vars.text(&format!("{prefix}_{which}")).unwrap_or_default();
    let (min, max) = (text("MIN_VERSION"), text("MAX_VERSION"));
    let (suites, curves) = (text("CIPHER_SUITES"), text("CURVE_PREFERENCES"));
    let choices = Choices::read(Written {
        min_version: &min,
        max_version: &max,
        cipher_suites: &suites,
        curve_preferences: &curves,
    });
    match choices {
        Ok(choices) => Some(choices),
        Err(bad) => {
            for bad in bad {
                vars.reject(
                    format!("{prefix}_{}", bad.which),
                    Some(bad.text),
                    bad.wanted,
                );
            }
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is wanted of the metrics, and what is wrong with that.
    fn of_metrics(set: &[(&str, &str)]) -> (Option<Wanted>, String) {
        let get = |name: &str| {
            let name = name.strip_prefix("METRICS_PROMETHEUS_TLS_")?;
            let found = set.iter().find(|(set, _)| *set == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        let mut vars = Vars::new(get);
        let wanted = Wanted::of_metrics(&mut vars);
        let told = vars
            .finish(())
            .map_or_else(|bad| bad.to_string(), |()| String::new());
        (wanted, told)
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
            let (wanted, told) = of_metrics(&set);
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
            let (wanted, told) = of_metrics(&set);
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
            let (wanted, told) = of_metrics(&set);
            assert!(wanted.is_none());
            assert_eq!(told, format!("METRICS_PROMETHEUS_TLS_{want}"));
        }
    }

    #[test]
    fn case_135_requests_have_tls_only_with_both_files() {
        let read = |there| {
            let bad =
                |name: &str| (name == "QUEUE_PROXY_TLS_MIN_VERSION").then(|| "1.1".to_owned());
            let mut vars = Vars::new(bad);
            Secured::read(&mut vars, true, true, |pair| {
                assert_eq!(
                    pair.certificate,
                    Path::new("/var/lib/knative/certs/tls.crt")
                );
                assert_eq!(pair.key, Path::new("/var/lib/knative/certs/tls.key"));
                there
            });
            vars.finish(()).map_err(|bad| bad.to_string())
        };
        assert_eq!(read(false), Ok(()));
        let told = "QUEUE_PROXY_TLS_MIN_VERSION=\"1.1\" is not 1.2 or 1.3";
        assert_eq!(read(true), Err(told.to_owned()));
    }

    #[test]
    fn folder_and_interval_may_be_chosen() {
        let own = [("PENSTOCK_TLS_DIR", "/d"), ("PENSTOCK_TLS_POLL_MS", "5")];
        let get = |name: &str| {
            let found = own.iter().find(|(own, _)| *own == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        let mut vars = Vars::new(get);
        let secured = Secured::read(&mut vars, true, false, |_| true);
        vars.finish(()).unwrap();
        assert_eq!(secured.requests.unwrap().pair, pair_in(Path::new("/d")));
        assert_eq!(secured.poll, Duration::from_millis(5));
        let mut vars =
            Vars::new(|name: &str| (name == "PENSTOCK_TLS_POLL_MS").then(|| "0".to_owned()));
        Secured::read(&mut vars, true, false, |_| false);
        vars.finish(()).unwrap_err();
    }

    #[test]
    fn case_135_all_bad_choices_are_told_with_their_variables() {
        let mut vars = Vars::new(|name| {
            let which = name.strip_prefix("QUEUE_PROXY_TLS_")?;
            Some(if which == "MAX_VERSION" { "" } else { "x" }.to_owned())
        });
        assert!(Wanted::of_requests(pair_in(Path::new(MOUNTED)), &mut vars).is_none());
        let told = vars.finish(()).unwrap_err().to_string();
        let names = told.lines().map(|line| line.split('=').next().unwrap());
        let names: Vec<&str> = names.collect();
        let want = ["MIN_VERSION", "CIPHER_SUITES", "CURVE_PREFERENCES"];
        assert_eq!(names, want.map(|which| format!("QUEUE_PROXY_TLS_{which}")));
    }
}
