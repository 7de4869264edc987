//! Requests to a gateway.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use penstock_testkit::client::{Answer, Client, RawClient};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::PATIENCE;

/// Where requests go.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gateway(pub(crate) SocketAddr);

impl Gateway {
    /// GET over a connection of its own.
    ///
    /// # Panics
    ///
    /// Without a whole answer.
    pub(crate) async fn get(self, host: &str, path: &str) -> Answer {
        let mut client = Client::http1(self.0).await;
        match timeout(PATIENCE, client.get(host, path)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => panic!("GET {host}{path}: {error}"),
            Err(_) => panic!("GET {host}{path}: no answer within {PATIENCE:?}"),
        }
    }

    /// The text of an answer that has to be 200.
    pub(crate) async fn text(self, host: &str, path: &str) -> String {
        let answer = self.get(host, path).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.text()
    }

    /// As many GETs at once, each over a connection of its own.
    pub(crate) async fn get_all(self, count: usize, host: &str, path: &str) -> Vec<Answer> {
        let mut asked = JoinSet::new();
        for _ in 0..count {
            let (host, path) = (host.to_owned(), path.to_owned());
            asked.spawn(async move { self.get(&host, &path).await });
        }
        asked.join_all().await
    }

    /// How many of `count` answers, one after the other over one connection, had which text.
    pub(crate) async fn tally(self, host: &str, count: usize) -> BTreeMap<String, usize> {
        let mut client = Client::http1(self.0).await;
        let mut tally = BTreeMap::new();
        for _ in 0..count {
            let answer = client.get(host, "/").await.unwrap();
            assert_eq!(answer.status, 200, "{}", answer.text());
            *tally.entry(answer.text()).or_default() += 1;
        }
        tally
    }

    /// A connection with a GET written to it, whose answer is still to be read.
    pub(crate) async fn ask(self, host: &str, path: &str) -> RawClient {
        let mut client = RawClient::connect(self.0).await;
        let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        client.send(request).await;
        client
    }
}

/// A steady load in the background: half of it over connections that are kept, half over one
/// connection for each request.
#[derive(Debug)]
pub(crate) struct Load {
    senders: JoinSet<Heard>,
    stop: watch::Sender<bool>,
}

/// What came back.
#[derive(Clone, Debug, Default)]
pub(crate) struct Heard {
    /// Answers with status 200, by their text.
    pub(crate) answers: BTreeMap<String, usize>,
    /// Everything else.
    pub(crate) failures: Vec<String>,
}

impl Load {
    /// Connections that ask, each in its own rhythm.
    const SENDERS: u32 = 16;

    /// Starts to ask `path` of `host` so often per second, if the machine is quick enough.
    pub(crate) fn start(gateway: Gateway, host: &str, path: &str, per_second: u32) -> Self {
        let (stop, stopped) = watch::channel(false);
        let every = Duration::from_secs(1) * Self::SENDERS / per_second;
        let target: Arc<(String, String)> = Arc::new((host.to_owned(), path.to_owned()));
        let mut senders = JoinSet::new();
        for sender in 0..Self::SENDERS {
            let (target, stopped) = (Arc::clone(&target), stopped.clone());
            senders.spawn(ask_on(gateway, target, every, sender % 2 == 0, stopped));
        }
        Self { senders, stop }
    }

    /// Ends the load; what was asked is still heard.
    pub(crate) async fn stop(self) -> Heard {
        self.stop.send_replace(true);
        let mut all = Heard::default();
        for heard in self.senders.join_all().await {
            all.failures.extend(heard.failures);
            for (text, count) in heard.answers {
                *all.answers.entry(text).or_default() += count;
            }
        }
        all
    }
}

async fn ask_on(
    gateway: Gateway,
    target: Arc<(String, String)>,
    every: Duration,
    keep: bool,
    mut stopped: watch::Receiver<bool>,
) -> Heard {
    let (host, path) = &*target;
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut heard = Heard::default();
    let mut kept = None;
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            _ = stopped.wait_for(|stopped| *stopped) => return heard,
        }
        let mut client = match kept.take() {
            Some(client) => client,
            None => Client::http1(gateway.0).await,
        };
        match timeout(PATIENCE, client.get(host, path)).await {
            Ok(Ok(answer)) if answer.status == 200 => {
                *heard.answers.entry(answer.text()).or_default() += 1;
            }
            Ok(Ok(answer)) => heard.failures.push(format!("{:?}", answer.brief())),
            Ok(Err(error)) => heard.failures.push(error.to_string()),
            Err(_) => heard.failures.push("no answer".to_owned()),
        }
        kept = keep.then_some(client);
    }
}
