//! TLS on both sides of an activator: spec/activator.md §7.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use penstock_activator::config::ConfigMaps;
use penstock_activator::env::ClusterKind;
use penstock_activator::program::{Ended, Material, Program, StartError, World};
use penstock_activator::{Options, ToPods};
use penstock_relay::tls::Client as Trust;
use penstock_runtime::drain::Drained;
use penstock_runtime::log;
use penstock_testkit::client::Client;
use penstock_testkit::cluster::ScriptedCluster;
use penstock_testkit::workload::Workload;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::yield_now;
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tokio_util::sync::CancellationToken;

use crate::program::{ALONE, settings};
use crate::stage::{Bound, HOST, Stage, hello, within};

const DATA_PLANE: &str = "data-plane.knative.dev";

/// Somebody who vouches for others.
struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, in PEM.
struct Made {
    certificate: String,
    key: String,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Self(CertifiedIssuer::self_signed(params, key).unwrap())
    }

    fn pem(&self) -> String {
        self.0.pem()
    }

    fn certify(&self, names: &[&str]) -> Made {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(names).unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        Made {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        }
    }
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// What a pod was asked for in a handshake: the name, and the protocols.
type Asked = Arc<Mutex<Vec<(Option<String>, Option<Vec<u8>>)>>>;

/// Speaks TLS before a workload.
async fn tls_before(workload: SocketAddr, made: &Made) -> (SocketAddr, Asked) {
    let chain = CertificateDer::from_pem_slice(made.certificate.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(made.key.as_bytes()).unwrap();
    let config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![chain], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let asked = Asked::default();
    let noting = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, noting) = (acceptor.clone(), Arc::clone(&noting));
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else {
                    return;
                };
                let (_, session) = stream.get_ref();
                let name = session.server_name().map(str::to_owned);
                let protocol = session.alpn_protocol().map(<[u8]>::to_vec);
                noting.lock().unwrap().push((name, protocol));
                let mut plain = TcpStream::connect(workload).await.unwrap();
                let _ = copy_bidirectional(&mut stream, &mut plain).await;
            });
        }
    });
    (addr, asked)
}

fn to_pods(trust: &Arc<Trust>, port: u16) -> ToPods {
    ToPods {
        pod_port: port,
        ..ToPods::new(Arc::clone(trust))
    }
}

/// An activator that speaks TLS with the pod of its only revision, at that port.
fn before(port: u16, trust: &Arc<Trust>) -> Stage {
    // Its own port is another, where nobody listens.
    let revision = hello().pod(([127, 0, 0, 1], 1).into()).build();
    let bound = Bound::before([revision]).secured(to_pods(trust, port));
    bound.start(Options::default())
}

#[tokio::test]
async fn requests_of_both_versions_go_to_pods_that_show_the_namespaces_name() {
    let (one, authority) = (Workload::start().await, Authority::new());
    let made = authority.certify(&[DATA_PLANE, "kn-user-default"]);
    let (tls, asked) = tls_before(one.addr(), &made).await;
    let pem = authority.pem();
    let trust = Trust::trusting([("ca", pem.as_bytes())]).unwrap();
    let stage = before(tls.port(), &trust);
    for mut client in [stage.client().await, Client::h2c(stage.addr).await] {
        for _ in 0..2 {
            let answer = client.get(HOST, "/status/201").await.unwrap();
            assert_eq!(answer.status, 201);
        }
    }
    let asked = asked.lock().unwrap().clone();
    let want = (Some(DATA_PLANE.to_owned()), None);
    assert_eq!(
        asked,
        [want.clone(), want],
        "one connection for each version"
    );
    let scheme = [
        "url_scheme=\"https\"",
        &format!("server_port=\"{}\"", tls.port()),
    ];
    let name = "http_client_request_duration_seconds_count";
    crate::stage::until(|| stage.metric(name, &scheme).is_some()).await;
    stage.end().await;
}

#[tokio::test]
async fn case_115_a_pod_of_another_namespace_gets_nothing() {
    let (one, authority) = (Workload::start().await, Authority::new());
    let made = authority.certify(&["kn-user-other", DATA_PLANE]);
    let (tls, _) = tls_before(one.addr(), &made).await;
    let pem = authority.pem();
    let trust = Trust::trusting([("ca", pem.as_bytes())]).unwrap();
    let timeouts = penstock_types::Timeouts {
        whole: std::time::Duration::from_millis(300),
        ..Default::default()
    };
    let revision = hello().timeouts(timeouts).pod(([127, 0, 0, 1], 1).into());
    let bound = Bound::before([revision.build()]).secured(to_pods(&trust, tls.port()));
    let stage = bound.start(Options::default());
    assert_eq!(stage.get("/").await.status, 504, "it waits for one that is");
    stage.end().await;
}

