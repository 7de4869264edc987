//! What may change while the program runs, and is taken over then.

use std::sync::Arc;

use penstock_runtime::log::LiveFilter;
use penstock_runtime::request_log::RequestLog;
use tokio::sync::watch;

use super::{Material, Secured};
use crate::config::ConfigMaps;

/// The sources, and who is told.
#[derive(Debug)]
pub(super) struct Watched {
    pub(super) config: watch::Receiver<Arc<ConfigMaps>>,
    pub(super) level: Option<LiveFilter>,
    pub(super) log: Arc<RequestLog>,
    pub(super) secured: Option<(Secured, watch::Receiver<Arc<Material>>)>,
}

impl Watched {
    /// Takes over what changes, for as long as it is polled.
    pub(super) async fn follow(mut self) {
        loop {
            tokio::select! {
                Ok(()) = self.config.changed() => self.take_config(),
                () = renewed(&mut self.secured) => {}
            }
        }
    }

    /// The template of lines about requests from here on; a bad one is told, and the old one stays.
    pub(super) fn take_template(&self, template: &str) {
        if let Err(error) = self.log.replace(template) {
            tracing::error!(%error, "the lines about requests stay as they were");
        }
    }

    fn take_config(&mut self) {
        let maps = Arc::clone(&self.config.borrow_and_update());
        if let Some(level) = &self.level
            && let Ok(filter) = maps.logging().level.parse()
        {
            level.set(filter);
        }
        match maps.request_log_template() {
            Ok(template) => self.take_template(template),
            Err(bad) => tracing::error!(%bad, "the lines about requests stay as they were"),
        }
    }
}

/// Waits for new certificates, and shows them.
async fn renewed(secured: &mut Option<(Secured, watch::Receiver<Arc<Material>>)>) {
    if let Some((secured, material)) = secured
        && material.changed().await.is_ok()
    {
        secured.replace(&material.borrow_and_update());
    } else {
        std::future::pending().await
    }
}
