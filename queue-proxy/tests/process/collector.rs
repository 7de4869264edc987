//! A collector that takes what is pushed, over HTTP/1.1 or gRPC, with TLS or without.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response};
use http_body_util::{BodyExt, Empty};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use prost::Message;
use rustls::ServerConfig;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_rustls::TlsAcceptor;

/// One message.
pub(crate) struct Taken {
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) message: Bytes,
}

/// What OTLP's messages tell of something, as far as it is looked at here.
#[derive(Message)]
pub(crate) struct Attributes {
    #[prost(message, repeated, tag = "1")]
    all: Vec<Attribute>,
}

#[derive(Message)]
pub(crate) struct Attribute {
    #[prost(string, tag = "1")]
    pub(crate) key: String,
    #[prost(message, optional, tag = "2")]
    value: Option<Value>,
}

#[derive(Message)]
struct Value {
    #[prost(string, tag = "1")]
    text: String,
    #[prost(int64, tag = "3")]
    number: i64,
}

impl Attributes {
    /// The text of that key, if it is told.
    pub(crate) fn text(&self, key: &str) -> Option<&str> {
        let found = self.all.iter().find(|one| one.key == key)?;
        Some(&found.value.as_ref()?.text)
    }
}

impl Attribute {
    pub(crate) fn number(&self) -> i64 {
        self.value.as_ref().unwrap().number
    }
}

pub(crate) struct Collector {
    pub(crate) addr: SocketAddr,
    taken: UnboundedReceiver<Taken>,
}

/// What one knows of its way in, and how it answers.
#[derive(Clone)]
struct Counter {
    grpc: bool,
    /// What is answered first: statuses of HTTP or of gRPC. Then all is well.
    answers: Arc<Mutex<Vec<u16>>>,
    taken: UnboundedSender<Taken>,
}

impl Collector {
    /// `protocol` is a word of the contract; `answers` are those to the first messages, the last
    /// one first; `pem` is a file with a certificate and one with its key.
    pub(crate) async fn start(
        protocol: &str,
        answers: impl Into<Vec<u16>>,
        pem: Option<(String, String)>,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (sender, taken) = unbounded_channel();
        let counter = Counter {
            grpc: protocol == "grpc",
            answers: Arc::new(Mutex::new(answers.into())),
            taken: sender,
        };
        let tls = pem.map(|(certificate, key)| acceptor(&certificate, &key, counter.grpc));
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let counter = counter.clone();
                match tls.clone() {
                    None => tokio::spawn(counter.serve(socket)),
                    Some(tls) => tokio::spawn(async move {
                        if let Ok(socket) = tls.accept(socket).await {
                            counter.serve(socket).await;
                        }
                    }),
                };
            }
        });
        Self { addr, taken }
    }

    pub(crate) async fn next(&mut self) -> Taken {
        self.taken.recv().await.unwrap()
    }

    /// What it has taken and nobody has looked at.
    pub(crate) fn rest(&mut self) -> Vec<Taken> {
        std::iter::from_fn(|| self.taken.try_recv().ok()).collect()
    }
}

impl Counter {
    async fn serve(self, socket: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        if self.grpc {
            self.serve_grpc(socket).await;
        } else {
            self.serve_http(socket).await;
        }
    }

    /// Takes a message, and says what is answered.
    fn take(&self, head: http::request::Parts, message: Bytes) -> Option<u16> {
        let taken = Taken {
            path: head.uri.path().to_owned(),
            headers: head.headers,
            message,
        };
        let _ = self.taken.send(taken);
        self.answers.lock().unwrap().pop()
    }

    async fn serve_http(self, socket: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let answer = service_fn(|request: http::Request<hyper::body::Incoming>| async {
            let (head, body) = request.into_parts();
            let body = body.collect().await?.to_bytes();
            let status = self.take(head, body).unwrap_or(200);
            let answer = Response::builder().status(status);
            Ok::<_, hyper::Error>(answer.body(Empty::<Bytes>::new()).unwrap())
        });
        let connection = hyper::server::conn::http1::Builder::new();
        let _ = connection
            .serve_connection(TokioIo::new(socket), answer)
            .await;
    }

    async fn serve_grpc(self, socket: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let mut connection = h2::server::handshake(socket).await.unwrap();
        while let Some(Ok((request, mut respond))) = connection.accept().await {
            let counter = self.clone();
            tokio::spawn(async move {
                let (head, mut body) = request.into_parts();
                let mut message = Vec::new();
                while let Some(part) = body.data().await {
                    let part = part.unwrap();
                    body.flow_control().release_capacity(part.len()).unwrap();
                    message.extend_from_slice(&part);
                }
                let (prefix, message) = message.split_at(5);
                let length = u32::try_from(message.len()).unwrap().to_be_bytes();
                assert_eq!(prefix, [&[0][..], &length].concat());
                let code = counter.take(head, Bytes::copy_from_slice(message));
                let mut status = HeaderMap::new();
                status.insert("grpc-status", code.unwrap_or(0).into());
                let mut answer = Response::new(());
                let grpc = HeaderValue::from_static("application/grpc");
                answer.headers_mut().insert("content-type", grpc);
                if code.is_some() {
                    // A refusal is a head alone.
                    answer.headers_mut().extend(status);
                    respond.send_response(answer, true).unwrap();
                    return;
                }
                let mut stream = respond.send_response(answer, false).unwrap();
                // One message, which is empty.
                stream
                    .send_data(Bytes::from_static(&[0; 5]), false)
                    .unwrap();
                stream.send_trailers(status).unwrap();
            });
        }
    }
}

fn acceptor(certificate: &str, key: &str, grpc: bool) -> TlsAcceptor {
    let certificate = CertificateDer::from_pem_file(certificate).unwrap();
    let key = PrivateKeyDer::from_pem_file(key).unwrap();
    let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let protocol = if grpc { "h2" } else { "http/1.1" };
    config.alpn_protocols = vec![protocol.into()];
    TlsAcceptor::from(Arc::new(config))
}