#[tokio::test]
async fn case_113_all_that_is_good_of_secret_and_bundles_vouches_for_pods() {
    let one = Workload::start().await;
    let (a, b) = (Authority::new(), Authority::new());
    let (pem_a, pem_b) = (a.pem(), b.pem());
    let (pem_a, pem_b) = (pem_a.as_bytes(), pem_b.as_bytes());
    let bad: &[u8] = b"-----BEGIN CERTIFICATE-----\nno\n-----END CERTIFICATE-----\n";
    for (bundles, by_a, by_b) in [
        (vec![("secret", pem_a)], true, false),
        (vec![("bundle", pem_b)], false, true),
        (vec![("secret", pem_a), ("bundle", pem_b)], true, true),
        (
            vec![("secret", pem_a), ("bundle", bad), ("other", b"text")],
            true,
            false,
        ),
    ] {
        let trust = Trust::trusting(bundles).unwrap();
        for (authority, want) in [(&a, by_a), (&b, by_b)] {
            let made = authority.certify(&[DATA_PLANE, "kn-user-default"]);
            let (tls, asked) = tls_before(one.addr(), &made).await;
            let stage = before(tls.port(), &trust);
            let asking = stage.getting("/");
            if want {
                assert_eq!(within(asking).await.unwrap().status, 200);
            } else {
                // It was tried, and waits for another.
                let error = ["error_type=\"connection_refused\""];
                let name = "http_client_request_duration_seconds_count";
                crate::stage::until(|| stage.metric(name, &error).is_some()).await;
                stage.until_load(1, 0).await;
                assert!(asked.lock().unwrap().is_empty());
                asking.abort();
            }
            stage.end().await;
        }
    }
}

#[tokio::test]
async fn case_114_a_new_authority_counts_from_the_next_connection_on() {
    let (one, old, new) = (Workload::start().await, Authority::new(), Authority::new());
    let made = new.certify(&[DATA_PLANE, "kn-user-default"]);
    let (tls, _) = tls_before(one.addr(), &made).await;
    let (pem_old, pem_new) = (old.pem(), new.pem());
    let trust = Trust::trusting([("ca", pem_old.as_bytes())]).unwrap();
    let stage = before(tls.port(), &trust);
    let waiting = stage.getting("/");
    stage.until_load(1, 0).await;
    trust.replace([("ca", pem_new.as_bytes())]).unwrap();
    assert_eq!(within(waiting).await.unwrap().status, 200);
    stage.end().await;
}

/// GET over TLS from a caller who trusts only `authority`.
async fn get_over_tls(addr: SocketAddr, authority: &Authority) -> std::io::Result<String> {
    let mut roots = RootCertStore::empty();
    let pem = authority.pem();
    let root = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
    roots.add(root).unwrap();
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = TlsConnector::from(Arc::new(config));
    let stream = TcpStream::connect(addr).await?;
    let name = ServerName::try_from("kn-user-serving").unwrap();
    let mut stream = connector.connect(name, stream).await?;
    let request = "GET / HTTP/1.1\r\nhost: nobody\r\nconnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

/// What is logged.
#[derive(Clone, Default)]
struct Errors(Arc<Mutex<Vec<u8>>>);

impl Errors {
    fn tell_of(&self, what: &str) -> bool {
        String::from_utf8_lossy(&self.0.lock().unwrap()).contains(what)
    }
}

impl std::io::Write for Errors {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        std::io::Write::write(&mut *self.0.lock().unwrap(), line)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn with_tls(material: Option<watch::Receiver<Arc<Material>>>) -> World {
    let network = [("system-internal-tls".to_owned(), "Enabled".to_owned())];
    let maps = ConfigMaps {
        network: network.into(),
        ..ConfigMaps::default()
    };
    let (_, config) = watch::channel(Arc::new(maps));
    World {
        cluster: ScriptedCluster::new([]),
        kind: ClusterKind::Knative,
        config,
        material,
    }
}

fn material(authority: &Authority) -> Arc<Material> {
    let made = authority.certify(&["kn-user-serving"]);
    Arc::new(Material {
        certificate: made.certificate.into(),
        key: made.key.into(),
        ca: authority.pem().into(),
        bundles: Vec::new(),
    })
}

#[tokio::test]
async fn case_114_a_new_certificate_is_shown_to_the_next_caller_and_a_bad_one_is_not() {
    let (old, new) = (Authority::new(), Authority::new());
    let (give, taken) = watch::channel(material(&old));
    let program = Program::start(settings(&ALONE), with_tls(Some(taken)), None).unwrap();
    let addrs = program.addrs();
    let stop = CancellationToken::new();
    let running = tokio::spawn(program.serve(stop.clone()));
    let https = addrs.https.unwrap();
    let answer = get_over_tls(https, &old).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
    let mut plain = Client::http1(addrs.http1).await;
    let answer = plain.get("nobody", "/").await.unwrap();
    assert_eq!(answer.status, 404, "the others stay open in clear");

    give.send_replace(material(&new));
    within(async { while get_over_tls(https, &new).await.is_err() {} }).await;
    let errors = Errors::default();
    let noted = errors.clone();
    let filter = "error".parse().unwrap();
    let noting = log::subscriber(log::Format::Text, filter, false, move || noted.clone());
    let noting = tracing::subscriber::set_default(noting);
    give.send_replace(Arc::new(Material::default()));
    // The program follows its sources on this very thread.
    within(async {
        while !errors.tell_of("the certificate was not replaced") {
            yield_now().await
        }
    })
    .await;
    drop(noting);
    get_over_tls(https, &new).await.unwrap();
    give.send_replace(material(&old));
    within(async { while get_over_tls(https, &old).await.is_err() {} }).await;
    stop.cancel();
    let ended = within(running).await.unwrap();
    assert_eq!(ended, Ended::Drained(Drained::Clean));
}

#[tokio::test]
async fn without_its_secret_it_does_not_start_and_says_which() {
    let (_give, empty) = watch::channel(Arc::new(Material::default()));
    for material in [None, Some(empty)] {
        let error = Program::start(settings(&ALONE), with_tls(material), None).unwrap_err();
        assert!(matches!(error, StartError::NoSecret), "{error}");
        assert!(error.to_string().contains("routing-serving-certs"));
    }
}
