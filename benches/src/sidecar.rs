//! The queue-proxy by itself, to compare one hop with a peer's one hop.

use std::net::SocketAddr;
use std::num::NonZeroUsize;

use penstock_queue_proxy::{Config, Metrics, QueueProxy};
use penstock_relay::workers::Workers;
use penstock_types::probe::Probe;
use penstock_types::{Slots, Timeouts};
use prometheus::Registry;

use crate::process::{Outcome, number_from};

/// Serves until it is killed.
pub(crate) fn run() -> Outcome {
    let at = |port| SocketAddr::from(([127, 0, 0, 1], port));
    let config = Config {
        user_addr: at(number_from("USER_PORT")?),
        slots: Slots::from_concurrency(100),
        timeouts: Timeouts::default(),
        readiness: Probe::tcp_default(),
    };
    let count: NonZeroUsize = number_from("WORKERS")?;
    let workers = Workers::start(count).map_err(|error| error.to_string())?;
    let metrics = Metrics::register(&Registry::new(), &[]).map_err(|error| error.to_string())?;
    let proxy = QueueProxy::bind(at(number_from("PORT")?), config).map_err(|e| e.to_string())?;
    let _running = proxy
        .start(&workers, metrics)
        .map_err(|error| error.to_string())?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    runtime.block_on(async {
        let _ = tokio::signal::ctrl_c().await;
    });
    Ok(())
}
