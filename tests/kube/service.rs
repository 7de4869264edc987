//! Services as their clients see them: by their EndpointSlices, as kube-proxy does.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use penstock_testkit::client::{Answer, Client};
use penstock_testkit::kube::ApiServer;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
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

    /// All that it leads to.
    fn all(&self) -> Vec<SocketAddr> {
        endpoints(&self.server, &self.namespace, &self.name)
    }

    /// Whom the next connection is for; in turn.
    pub(super) fn next(&self) -> Option<SocketAddr> {
        let all = self.all();
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

/// The address of a Service: takes connections, and hands each on to the next endpoint.
#[derive(Debug)]
pub(super) struct VirtualIp {
    addr: SocketAddr,
    _serving: JoinSet<()>,
}

impl VirtualIp {
    pub(super) async fn start(service: Service) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((mut client, _)) = listener.accept().await {
                let next = service.next();
                connections.spawn(async move {
                    // Whoever asks in vain is told so by the end of the connection.
                    if let Some(addr) = next
                        && let Ok(mut endpoint) = TcpStream::connect(addr).await
                    {
                        let _ = copy_bidirectional(&mut client, &mut endpoint).await;
                    }
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

/// A steady load on a Service: half of the requests over connections of their own, half over kept
/// ones, which stay with whom they were made to, as behind kube-proxy.
pub(super) struct Load {
    asking: tokio::task::JoinHandle<Heard>,
    /// How many have been answered, well or not.
    ended: watch::Receiver<usize>,
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
    /// How late a node hears where a Service leads.
    const LATE: Duration = Duration::from_millis(200);
    /// Connections that are kept.
    const KEPT: usize = 16;

    /// Asks so often per second, if the machine is quick enough.
    pub(super) fn start(service: Service, host: &str, per_second: u32) -> Self {
        let (stop, mut stopped) = watch::channel(false);
        let (tell, ended) = watch::channel(0);
        let host: Arc<str> = host.into();
        let asking = tokio::spawn(async move {
            let mut ticks = interval(Duration::from_secs(1) / per_second);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let mut looks = interval(Self::LATE);
            let mut known = service.all();
            let (mut heard, mut asked) = (Heard::default(), JoinSet::new());
            let mut kept: VecDeque<Caller> = VecDeque::new();
            let mut number = 0;
            loop {
                tokio::select! {
                    _ = ticks.tick() => {
                        number += 1;
                        let addr = known.get(number / 2 % known.len().max(1)).copied();
                        let Some(addr) = addr else {
                            heard.lost.push("no endpoint".to_owned());
                            continue;
                        };
                        let caller = match number % 2 {
                            0 => kept.pop_front(),
                            _ => None,
                        };
                        asked.spawn(ask(caller, addr, Arc::clone(&host)));
                    }
                    _ = looks.tick() => known = service.all(),
                    Some(ended) = asked.join_next() => {
                        let caller = heard.take(ended);
                        tell.send_modify(|ended| *ended += 1);
                        kept.extend(caller.filter(|_| kept.len() < Self::KEPT));
                    }
                    _ = stopped.wait_for(|stopped| *stopped) => break,
                }
            }
            while let Some(ended) = asked.join_next().await {
                heard.take(ended);
            }
            heard
        });
        Self {
            asking,
            ended,
            stop,
        }
    }

    /// Until so many more have been answered.
    pub(super) async fn goes_on(&self, requests: usize) {
        let mut ended = self.ended.clone();
        let enough = *ended.borrow() + requests;
        // A load that ended by a panic says so when it is stopped.
        let _ = ended.wait_for(|ended| *ended >= enough).await;
    }

    /// Ends it; what was asked is still heard.
    pub(super) async fn stop(self) -> Heard {
        self.stop.send_replace(true);
        self.asking.await.unwrap()
    }
}

impl Heard {
    fn take(&mut self, ended: Result<Asked, JoinError>) -> Option<Caller> {
        match ended {
            Ok((Ok(()), caller)) => {
                self.answered += 1;
                caller
            }
            Ok((Err(why), _)) => {
                self.lost.push(why);
                None
            }
            // There was no connection to be had.
            Err(error) => {
                self.lost.push(error.to_string());
                None
            }
        }
    }

    /// Nothing is lost, and there was something to lose.
    pub(super) fn expect_all(&self) {
        assert!(self.answered > 0);
        let (lost, some) = (self.lost.len(), self.lost.iter().take(10));
        let all = lost + self.answered;
        let some: Vec<_> = some.collect();
        assert!(lost == 0, "{lost} of {all} lost: {some:?}");
    }
}

/// A connection, whom it leads to, and since when it rests.
type Caller = (SocketAddr, Client, Instant);

/// A connection that rested for so long may have been given up at the other end in this instant,
/// and whoever asks over it without an answer asks again, as every HTTP client does (RFC 9112, 9.3.1).
const RESTED: Duration = Duration::from_millis(900);

/// One exchange, over the connection of `caller` if there is one and it is still open, else over a
/// new one to `addr`. Returns the connection as well.
async fn ask(caller: Option<Caller>, addr: SocketAddr, host: Arc<str>) -> Asked {
    if let Some((addr, mut client, since)) = caller {
        let rested = since.elapsed() >= RESTED;
        match timeout(PATIENCE, client.get(&host, "/")).await {
            // It was closed before anything was sent.
            Ok(Err(error)) if error.is_canceled() || error.is_closed() => {}
            Ok(Err(error)) if error.is_incomplete_message() && rested => {}
            answer => return told(addr, client, answer),
        }
    }
    let mut client = Client::http1(addr).await;
    let answer = timeout(PATIENCE, client.get(&host, "/")).await;
    told(addr, client, answer)
}

type Asked = (Result<(), String>, Option<Caller>);

fn told<E: Debug, L>(
    addr: SocketAddr,
    client: Client,
    answer: Result<Result<Answer, E>, L>,
) -> Asked {
    let why = match answer {
        Ok(Ok(answer)) if answer.status == 200 => {
            return (Ok(()), Some((addr, client, Instant::now())));
        }
        Ok(Ok(answer)) => format!("{:?}", answer.brief()),
        Ok(Err(error)) => format!("{error:?}"),
        Err(_) => "no answer".to_owned(),
    };
    (Err(format!("{addr}: {why}")), None)
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
