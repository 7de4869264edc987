//! What the loop hears, and from whom.

use std::sync::Arc;

use penstock_types::RevisionId;
use penstock_types::demand::Demand;
use penstock_types::request_stats::Report;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

/// One source: a connection of the statistics server, or one of the two below.
pub(crate) type Connection = u64;
/// The activator of this very process.
pub(crate) const LOCAL: Connection = 0;
/// The pods themselves, asked by the scraper.
pub(crate) const PODS: Connection = 1;

/// What was kept for a bucket until it came to be held here: no table speaks for it.
pub(crate) fn kept(bucket: usize) -> Connection {
    Connection::MAX - bucket as u64
}

/// What is said at once.
#[derive(Debug)]
pub struct Batch {
    pub(crate) heard: Heard,
    /// When it came in.
    pub(crate) received: Instant,
}

impl Batch {
    /// It came in just now.
    pub(crate) fn new(heard: Heard) -> Self {
        Self {
            heard,
            received: Instant::now(),
        }
    }
}

#[derive(Debug)]
pub(crate) enum Heard {
    /// By activators.
    Words(Words),
    /// The connection has ended. What was said over it is not taken back: its sender may speak
    /// again over another one.
    Ended(Connection),
    /// A scrape of a revision's pods; `None` where there is no pod to ask.
    Scraped(RevisionId, Option<Report>),
}

#[derive(Debug)]
pub(crate) struct Words {
    pub(crate) connection: Connection,
    /// It is all there is: a revision that is not in it has no requests at that source.
    pub(crate) whole: bool,
    pub(crate) words: Vec<Word>,
    /// Frees the memory's share of the queue.
    pub(crate) _room: Option<OwnedSemaphorePermit>,
}

/// What is said of one revision.
#[derive(Clone, Debug)]
pub(crate) struct Word {
    pub(crate) demand: Demand,
    /// Who counted; empty for [`LOCAL`].
    pub(crate) pod: Arc<str>,
    /// When, in seconds since the unix epoch; `None` is now.
    pub(crate) at: Option<u64>,
    /// Whether the numbers of now (waiting, in flight) are known.
    pub(crate) present: bool,
}

impl From<Vec<Demand>> for Batch {
    /// What the activator of this process says: its whole table (once a second, also when it is
    /// empty), or the first words of revisions that it did not track.
    fn from(reports: Vec<Demand>) -> Self {
        let pod: Arc<str> = "".into();
        Self::new(Heard::Words(Words {
            connection: LOCAL,
            whole: reports.is_empty() || reports.iter().any(|report| !report.first),
            words: reports
                .into_iter()
                .map(|demand| Word {
                    demand,
                    pod: Arc::clone(&pod),
                    at: None,
                    present: true,
                })
                .collect(),
            _room: None,
        }))
    }
}
