//! TLS in a pod: the certificates that the platform mounts, and those of the metrics listener.
//!
//! Without certificates nothing of TLS is read, and nothing of it runs.
//!
//! Source: spec/queue-proxy.md §1 (`QUEUE_PROXY_TLS_*`, `METRICS_PROMETHEUS_TLS_*`) and §8.

use std::path::Path;
use std::time::Duration;

use penstock_relay::tls::{BadVariable, Loaded, POLL, Pair, Server, TlsError, Wanted};
use penstock_runtime::admin::{Admin, Connection};
use penstock_runtime::vars::Vars;

/// Where the platform mounts a pod's certificate.
const MOUNTED: &str = "/var/lib/knative/certs";

/// What variables begin with that are about requests, and about metrics.
const REQUESTS: &str = "QUEUE_PROXY_TLS";
const METRICS: &str = "METRICS_PROMETHEUS_TLS";

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
                .then(|| {
                    let read = Wanted::with(pair, REQUESTS, |name| vars.text(name));
                    noted(vars, read)
                })
                .flatten(),
            metrics: metrics
                .then(|| {
                    let read = Wanted::read(METRICS, |name| vars.text(name));
                    noted(vars, read).flatten()
                })
                .flatten(),
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
    if let Some(loaded) = loaded {
        match loaded.watch(every).await {}
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

/// What was read of a listener's TLS; its mistakes go to `vars`.
fn noted<G, T>(vars: &mut Vars<G>, read: Result<T, Vec<BadVariable>>) -> Option<T>
where
    G: Fn(&str) -> Option<String>,
{
    read.map_err(|bad| {
        for BadVariable { name, text, wanted } in bad {
            vars.reject(name, text, wanted);
        }
    })
    .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!(secured.requests.unwrap().pair(), &pair_in(Path::new("/d")));
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
        let pair = pair_in(Path::new(MOUNTED));
        let read = Wanted::with(pair, REQUESTS, |name| vars.text(name));
        assert!(noted(&mut vars, read).is_none());
        let told = vars.finish(()).unwrap_err().to_string();
        let names = told.lines().map(|line| line.split('=').next().unwrap());
        let names: Vec<&str> = names.collect();
        let want = ["MIN_VERSION", "CIPHER_SUITES", "CURVE_PREFERENCES"];
        assert_eq!(names, want.map(|which| format!("QUEUE_PROXY_TLS_{which}")));
    }
}
