//! The admin listener, on a thread of its own: to write down the figures of a hundred revisions
//! takes longer than to start a program.

use std::io;
use std::thread;

use penstock_runtime::admin::{Admin, Routes};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

/// The admin listener while it serves.
#[derive(Debug)]
pub(crate) struct Pages {
    stop: CancellationToken,
    ended: oneshot::Receiver<()>,
}

impl Pages {
    /// Serves `routes` on `runtime`, which `admin` was bound in.
    ///
    /// # Errors
    ///
    /// The system has no thread left.
    pub(crate) fn start(admin: Admin, routes: Routes, runtime: Runtime) -> io::Result<Self> {
        let stop = CancellationToken::new();
        let (end, ended) = oneshot::channel();
        let stopped = stop.clone();
        thread::Builder::new()
            .name("admin".to_owned())
            .spawn(move || {
                runtime.block_on(admin.run(routes, stopped));
                let _ = end.send(());
            })?;
        Ok(Self { stop, ended })
    }

    /// Answers what is open, and ends.
    pub(crate) async fn end(self) {
        self.stop.cancel();
        if self.ended.await.is_err() {
            tracing::error!("the admin listener had died");
        }
    }
}
