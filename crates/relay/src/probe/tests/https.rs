//! HTTPS probes: whom they trust, and where they lead.

use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{RootCertStore, ServerConfig};
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::probe::http::ask as ask_over_http;
use crate::probe::tls::{SYSTEM, Trust, trusting};
use crate::tls::provider;

/// A server that calls itself `name`, and somebody who trusts it.
async fn https_server(name: &str, answer: &str) -> (Server, Trust) {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(certificate.der().clone()).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let addr = listener.local_addr().unwrap();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let (seen, answer) = (Arc::clone(&asked), answer.to_owned());
    let mut serving = JoinSet::new();
    serving.spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let Ok(mut stream) = acceptor.accept(stream).await else {
                continue;
            };
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                request.push(stream.read_u8().await.unwrap());
            }
            seen.lock()
                .unwrap()
                .push(String::from_utf8(request).unwrap());
            let _ = stream.write_all(answer.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    });
    let server = Server {
        addr,
        asked,
        _serving: serving,
    };
    (server, Trust::from(trusting(roots).unwrap()))
}

fn over_tls() -> HttpGet {
    HttpGet {
        tls: true,
        ..get("/health")
    }
}

#[tokio::test]
async fn a_certificate_has_to_be_trusted_and_to_name_the_host() {
    let (server, trust) = https_server("127.0.0.1", &status("200 OK")).await;
    let (ip, port) = (server.addr.ip(), server.addr.port());
    ask_over_http(&over_tls(), ip, port, &trust).await.unwrap();
    assert_eq!(server.asked.lock().unwrap().len(), 1);
    // The system does not know who signed it.
    let failure = ask_over_http(&over_tls(), ip, port, &SYSTEM).await;
    assert!(matches!(failure, Err(Failure::Tls { .. })), "{failure:?}");
    let (other, trust) = https_server("other.example", &status("200 OK")).await;
    let failure = ask_over_http(&over_tls(), ip, other.addr.port(), &trust).await;
    assert!(matches!(failure, Err(Failure::Tls { .. })), "{failure:?}");
    assert_eq!(other.asked.lock().unwrap().len(), 0);
}

#[tokio::test]
async fn a_redirect_may_lead_to_tls_and_its_status_decides() {
    for (line, passes) in [("200 OK", true), ("500 No", false)] {
        let (secure, trust) = https_server("127.0.0.1", &status(line)).await;
        let plain = http_server(&[&moved(&format!("https://{}/x", secure.addr))]).await;
        let outcome = ask_over_http(&get("/"), plain.addr.ip(), plain.addr.port(), &trust).await;
        assert_eq!(outcome.is_ok(), passes, "{outcome:?}");
        let asked = secure.asked.lock().unwrap().clone();
        assert!(asked[0].starts_with("GET /x HTTP/1.1\r\n"), "{asked:?}");
    }
}

#[tokio::test]
async fn what_does_not_speak_tls_fails() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let addr = listener.local_addr().unwrap();
    let answer = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream
            .write_all(b"HTTP/1.0 400 Bad Request\r\n\r\n")
            .await
            .unwrap();
        stream
    };
    let check = Check::Http(over_tls());
    let (failure, _stream) = tokio::join!(ask(addr, &check), answer);
    assert!(matches!(failure, Err(Failure::Tls { .. })), "{failure:?}");
}
