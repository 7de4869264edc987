//! Knative's own programs as far as ours talk to them: an autoscaler, an activator and
//! queue-proxies that follow a script, and take nothing but what Knative's take.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use penstock_types::stat::{Stat, WireStatMessage, WireStatMessages};
use prost::Message as _;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{interval, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::{WebSocketStream, accept_async, client_async};

use crate::harness::PATIENCE;

/// Longest head of a request that is read.
const HEAD: usize = 16 * 1024;

/// The statistics server of an autoscaler.
pub(super) struct Autoscaler {
    listener: TcpListener,
}

/// One connection to it.
pub(super) struct Told {
    socket: WebSocketStream<TcpStream>,
}

impl Autoscaler {
    pub(super) async fn at(addr: SocketAddr) -> Self {
        let listener = TcpListener::bind(addr).await.unwrap();
        Self { listener }
    }

    pub(super) fn addr(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    /// Takes the next connection that is made for statistics; of additions it knows nothing.
    pub(super) async fn take(&self) -> Told {
        let taking = async {
            loop {
                let (stream, _) = self.listener.accept().await.unwrap();
                // Others only look whether somebody listens.
                if let Ok(socket) = accept_async(stream).await {
                    return Told { socket };
                }
            }
        };
        timeout(PATIENCE, taking).await.expect("a connection")
    }
}

impl Told {
    /// What the next frame says, each message of which is one of Knative's and nothing more.
    pub(super) async fn next(&mut self) -> Vec<WireStatMessage> {
        loop {
            let next = timeout(PATIENCE, self.socket.next()).await;
            match next.expect("a frame").expect("a connection").unwrap() {
                Message::Binary(bytes) => {
                    let frame = WireStatMessages::decode(&bytes[..]).unwrap();
                    // What Knative's messages do not have is lost when they are written again.
                    assert_eq!(
                        frame.encode_to_vec(),
                        bytes,
                        "more than Knative's: {frame:?}"
                    );
                    return frame.messages;
                }
                Message::Ping(_) | Message::Pong(_) => {}
                other => panic!("an activator sends no {other:?}"),
            }
        }
    }

    /// The figures of the next message about a revision.
    pub(super) async fn next_of(&mut self, revision: &str) -> Stat {
        loop {
            let messages = self.next().await;
            let found = messages
                .into_iter()
                .find(|it| it.namespace == "default" && it.name == revision);
            if let Some(found) = found {
                return found.stat.expect("figures");
            }
        }
    }

    /// Ends the connection as an autoscaler does that restarts.
    pub(super) async fn restart(mut self) {
        let close = CloseFrame {
            code: 1012.into(),
            reason: "".into(),
        };
        self.socket.close(Some(close)).await.unwrap();
        while let Some(Ok(_)) = self.socket.next().await {}
    }
}

/// The reports of an activator about one revision, one in each second.
pub(super) struct Reports {
    load: watch::Sender<Option<(f64, f64)>>,
    _reporting: JoinSet<()>,
}

impl Reports {
    /// To the autoscaler at `addr`. Nothing is reported yet.
    pub(super) async fn to(addr: SocketAddr, pod: &str, revision: &str) -> Self {
        let stream = TcpStream::connect(addr).await.unwrap();
        let url = format!("ws://{addr}/");
        let (mut socket, _) = client_async(url, stream).await.unwrap();
        let (load, mut loads) = watch::channel(None);
        let (pod, revision) = (pod.to_owned(), revision.to_owned());
        let mut reporting = JoinSet::new();
        reporting.spawn(async move {
            let mut ticks = interval(Duration::from_secs(1));
            loop {
                // A first request is told at once.
                let told = tokio::select! {
                    changed = loads.changed() => {
                        if changed.is_err() {
                            return;
                        }
                        let now: Option<(f64, f64)> = *loads.borrow_and_update();
                        now.map(|_| (1.0, 1.0))
                    }
                    _ = ticks.tick() => *loads.borrow(),
                    // Pongs are answered.
                    Some(_) = socket.next() => None,
                };
                let Some((concurrency, requests)) = told else {
                    continue;
                };
                let frame = WireStatMessages {
                    messages: vec![WireStatMessage {
                        namespace: "default".to_owned(),
                        name: revision.clone(),
                        stat: Some(Stat {
                            pod_name: pod.clone(),
                            average_concurrent_requests: concurrency,
                            request_count: requests,
                            ..Stat::default()
                        }),
                    }],
                };
                let bytes = frame.encode_to_vec();
                socket.send(Message::binary(bytes)).await.unwrap();
            }
        });
        Self {
            load,
            _reporting: reporting,
        }
    }

    /// From now on so many requests are there on average, and so many come in each second; `None`
    /// when nothing is told any more.
    pub(super) fn say(&self, load: Option<(f64, f64)>) {
        self.load.send_replace(load);
    }
}

/// A server of HTTP/1.1 for requests without bodies, that answers by rote.
pub(super) struct Server {
    heads: mpsc::UnboundedReceiver<String>,
    _serving: JoinSet<()>,
}

/// An answer: status line, content type and body.
pub(super) type Rote = Arc<dyn Fn(&str) -> (&'static str, &'static str, Vec<u8>) + Send + Sync>;

impl Server {
    pub(super) async fn start(ip: IpAddr, port: u16, rote: Rote) -> Self {
        let listener = TcpListener::bind((ip, port)).await.unwrap();
        let (to, heads) = mpsc::unbounded_channel();
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(answer(stream, Arc::clone(&rote), to.clone()));
            }
        });
        Self {
            heads,
            _serving: serving,
        }
    }

    /// The next head that contains `text`, in lower case.
    pub(super) async fn until(&mut self, text: &str) -> String {
        let looking = async {
            loop {
                let head = self.heads.recv().await.expect("a server");
                if head.contains(text) {
                    return head;
                }
            }
        };
        let found = timeout(PATIENCE, looking).await;
        found.unwrap_or_else(|_| panic!("no request with {text}"))
    }
}

async fn answer(mut stream: TcpStream, rote: Rote, to: mpsc::UnboundedSender<String>) {
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") && head.len() < HEAD {
            match stream.read_u8().await {
                Ok(byte) => head.push(byte),
                Err(_) => return,
            }
        }
        let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
        let (status, content, body) = rote(&head);
        // The test may have ended.
        let _ = to.send(head);
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Type: {content}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let written = stream.write_all(&[head.as_bytes(), &body].concat()).await;
        if written.is_err() {
            return;
        }
    }
}

/// What an activator answers itself.
pub(super) fn activator() -> Rote {
    Arc::new(|head| match head.contains("k-network-probe: activator") {
        true => ("200 OK", "text/plain", b"activator".to_vec()),
        false => (
            "404 Not Found",
            "text/plain",
            b"no such revision\n".to_vec(),
        ),
    })
}

/// What a queue-proxy whose container is ready answers.
pub(super) fn queue_proxy() -> Rote {
    Arc::new(|head| {
        let probed = head.contains("k-network-probe: queue")
            && (head.contains("user-agent: knative-activator-probe")
                || head.contains("user-agent: kube-probe/"));
        match probed {
            true => ("200 OK", "text/plain", b"queue".to_vec()),
            false => ("200 OK", "text/plain", b"hello".to_vec()),
        }
    })
}
