//! Where the figures of requests go: to a page that Prometheus reads, to a collector, or nowhere, and
//! then nothing is counted.

use std::net::TcpListener;

use penstock_relay::listen::at;
use penstock_runtime::admin::{Admin, Page, Routes};
use penstock_runtime::metrics::{self, Gather};
#[cfg(feature = "otlp")]
use penstock_runtime::otlp;
use prometheus::Registry;
use tokio_util::sync::CancellationToken;

use super::StartError;
#[cfg(feature = "otlp")]
use crate::env::Push;
use crate::env::{Identity, Observability, Prometheus};
use crate::metrics::{Metrics, Names};
use crate::tls::Tls;

/// Where figures go.
#[derive(Debug, Default)]
pub(super) struct Figures {
    /// What counts them.
    pub(super) series: Metrics,
    /// Where they are read, if they are.
    pub(super) page: Option<(Admin, Gather)>,
    #[cfg(feature = "otlp")]
    push: Option<otlp::Push>,
}

impl Figures {
    /// As the environment asks for them. A listener that cannot be had, or a collector that cannot
    /// be one, is told in the log; `resource` is what they are of.
    pub(super) fn start(
        observability: &Observability,
        tls: &Tls,
        identity: &Identity,
        resource: &[(&str, &str)],
    ) -> Result<Self, StartError> {
        if let Some(prometheus) = &observability.prometheus {
            return match listener(prometheus) {
                Some(listener) => {
                    Self::scraped(listener, prometheus.names, tls, identity, resource)
                }
                None => Ok(Self::default()),
            };
        }
        #[cfg(feature = "otlp")]
        if let Some(Push::Otlp { wanted, interval }) = &observability.push {
            let gather = Gather::default();
            let opened = otlp::Push::open(&wanted.collector, gather.clone(), *interval, resource);
            return match opened {
                Ok(push) => {
                    let registry = Registry::new();
                    let series = Metrics::register(&registry, &[])?;
                    gather.add(registry);
                    Ok(Self {
                        series,
                        page: None,
                        push: Some(push),
                    })
                }
                Err(error) => {
                    tracing::error!(%error, "metrics are not pushed");
                    Ok(Self::default())
                }
            };
        }
        Ok(Self::default())
    }

    fn scraped(
        listener: TcpListener,
        names: Names,
        tls: &Tls,
        identity: &Identity,
        resource: &[(&str, &str)],
    ) -> Result<Self, StartError> {
        let registry = Registry::new();
        let series = series(&registry, names, identity)?;
        metrics::register_process(&registry)?;
        if names == Names::Current {
            metrics::register_target_info(&registry, resource)?;
        }
        let gather = Gather::default();
        gather.add(registry);
        let admin = tls.guard_metrics(Admin::on(listener)?);
        Ok(Self {
            series,
            page: Some((admin, gather)),
            #[cfg(feature = "otlp")]
            push: None,
        })
    }

    /// Pushes them until `stop`, and then a last time, if they are pushed.
    pub(super) async fn deliver(self, stop: CancellationToken) {
        #[cfg(feature = "otlp")]
        if let Some(push) = self.push {
            push.run(stop).await;
            return;
        }
        stop.cancelled().await;
    }
}

fn listener(prometheus: &Prometheus) -> Option<TcpListener> {
    let Prometheus { host, port, .. } = prometheus;
    match at(host, *port) {
        Ok(listener) => Some(listener),
        Err(error) => {
            tracing::error!(%error, "metrics cannot be scraped");
            None
        }
    }
}

fn series(registry: &Registry, names: Names, of: &Identity) -> prometheus::Result<Metrics> {
    let service = match of.service.as_str() {
        "" => "unknown",
        service => service,
    };
    let classic = [
        ("namespace_name", &*of.namespace),
        ("service_name", service),
        ("configuration_name", &*of.configuration),
        ("revision_name", &*of.revision),
        ("pod_name", &*of.pod),
    ];
    let constant = match names {
        Names::Current => &[][..],
        Names::Classic => &classic[..],
    };
    Metrics::register_as(registry, names, constant)
}

/// What Prometheus reads.
pub(super) fn routes(gather: Gather) -> Routes {
    Routes::default().page("/metrics", move || {
        Page::new(metrics::CONTENT_TYPE, gather.text())
    })
}
