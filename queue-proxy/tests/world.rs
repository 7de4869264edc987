//! A queue-proxy for a test, and a container of which the test writes every byte.

use std::net::{Ipv4Addr, SocketAddr};
use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::Once;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use penstock_queue_proxy::{Choices, Config, Metrics, Probes, QueueProxy, Running};
use penstock_relay::workers::Workers;
use penstock_runtime::drain::Drained;
use penstock_runtime::metrics::Gather;
use penstock_testkit::client::Client;
use penstock_testkit::workload::Workload;
use penstock_types::probe::Probe;
use penstock_types::stat::Stat;
use penstock_types::{Slots, Timeouts};
use prometheus::Registry;
use prost::Message as _;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A limit that no test reaches.
pub(crate) const NEVER: Duration = Duration::from_secs(3600);
/// A limit that is to pass, and may at any moment.
pub(crate) const SOON: Duration = Duration::from_millis(150);
/// A limit that is to pass, but only after something else has happened.
pub(crate) const LATER: Duration = Duration::from_millis(1500);

/// A request without a body.
pub(crate) const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
/// An answer with one.
pub(crate) const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// What a queue-proxy is made of.
pub(crate) struct Make {
    config: Config,
    choices: Choices,
    workers: usize,
    measured: bool,
}

pub(crate) fn before(user_addr: SocketAddr) -> Make {
    Make {
        config: Config {
            user_addr,
            slots: Slots::Unlimited,
            timeouts: Timeouts {
                whole: NEVER,
                response_start: None,
                idle: None,
            },
            readiness: Probe::tcp_default().into(),
        },
        choices: Choices::default(),
        workers: 1,
        measured: true,
    }
}

impl Make {
    pub(crate) fn slots(mut self, slots: u32) -> Self {
        self.config.slots = NonZeroU32::new(slots).map_or(Slots::Unlimited, Slots::Limited);
        self
    }

    pub(crate) fn whole(mut self, limit: Duration) -> Self {
        self.config.timeouts.whole = limit;
        self
    }

    pub(crate) fn response_start(mut self, limit: Duration) -> Self {
        self.config.timeouts.response_start = Some(limit);
        self
    }

    pub(crate) fn idle(mut self, limit: Duration) -> Self {
        self.config.timeouts.idle = Some(limit);
        self
    }

    pub(crate) fn readiness(mut self, probes: impl Into<Probes>) -> Self {
        self.config.readiness = probes.into();
        self
    }

    pub(crate) fn choices(mut self, choices: Choices) -> Self {
        self.choices = choices;
        self
    }

    pub(crate) fn workers(mut self, workers: usize) -> Self {
        self.workers = workers;
        self
    }

    /// Without metrics.
    pub(crate) fn unmeasured(mut self) -> Self {
        self.measured = false;
        self
    }

    pub(crate) fn start(self) -> Proxy {
        notice_panics();
        let workers = Workers::start(NonZeroUsize::new(self.workers).unwrap()).unwrap();
        let registry = Registry::new();
        let metrics = match self.measured {
            true => Metrics::register(&registry, &[]).unwrap(),
            false => Metrics::none(),
        };
        let bound = QueueProxy::bind((Ipv4Addr::LOCALHOST, 0).into(), self.config).unwrap();
        let running = bound.with(self.choices).start(&workers, metrics).unwrap();
        Proxy {
            running,
            registry,
            _workers: workers,
        }
    }
}

/// A queue-proxy that serves.
pub(crate) struct Proxy {
    pub(crate) running: Running,
    registry: Registry,
    _workers: Workers,
}

impl Proxy {
    pub(crate) fn addr(&self) -> SocketAddr {
        self.running.addr()
    }

    /// What a scrape shows.
    pub(crate) fn scrape(&self) -> String {
        let gather = Gather::default();
        gather.add(self.registry.clone());
        gather.text()
    }

    /// The value of the one series whose line has all of these in it; 0 if there is none.
    pub(crate) fn value(&self, name: &str, labels: &[&str]) -> f64 {
        let text = self.scrape();
        let mut lines = text.lines().filter(|line| {
            line.strip_prefix(name)
                .is_some_and(|rest| rest.starts_with(['{', ' ']))
                && labels.iter().all(|label| line.contains(label))
        });
        let value = lines
            .next()
            .and_then(|line| line.rsplit(' ').next())
            .map_or(0.0, |value| value.parse().unwrap());
        assert_eq!(lines.next(), None, "more than one {name} with {labels:?}");
        value
    }

