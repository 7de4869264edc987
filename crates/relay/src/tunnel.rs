//! Connections that have changed protocol: bytes both ways until both sides are done.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf, split};
use tokio::time::{Instant, sleep_until};

use crate::body::Deadlines;
use crate::nearby::Wire;

/// As large as the peers' (spec/queue-proxy.md §3.9).
const BUFFER: usize = 32 * 1024;

/// Copies between `caller` and `upstream`, each with what was read of it already, until both have
/// ended, one broke, or a deadline passed. The end of one direction is passed on and leaves the
/// other open. Bytes in either direction restart the idle deadline.
pub(crate) async fn run(caller: (Wire, Bytes), upstream: (Wire, Bytes), deadlines: Deadlines) {
    let start = Instant::now();
    let last = AtomicU64::new(0);
    let mark = || {
        let millis = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
        last.store(millis, Ordering::Relaxed);
    };
    let (from_caller, to_caller) = split(caller.0);
    let (from_upstream, to_upstream) = split(upstream.0);
    let both = async {
        tokio::try_join!(
            copy(caller.1, from_caller, to_upstream, &mark),
            copy(upstream.1, from_upstream, to_caller, &mark),
        )
    };
    let over = async {
        let Deadlines { whole, idle, .. } = deadlines;
        let idle_at = || {
            let last = start + Duration::from_millis(last.load(Ordering::Relaxed));
            idle.map_or(whole, |idle| (last + idle).min(whole))
        };
        while Instant::now() < idle_at() {
            sleep_until(idle_at()).await;
        }
    };
    tokio::select! {
        copied = both => {
            if let Err(error) = copied {
                tracing::debug!(%error, "an upgraded connection broke");
            }
        }
        () = over => tracing::debug!("an upgraded connection reached its deadline"),
    }
}

/// Copies `first`, then all that comes, then says that nothing more will.
async fn copy(
    first: Bytes,
    mut from: ReadHalf<Wire>,
    mut to: WriteHalf<Wire>,
    mark: &impl Fn(),
) -> io::Result<()> {
    to.write_all(&first).await?;
    to.flush().await?;
    let mut buffer = Vec::with_capacity(BUFFER);
    while from.read_buf(&mut buffer).await? > 0 {
        mark();
        to.write_all(&buffer).await?;
        to.flush().await?;
        buffer.clear();
    }
    to.shutdown().await
}
