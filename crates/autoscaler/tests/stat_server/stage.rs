//! A loop behind a statistics server, and activators to speak to it.

use std::net::SocketAddr;
use std::sync::Arc;

use futures_util::{SinkExt, StreamExt};
use http::HeaderValue;
use http::header::HOST;
use penstock_autoscaler::{Autoscaler, Handle, Peers, PolicyKind, Serving, StatServer};
use penstock_cluster::{Leases, Revision};
use penstock_scaling::config::Config;
use penstock_testkit::cluster::{ScriptedCluster, revision};
use penstock_types::RevisionId;
use penstock_types::demand::Demand;
use penstock_types::header::{DEMAND_EXTENSION, DEMAND_EXTENSION_VERSION};
use penstock_types::wire::Frame;
use prometheus::Registry;
use prost::Message as _;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};
use tokio_util::sync::CancellationToken;

/// An autoscaler as a process of its own would be, on a free port.
pub(crate) struct Stage {
    pub(crate) addr: SocketAddr,
    pub(crate) handle: Handle,
    cluster: Arc<ScriptedCluster>,
    serving: Serving,
    stop: CancellationToken,
    running: JoinHandle<()>,
}

impl Stage {
    /// The only autoscaler there is.
    pub(crate) async fn start(revisions: impl IntoIterator<Item = Revision>) -> Self {
        let (_, leases) = watch::channel(Arc::new(Leases::alone()));
        Self::bind()
            .start(revisions, leases, Peers::default())
            .await
    }

    /// The only one, under this policy.
    pub(crate) async fn deciding(
        revisions: impl IntoIterator<Item = Revision>,
        policy: PolicyKind,
    ) -> Self {
        let (_, leases) = watch::channel(Arc::new(Leases::alone()));
        let bound = Self::bind();
        bound
            .deciding(revisions, leases, Peers::default(), policy)
            .await
    }

    /// Takes an address, so that others may be told of it before it serves.
    pub(crate) fn bind() -> Bound {
        Bound(StatServer::bind(([127, 0, 0, 1], 0).into()).unwrap())
    }

    /// The next wish for pods.
    pub(crate) async fn asked(&self) -> (RevisionId, u32) {
        self.cluster.next_scale().await
    }

    /// A wish that was made already.
    pub(crate) fn asked_now(&self) -> Option<(RevisionId, u32)> {
        self.cluster.scaled()
    }

    /// Connects as an activator does.
    pub(crate) async fn activator(&self, extended: bool) -> Activator {
        let host = "autoscaler.knative-serving.svc.cluster.local:8080";
        self.try_activator(host, extended).await.unwrap()
    }

    pub(crate) async fn try_activator(
        &self,
        host: &str,
        extended: bool,
    ) -> Result<Activator, Error> {
        connect(self.addr, host, extended).await
    }

    /// Ends everything.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.serving.ended().await;
        self.running.await.unwrap();
    }
}

/// Connects to the server at `addr`, by the name of `host`.
pub(crate) async fn connect(
    addr: SocketAddr,
    host: &str,
    extended: bool,
) -> Result<Activator, Error> {
    let stream = TcpStream::connect(addr).await.unwrap();
    let mut request = format!("ws://{addr}/").into_client_request()?;
    let headers = request.headers_mut();
    headers.insert(HOST, HeaderValue::from_str(host).unwrap());
    if extended {
        let version = HeaderValue::from_static(DEMAND_EXTENSION_VERSION);
        headers.insert(DEMAND_EXTENSION, version);
    }
    let (socket, answer) = client_async(request, stream).await?;
    let extended = answer.headers().contains_key(DEMAND_EXTENSION);
    Ok(Activator { socket, extended })
}

/// A server that listens and does not serve yet.
pub(crate) struct Bound(StatServer);

impl Bound {
    pub(crate) fn addr(&self) -> SocketAddr {
        self.0.addr()
    }

    pub(crate) async fn start(
        self,
        revisions: impl IntoIterator<Item = Revision>,
        leases: watch::Receiver<Arc<Leases>>,
        peers: Peers,
    ) -> Stage {
        self.deciding(revisions, leases, peers, PolicyKind::Demand)
            .await
    }

    async fn deciding(
        self,
        revisions: impl IntoIterator<Item = Revision>,
        leases: watch::Receiver<Arc<Leases>>,
        peers: Peers,
        policy: PolicyKind,
    ) -> Stage {
        let addr = self.addr();
        let cluster = ScriptedCluster::new(revisions);
        let config = Config {
            allow_zero_initial_scale: true,
            initial_scale: 0,
            ..Config::default()
        };
        let (_, configs) = watch::channel(Arc::new(config));
        let autoscaler =
            Autoscaler::new(Arc::clone(&cluster) as _, configs, policy, &Registry::new());
        let autoscaler = autoscaler.unwrap().with_leases(leases.clone());
        let stop = CancellationToken::new();
        let handle = autoscaler.handle();
        let (serving, _, batches) = self.0.start(leases, peers, stop.clone());
        let running = tokio::spawn(autoscaler.run(batches, stop.clone()));
        Stage {
            addr,
            handle,
            cluster,
            serving,
            stop,
            running,
        }
    }
}

/// A caller of the server.
pub(crate) struct Activator {
    socket: WebSocketStream<TcpStream>,
    pub(crate) extended: bool,
}

impl Activator {
    /// Sends one frame.
    pub(crate) async fn say(&mut self, reports: &[Demand]) {
        let frame = Frame::of(reports, "activator-1", self.extended);
        self.send(Message::binary(frame.encode_to_vec())).await;
    }

    pub(crate) async fn send(&mut self, message: Message) {
        self.try_send(message).await.unwrap();
    }

    pub(crate) async fn try_send(&mut self, message: Message) -> Result<(), Error> {
        self.socket.send(message).await
    }

    pub(crate) async fn next(&mut self) -> Option<Result<Message, Error>> {
        self.socket.next().await
    }

    /// Closes, and waits until the server has noticed.
    pub(crate) async fn leave(mut self) {
        self.socket.close(None).await.unwrap();
        while let Some(Ok(_)) = self.socket.next().await {}
    }
}

/// A revision with ten slots a pod, and none yet.
pub(crate) fn one_revision(name: &str) -> Revision {
    revision(name).concurrency(10).build()
}

pub(crate) fn hello() -> RevisionId {
    RevisionId::new("default", "hello-00001")
}

/// A first word about a revision at which so many wait.
pub(crate) fn word(name: &str, average: f64, waiting: u32) -> Demand {
    Demand {
        revision: RevisionId::new("default", name),
        average_concurrency: average,
        average_proxied_concurrency: 0.0,
        request_count: average,
        proxied_request_count: 0.0,
        waiting,
        in_flight: 0,
        first: true,
    }
}
