//! An activator over a cluster whose pods are told it by a control connection, line by line.
//!
//! | said to it | |
//! |---|---|
//! | `pods N PORT...` | revision N has these pods, all ready |
//! | `load N` | is answered |
//!
//! | said by it | |
//! |---|---|
//! | `load WAITING IN_FLIGHT` | the answer |
//! | `asked N` | demand for revision N was reported, for the first time |

use std::collections::HashSet;
use std::net::Ipv4Addr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Instant;

use penstock_activator::{Activator, Handle, Metrics, Options};
use penstock_cluster::{Cluster, Phase, Pod, Revision};
use penstock_relay::workers::Workers;
use penstock_types::demand::Demand;
use penstock_types::{RevisionId, Slots};
use prometheus::Registry;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tokio::sync::mpsc;

use crate::autoscaler::stage::{Still, name, revision};
use crate::process::{Outcome, allow_many_files, number_from};

/// Serves until it is killed, as the variables say.
pub(crate) fn run() -> Outcome {
    allow_many_files();
    let failed = |error: &dyn std::fmt::Display| error.to_string();
    let (port, control): (u16, u16) = (number_from("STAGE_PORT")?, number_from("STAGE_CONTROL")?);
    let (revisions, slots): (u32, u32) =
        (number_from("STAGE_REVISIONS")?, number_from("STAGE_SLOTS")?);
    let waiting: usize = number_from("STAGE_WAITING")?;
    let workers: NonZeroUsize = number_from("STAGE_WORKERS")?;
    let runtime = Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| failed(&error))?.block_on(async {
        let (still, _asked) = Still::new((0..revisions).map(|n| Revision {
            slots: Slots::from_concurrency(slots),
            ..revision(&name(n), 0)
        }));
        let still = Arc::new(still);
        let cluster: Arc<dyn Cluster> = still.clone();
        let activator = Activator::bind((Ipv4Addr::LOCALHOST, port).into());
        let activator = activator.map_err(|error| failed(&error))?;
        let metrics = Metrics::register(&Registry::new()).map_err(|error| failed(&error))?;
        let options = Options {
            waiting,
            // As much as those may hold who are to wait.
            waiting_bytes: 1 << 30,
            ..Options::default()
        };
        let workers = Workers::start(workers).map_err(|error| failed(&error))?;
        let (reports, reported) = mpsc::channel(1000);
        let running = activator.start(&workers, &cluster, reports, metrics, options);
        let running = running.map_err(|error| failed(&error))?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, control)).await;
        let listener = listener.map_err(|error| failed(&error))?;
        let (stream, _) = listener.accept().await.map_err(|error| failed(&error))?;
        follow(stream, &still, &running.handle(), reported).await
    })
}

/// Does as it is told, to the end of the connection.
async fn follow(
    stream: TcpStream,
    still: &Still,
    handle: &Handle,
    mut reported: mpsc::Receiver<Vec<Demand>>,
) -> Outcome {
    let failed = |error: std::io::Error| format!("the control connection: {error}");
    stream.set_nodelay(true).map_err(failed)?;
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read).lines();
    let mut known = HashSet::new();
    loop {
        let mut said = String::new();
        tokio::select! {
            line = lines.next_line() => match line.map_err(failed)? {
                Some(line) => said.extend(obey(&line, still, handle)),
                None => return Ok(()),
            },
            Some(batch) = reported.recv() => {
                for report in batch {
                    if known.insert(report.revision.clone()) {
                        said.push_str(&format!("asked {}\n", number(&report.revision)));
                    }
                }
            }
        }
        write.write_all(said.as_bytes()).await.map_err(failed)?;
    }
}

fn obey(line: &str, still: &Still, handle: &Handle) -> Option<String> {
    let mut words = line.split_whitespace();
    let (word, n) = (words.next()?, words.next()?.parse().ok()?);
    let id = RevisionId::new("default", name(n));
    if word == "pods" {
        let now = Instant::now();
        let pods = words.filter_map(|port| port.parse::<u16>().ok());
        let pods = pods.map(|port| Pod {
            name: format!("pod-{port}").into(),
            addr: (Ipv4Addr::LOCALHOST, port).into(),
            phase: Phase::Ready,
            asked: now,
            started: Some(now),
            ready: Some(now),
        });
        still.place(&id, pods.collect());
        return None;
    }
    let load = handle.revisions();
    let load = load.into_iter().find(|load| load.revision == id)?;
    Some(format!("load {} {}\n", load.waiting, load.in_flight))
}

/// The number in a name.
fn number(id: &RevisionId) -> &str {
    id.name().split('-').nth(1).unwrap_or_default()
}