    /// Waits until a series has a value: it is counted after the last byte, which the caller may
    /// have by then.
    pub(crate) async fn until_value(&self, name: &str, labels: &[&str], value: f64) {
        while (self.value(name, labels) - value).abs() > f64::EPSILON {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Waits until a report says that for a whole second no request was inside or in line.
    pub(crate) async fn until_nobody_is_counted(&self) {
        let nobody = async {
            loop {
                tokio::time::sleep(SOON).await;
                let stat = Stat::decode(self.running.stat()).unwrap();
                if stat.process_uptime > 0.0 && stat.average_concurrent_requests == 0.0 {
                    return;
                }
            }
        };
        tokio::select! {
            () = self.running.report_each_second() => unreachable!("it reports for ever"),
            () = nobody => {}
        }
    }

    /// Shows that others are served, so no slot is lost, and ends it; nothing may be left.
    pub(crate) async fn serves_others_and_ends(self, _workload: Workload) {
        let mut other = Client::http1(self.addr()).await;
        assert_eq!(other.get("a", "/status/200").await.unwrap().status, 200);
        drop(other);
        self.until_nobody_is_counted().await;
        self.end().await;
    }

    /// Ends it without a quiet time; nothing may be left.
    pub(crate) async fn end(self) {
        assert_eq!(
            self.running.drain(Duration::ZERO, NEVER).await,
            Drained::Clean
        );
        assert_eq!(PANICS.load(Ordering::Relaxed), 0, "a worker panicked");
    }
}

/// How often a worker has panicked. The runtime catches that, and nobody else would notice.
static PANICS: AtomicUsize = AtomicUsize::new(0);

fn notice_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let tell = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let thread = std::thread::current();
            if thread
                .name()
                .is_some_and(|name| name.starts_with("worker-"))
            {
                PANICS.fetch_add(1, Ordering::Relaxed);
            }
            tell(panic);
        }));
    });
}

/// A container that accepts connections, of which the test reads and writes every byte.
pub(crate) struct Container {
    listener: TcpListener,
}

impl Container {
    pub(crate) async fn listen() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        Self { listener }
    }

    /// At an address that is free again.
    pub(crate) async fn listen_at(addr: SocketAddr) -> Self {
        let listener = TcpListener::bind(addr).await.unwrap();
        Self { listener }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    /// The next connection.
    pub(crate) async fn accept(&self) -> Wire {
        let (socket, _) = self.listener.accept().await.unwrap();
        socket.set_nodelay(true).unwrap();
        Wire {
            socket,
            unread: Vec::new(),
        }
    }
}

/// An address at which nobody listens.
pub(crate) async fn nobody() -> SocketAddr {
    Container::listen().await.addr()
}

/// One connection to the container.
pub(crate) struct Wire {
    socket: TcpStream,
    unread: Vec<u8>,
}

impl Wire {
    pub(crate) async fn write(&mut self, bytes: impl AsRef<[u8]>) {
        self.socket.write_all(bytes.as_ref()).await.unwrap();
    }

    /// Up to and with `end`, as text.
    pub(crate) async fn read_until(&mut self, end: &str) -> String {
        loop {
            let found = self
                .unread
                .windows(end.len())
                .position(|at| at == end.as_bytes());
            if let Some(at) = found {
                let rest = self.unread.split_off(at + end.len());
                let found = std::mem::replace(&mut self.unread, rest);
                return String::from_utf8(found).unwrap();
            }
            let read = self.socket.read_buf(&mut self.unread).await.unwrap();
            let so_far = String::from_utf8_lossy(&self.unread);
            assert!(read > 0, "closed after {so_far:?}, before {end:?}");
        }
    }

    /// The next head, and nothing after it.
    pub(crate) async fn head(&mut self) -> String {
        self.read_until("\r\n\r\n").await
    }

    /// As many of these bytes as the other side takes, now or once it is not busy elsewhere.
    pub(crate) async fn write_what_is_taken(&mut self, bytes: &str) -> usize {
        let mut taken = 0;
        while taken < bytes.len() {
            let write = self.socket.write(&bytes.as_bytes()[taken..]);
            match tokio::time::timeout(SOON, write).await {
                Ok(Ok(more)) => taken += more,
                Ok(Err(_)) | Err(_) => break,
            }
        }
        taken
    }

    /// Whether another head comes before the other side closes.
    pub(crate) async fn try_head(&mut self) -> bool {
        while !self.unread.windows(4).any(|at| at == b"\r\n\r\n") {
            if !matches!(self.socket.read_buf(&mut self.unread).await, Ok(1..)) {
                return false;
            }
        }
        self.head().await;
        true
    }

    /// Ends it as a process that dies does.
    pub(crate) fn reset(self) {
        self.socket.set_zero_linger().unwrap();
    }

    /// Waits until the other side closes or resets; the bytes until then.
    pub(crate) async fn read_to_close(&mut self) -> Vec<u8> {
        while matches!(self.socket.read_buf(&mut self.unread).await, Ok(1..)) {}
        std::mem::take(&mut self.unread)
    }

    /// Says that nothing more comes.
    pub(crate) async fn end(&mut self) {
        self.socket.shutdown().await.unwrap();
    }
}

/// Whether a head has a header line, whatever the case of its name.
pub(crate) fn has_line(head: &str, line: &str) -> bool {
    head.lines().any(|other| other.eq_ignore_ascii_case(line))
}
