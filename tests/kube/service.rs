//! Services as their clients see them: by their EndpointSlices, as kube-proxy does.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use penstock_testkit::client::Answer;
use penstock_testkit::kube::ApiServer;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use crate::harness::{Gateway, PATIENCE};

/// Longest head that is read.
const HEAD: usize = 16 * 1024;

/// Where a Service leads now: addresses of its ready endpoints, at its port for HTTP/1.
pub(super) fn endpoints(server: &ApiServer, namespace: &str, service: &str) -> Vec<SocketAddr> {
    let slices = server.list("EndpointSlice", namespace);
    let of_service = slices
        .iter()
        .filter(|slice| slice["metadata"]["labels"]["kubernetes.io/service-name"] == service);
    let mut all: Vec<SocketAddr> = of_service.flat_map(|slice| addresses(slice)).collect();
    all.sort();
    all.dedup();
    all
}

fn addresses(slice: &Value) -> Vec<SocketAddr> {
    let none = Vec::new();
    let list = |field: &str| slice[field].as_array().unwrap_or(&none).clone();
    let ports = list("ports");
    let named = ports.iter().find(|port| port["name"] == "http");
    let port = named.or(ports.first()).and_then(|it| it["port"].as_u64());
    let Some(port) = port.and_then(|port| u16::try_from(port).ok()) else {
        return Vec::new();
    };
    let ready = list("endpoints")
        .into_iter()
        .filter(|endpoint| endpoint["conditions"]["ready"] != false);
    ready
        .filter_map(|it| {
            let ip: IpAddr = it["addresses"][0].as_str()?.parse().ok()?;
            Some((ip, port).into())
        })
        .collect()
}

/// A Service as one of its clients.
#[derive(Clone)]
pub(super) struct Service {
    server: Arc<ApiServer>,
    namespace: String,
    name: String,
    next: Arc<AtomicUsize>,
}

impl Service {
    pub(super) fn of(server: &Arc<ApiServer>, namespace: &str, name: &str) -> Self {
        Self {
            server: Arc::clone(server),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            next: Arc::default(),
        }
    }

    /// Whom the next connection is for; in turn.
    pub(super) fn next(&self) -> Option<SocketAddr> {
        let all = endpoints(&self.server, &self.namespace, &self.name);
        let next = self.next.fetch_add(1, Ordering::Relaxed);
        all.get(next % all.len().max(1)).copied()
    }
}

/// Takes connections for Services, by the host that they ask for.
///
/// Of the emulated cluster the autoscaler reaches no Service otherwise: there is no DNS.
#[derive(Debug)]
pub(super) struct Proxy {
    addr: SocketAddr,
    _serving: JoinSet<()>,
}

impl Proxy {
    pub(super) async fn start(server: &Arc<ApiServer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let server = Arc::clone(server);
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let server = Arc::clone(&server);
                connections.spawn(async move {
                    // Whoever asks in vain hears nothing, as at a Service without endpoints.
                    let _ = pass(stream, server).await;
                });
            }
        });
        Self {
            addr,
            _serving: serving,
        }
    }

    pub(super) fn addr(&self) -> SocketAddr {
        self.addr
    }
}

async fn pass(mut client: TcpStream, server: Arc<ApiServer>) -> Option<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") && head.len() < HEAD {
        head.push(client.read_u8().await.ok()?);
    }
    let text = String::from_utf8(head).ok()?;
    let host = text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("host").then(|| value.trim())
    })?;
    let (name, rest) = host.split_once('.')?;
    let namespace = rest.split(['.', ':']).next()?;
    let addr = Service::of(&server, namespace, name).next()?;
    let mut endpoint = TcpStream::connect(addr).await.ok()?;
    endpoint.write_all(text.as_bytes()).await.ok()?;
    copy_bidirectional(&mut client, &mut endpoint).await.ok()?;
    Some(())
}

/// A steady load on a Service, each request over a connection of its own.
pub(super) struct Load {
    asking: tokio::task::JoinHandle<Heard>,
    stop: watch::Sender<bool>,
}

/// What came back.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// Answers with status 200.
    pub(super) answered: usize,
    /// Everything else, each in a word.
    pub(super) lost: Vec<String>,
}

impl Load {
    /// Asks so often per second, if the machine is quick enough.
    pub(super) fn start(service: Service, host: &str, per_second: u32) -> Self {
        let (stop, mut stopped) = watch::channel(false);
        let host = host.to_owned();
        let asking = tokio::spawn(async move {
            let mut ticks = interval(Duration::from_secs(1) / per_second);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let (mut heard, mut asked) = (Heard::default(), JoinSet::new());
            loop {
                tokio::select! {
                    _ = ticks.tick() => {
                        asked.spawn(ask(service.clone(), host.clone()));
                    }
                    Some(ended) = asked.join_next() => heard.take(ended.unwrap()),
                    _ = stopped.wait_for(|stopped| *stopped) => break,
                }
            }
            for ended in asked.join_all().await {
                heard.take(ended);
            }
            heard
        });
        Self { asking, stop }
    }

    /// Ends it; what was asked is still heard.
    pub(super) async fn stop(self) -> Heard {
        self.stop.send_replace(true);
        self.asking.await.unwrap()
    }
}

impl Heard {
    fn take(&mut self, one: Result<(), String>) {
        match one {
            Ok(()) => self.answered += 1,
            Err(why) => self.lost.push(why),
        }
    }

    /// Nothing is lost, and there was something to lose.
    pub(super) fn expect_all(&self) {
        assert!(self.answered > 0);
        let (lost, some) = (self.lost.len(), self.lost.iter().take(10));
        assert!(lost == 0, "{lost} lost: {:?}", some.collect::<Vec<_>>());
    }
}

async fn ask(service: Service, host: String) -> Result<(), String> {
    let addr = service.next().ok_or("no endpoint")?;
    let exchange = async {
        let mut stream = TcpStream::connect(addr).await?;
        let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        Ok::<_, std::io::Error>(String::from_utf8_lossy(&answer).into_owned())
    };
    match timeout(PATIENCE, exchange).await {
        Ok(Ok(answer)) if answer.starts_with("HTTP/1.1 200") => Ok(()),
        Ok(Ok(answer)) => Err(format!("{addr}: {answer:?}")),
        Ok(Err(error)) => Err(format!("{addr}: {error}")),
        Err(_) => Err(format!("{addr}: no answer")),
    }
}

/// The answer to a GET. One that finds its host unknown is asked again: activators hear of a new
/// workload by themselves, a moment before or after its Service leads to them.
pub(super) async fn get(gateway: Gateway, host: &str) -> Answer {
    let end = Instant::now() + PATIENCE;
    loop {
        let answer = gateway.get(host, "/").await;
        if answer.status != 404 || Instant::now() > end {
            return answer;
        }
        sleep(Duration::from_millis(10)).await;
    }
}

/// The endpoint of a Service that has only one, or the first of several.
pub(super) fn gateway(service: &Service) -> Gateway {
    Gateway(service.next().expect("an endpoint"))
}
