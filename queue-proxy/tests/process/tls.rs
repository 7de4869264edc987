//! Listeners with TLS, and certificates that cannot be used.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use penstock_testkit::client::RawClient;
use penstock_testkit::workload::Workload;
use rcgen::{CertificateParams, KeyPair};
use rustix::process::Signal;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::world::{self, Make, before};

const PROMETHEUS: &str = r#"{"requestMetrics":{"protocol":"prometheus"}}"#;
const LOADED: &str = "Certificate and/or key have changed on disk and were reloaded.";

/// A folder with a certificate for `localhost` and its key, gone with the value.
pub(crate) struct Folder {
    path: PathBuf,
    certificate: CertificateDer<'static>,
}

impl Folder {
    pub(crate) fn new(test: &str) -> Self {
        let name = format!("penstock-queue-proxy-{}-{test}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        let certificate = renew(&path);
        Self { path, certificate }
    }

    pub(crate) fn text(&self, name: &str) -> String {
        self.path.join(name).to_str().unwrap().to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

/// Writes a new pair of files.
fn renew(path: &std::path::Path) -> CertificateDer<'static> {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap();
    std::fs::write(path.join("tls.crt"), certificate.pem()).unwrap();
    std::fs::write(path.join("tls.key"), key.serialize_pem()).unwrap();
    certificate.der().clone()
}

/// Asks over TLS; an error if `trusted` is not what is shown there.
async fn get(
    addr: SocketAddr,
    path: &str,
    trusted: &CertificateDer<'static>,
) -> std::io::Result<String> {
    let mut stream = shake_hands(addr, trusted).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

fn with_metrics(make: Make, folder: &Folder) -> Make {
    make.with("OBSERVABILITY_CONFIG", PROMETHEUS)
        .with("PENSTOCK_METRICS_PORT", "0")
        .with("METRICS_PROMETHEUS_TLS_CERT", &folder.text("tls.crt"))
        .with("METRICS_PROMETHEUS_TLS_KEY", &folder.text("tls.key"))
}

#[tokio::test]
async fn metrics_are_scraped_over_tls_where_a_certificate_is_given() {
    let (workload, folder) = (Workload::start().await, Folder::new("metrics"));
    let program = with_metrics(before(workload.addr()), &folder).start().await;
    assert_eq!(program.before[0]["message"], LOADED);
    let addr = program.at("metrics");
    let answer = get(addr, "/metrics", &folder.certificate).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(
        answer.contains("process_resident_memory_bytes "),
        "{answer}"
    );
    let mut plain = TcpStream::connect(addr).await.unwrap();
    plain
        .write_all(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    let mut answer = String::new();
    plain.read_to_string(&mut answer).await.unwrap();
    assert!(
        answer.starts_with("HTTP/1.0 400 Bad Request\r\n"),
        "{answer}"
    );
}

fn mounted(make: Make, folder: &Folder) -> Make {
    make.with("PENSTOCK_TLS_DIR", &folder.path.to_string_lossy())
}

#[tokio::test]
async fn requests_and_probes_are_taken_over_tls_where_certificates_are_mounted() {
    let (workload, folder) = (Workload::start().await, Folder::new("mounted"));
    let make = mounted(before(workload.addr()), &folder);
    let program = make.with("OBSERVABILITY_CONFIG", PROMETHEUS);
    let program = program.with("PENSTOCK_METRICS_PORT", "0").start().await;
    let loaded = program
        .before
        .iter()
        .filter(|line| line["message"] == LOADED);
    assert_eq!(loaded.count(), 1);
    let addr = program.at("tls");
    let answer = get(addr, "/status/204", &folder.certificate).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 204 "), "{answer}");
    // The port without TLS stays open.
    assert_eq!(world::get(program.at("main"), "/status/204").await.0, 204);
    let (_, page) = world::get(program.at("metrics"), "/metrics").await;
    for scheme in ["http", "https"] {
        let of_scheme = |line: &&str| line.contains(&format!("url_scheme=\"{scheme}\""));
        let mut lines = page.lines().filter(of_scheme);
        let series = "http_server_request_duration_seconds_count{";
        let line = lines.find(|line| line.starts_with(series));
        assert!(
            line.is_some_and(|line| line.ends_with(" 1")),
            "{scheme}: {page}"
        );
    }
}

#[tokio::test]
async fn the_listener_with_tls_is_closed_once_no_request_is_left_at_the_one_without() {
    let (workload, folder) = (Workload::start().await, Folder::new("order"));
    let make = mounted(before(workload.addr()), &folder);
    let program = make.quiet(Duration::ZERO).start().await;
    let (plain, secured) = (program.at("main"), program.at("tls"));
    let mut client = RawClient::connect(plain).await;
    client.send("GET /hold HTTP/1.1\r\nHost: a\r\n\r\n").await;
    workload.until_inside(1).await;
    program.signal(Signal::TERM);
    while TcpStream::connect(plain).await.is_ok() {}
    let trusted = &folder.certificate;
    let answer = get(secured, "/status/200", trusted).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    workload.release(1);
    assert_eq!(client.read_response().await.head.status, 200);
    while TcpStream::connect(secured).await.is_ok() {}
    assert_eq!(program.ended().await.0, 0);
}

#[tokio::test]
async fn case_125_a_line_of_the_request_log_tells_of_tls() {
    let (workload, folder) = (Workload::start().await, Folder::new("logged"));
    let template = r#"{"enableRequestLog":true,"requestLogTemplate":"TLS: {{.Request.TLS}}"}"#;
    let make = mounted(before(workload.addr()), &folder);
    let mut program = make.with("OBSERVABILITY_CONFIG", template).start().await;
    get(program.at("tls"), "/status/200", &folder.certificate)
        .await
        .unwrap();
    world::get(program.at("main"), "/status/200").await;
    let mut lines = BufReader::new(program.output()).lines();
    let secure = lines.next_line().await.unwrap().unwrap();
    assert!(secure.starts_with("TLS: {"), "{secure}");
    assert_eq!(lines.next_line().await.unwrap().unwrap(), "TLS: <nil>");
}

#[tokio::test]
async fn spans_tell_of_tls() {
    let (workload, folder) = (Workload::start().await, Folder::new("traced"));
    let config = r#"{"tracing":{"protocol":"stdout"}}"#;
    let make = mounted(before(workload.addr()), &folder);
    let mut program = make.with("OBSERVABILITY_CONFIG", config).start().await;
    get(program.at("tls"), "/status/200", &folder.certificate)
        .await
        .unwrap();
    let mut lines = BufReader::new(program.output()).lines();
    let server = lines.next_line().await.unwrap().unwrap();
    let scheme = r#"{"Key":"url.scheme","Value":{"Type":"STRING","Value":"https"}}"#;
    assert!(server.contains(scheme), "{server}");
}

#[tokio::test]
async fn case_134_a_new_certificate_is_shown_without_a_restart() {
    let (workload, folder) = (Workload::start().await, Folder::new("renewed"));
    let make = mounted(before(workload.addr()), &folder);
    let mut program = make.with("PENSTOCK_TLS_POLL_MS", "5").start().await;
    let renewed = renew(&folder.path);
    program.until_logged(LOADED).await;
    let addr = program.at("tls");
    let answer = get(addr, "/status/200", &renewed).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    get(addr, "/status/200", &folder.certificate)
        .await
        .unwrap_err();
}

#[tokio::test]
async fn case_135_without_one_of_the_files_there_is_no_tls() {
    let (workload, folder) = (Workload::start().await, Folder::new("half"));
    std::fs::remove_file(folder.path.join("tls.key")).unwrap();
    let make = mounted(before(workload.addr()), &folder);
    // Nor is anything of it read.
    let program = make
        .with("QUEUE_PROXY_TLS_MIN_VERSION", "1.1")
        .start()
        .await;
    assert!(program.serving["tls"].is_null(), "{}", program.serving);
}

#[tokio::test]
async fn case_135_a_curve_that_is_not_spoken_is_told_and_one_that_is_none_ends_it() {
    let (workload, folder) = (Workload::start().await, Folder::new("curves"));
    let make = mounted(before(workload.addr()), &folder);
    let with = |curves: &str| {
        let make = make.clone();
        make.with("QUEUE_PROXY_TLS_CURVE_PREFERENCES", curves)
    };
    // The contract's, but nobody here speaks them; the third one is.
    let program = with("X25519MLKEM768,P-521,X25519").start().await;
    let told = |line: &&serde_json::Value| line["severity"] == "WARNING";
    let told: Vec<_> = program.before.iter().filter(told).collect();
    let want = ["X25519MLKEM768", "P-521"]
        .map(|curve| format!("TLS goes without {curve}, which is not known here"));
    let said: Vec<_> = told.iter().map(|line| &line["message"]).collect();
    assert_eq!(said, [&want[0], &want[1]]);
    let addr = program.at("tls");
    let answer = get(addr, "/status/204", &folder.certificate).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 204 "), "{answer}");
    let table = [
        ("P-521", "one that is known here: X25519, P-256, P-384"),
        (
            "X25519,P-999",
            "X25519, X25519MLKEM768, P-256, P-384 or P-521",
        ),
    ];
    for (curves, want) in table {
        let (code, _, log) = with(curves).end_of(&[]).await;
        let wrong = curves.rsplit(',').next().unwrap();
        let want = format!("QUEUE_PROXY_TLS_CURVE_PREFERENCES={wrong:?} is not {want}\n");
        assert_eq!((code, log), (1, want));
    }
}

/// Connects over TLS, whoever is there.
async fn shake_hands(
    addr: SocketAddr,
    trusted: &CertificateDer<'static>,
) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let connector = TlsConnector::from(Arc::new(config));
    connector
        .connect(name, TcpStream::connect(addr).await?)
        .await
}

#[tokio::test]
async fn callers_over_tls_that_vanish_at_any_stage_leave_nothing_behind() {
    let (workload, folder) = (Workload::start().await, Folder::new("vanish"));
    let make = mounted(before(workload.addr()), &folder);
    let make = make.with("CONTAINER_CONCURRENCY", "1");
    let program = make.quiet(Duration::ZERO).start().await;
    let addr = program.at("tls");
    let hold = b"GET /hold HTTP/1.1\r\nHost: a\r\n\r\n";
    for resets in [false, true] {
        let leave = |stream: &TcpStream| {
            if resets {
                stream.set_zero_linger().unwrap();
            }
        };
        // At any byte of the first record that a client sends, or before it.
        for length in 0..8 {
            let mut stream = TcpStream::connect(addr).await.unwrap();
            let hello = b"\x16\x03\x01\x02\x00\x01\x00\x01";
            stream.write_all(&hello[..length]).await.unwrap();
            leave(&stream);
        }
        for length in [0, 1, hold.len() - 1] {
            let mut stream = shake_hands(addr, &folder.certificate).await.unwrap();
            stream.write_all(&hold[..length]).await.unwrap();
            stream.flush().await.unwrap();
            leave(stream.get_ref().0);
        }
        // Inside, and in line behind that.
        let mut inside = shake_hands(addr, &folder.certificate).await.unwrap();
        inside.write_all(hold).await.unwrap();
        workload.until_inside(1).await;
        let mut waiting = shake_hands(addr, &folder.certificate).await.unwrap();
        waiting.write_all(hold).await.unwrap();
        leave(waiting.get_ref().0);
        leave(inside.get_ref().0);
        drop((waiting, inside));
        workload.until_inside(0).await;
        // The one slot is free for whoever comes next.
        let answer = get(addr, "/status/204", &folder.certificate).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 204 "), "{answer}");
    }
    program.signal(Signal::TERM);
    let (code, log) = program.ended().await;
    assert_eq!(code, 0);
    assert!(!log.contains("panicked"), "{log}");
}

#[tokio::test]
async fn case_138_a_taken_tls_port_ends_it_and_is_named() {
    let (workload, folder) = (Workload::start().await, Folder::new("taken"));
    let taken = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let make = mounted(before(workload.addr()), &folder);
    let make = make.with("QUEUE_SERVING_TLS_PORT", &port);
    let (code, _, log) = make.with("PENSTOCK_ADMIN_PORT", &port).end_of(&[]).await;
    assert_eq!(code, 1, "{log}");
    for what in ["TLS", "admin"] {
        let want = format!("the {what} listener: cannot listen on ");
        assert!(log.contains(&want), "{log}");
    }
}

#[tokio::test]
async fn case_135_a_certificate_that_cannot_be_used_ends_it_and_is_named() {
    let (workload, folder) = (Workload::start().await, Folder::new("unusable"));
    std::fs::write(folder.path.join("tls.crt"), "garbage").unwrap();
    let make = with_metrics(before(workload.addr()), &folder);
    for make in [make.clone(), mounted(before(workload.addr()), &folder)] {
        let (code, _, log) = make.end_of(&[]).await;
        assert_eq!(code, 1, "{log}");
        let want = format!("{} holds no certificate in PEM", folder.text("tls.crt"));
        assert!(log.contains(&want), "{log}");
    }
    let make = make.with("METRICS_PROMETHEUS_TLS_MIN_VERSION", "1.1");
    let (code, _, log) = make.end_of(&[]).await;
    assert_eq!(code, 1, "{log}");
    let want = "METRICS_PROMETHEUS_TLS_MIN_VERSION=\"1.1\" is not 1.2 or 1.3\n";
    assert_eq!(log, want);
}
