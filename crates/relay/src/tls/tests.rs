//! Handshakes over real sockets, with certificates made for the test.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::*;
use std::io;

mod listener;

/// Longer than any machine takes.
const AMPLE: Duration = Duration::from_secs(60);

/// A folder of this test, gone with the value.
struct Folder(PathBuf);

impl Folder {
    fn new(test: &str) -> Self {
        let name = format!("penstock-tls-{}-{test}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    fn pair(&self) -> Pair {
        Pair {
            certificate: self.0.join("tls.crt"),
            key: self.0.join("tls.key"),
        }
    }

    /// Puts a certificate and its key there.
    fn put(&self, made: &Made) -> Pair {
        self.write("tls.crt", &made.certificate);
        self.write("tls.key", &made.key);
        self.pair()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A certificate and its key, in PEM.
struct Made {
    certificate: String,
    key: String,
}

/// Somebody who vouches for others.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Self(CertifiedIssuer::self_signed(params, key).unwrap())
    }

    fn certify(&self, name: &str) -> Made {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        Made {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        }
    }

    fn pem(&self) -> String {
        self.0.pem()
    }
}

/// A caller who trusts one authority.
struct Caller<'a> {
    trusts: &'a Authority,
    versions: &'a [&'static SupportedProtocolVersion],
    shows: Option<&'a Made>,
    protocols: &'a [&'a str],
}

impl<'a> Caller<'a> {
    fn of(trusts: &'a Authority) -> Self {
        Self {
            trusts,
            versions: rustls::ALL_VERSIONS,
            shows: None,
            protocols: &[],
        }
    }

    /// Connects, and expects `name` there.
    async fn connect(&self, addr: SocketAddr, name: &str) -> io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(self.trusts.0.der().clone()).unwrap();
        let config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(self.versions)
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match self.shows {
            None => config.with_no_client_auth(),
            Some(made) => {
                let chain = CertificateDer::from_pem_slice(made.certificate.as_bytes()).unwrap();
                let key = PrivateKeyDer::from_pem_slice(made.key.as_bytes()).unwrap();
                config.with_client_auth_cert(vec![chain], key).unwrap()
            }
        };
        config.alpn_protocols = self
            .protocols
            .iter()
            .map(|name| name.as_bytes().into())
            .collect();
        let stream = TcpStream::connect(addr).await?;
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let connector = TlsConnector::from(Arc::new(config));
        connector.connect(name, stream).await
    }

    /// Connects, and reads to the end; what was agreed on as protocol, and what was read.
    async fn call(&self, addr: SocketAddr, name: &str) -> io::Result<(Option<Vec<u8>>, String)> {
        let mut stream = self.connect(addr, name).await?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await?;
        let agreed = stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
        Ok((agreed, text))
    }
}

/// Shakes hands with everybody, and says what was agreed on.
async fn serve(server: Server) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            if let Ok(mut stream) = server.accept(stream, AMPLE).await {
                let agreed = Agreed::on(&stream);
                let said = format!(
                    "{:x} {:?} {}",
                    agreed.version, agreed.protocol, agreed.server_name
                );
                let _ = stream.write_all(said.as_bytes()).await;
                let _ = stream.shutdown().await;
            }
        }
    });
    addr
}

fn server(certificates: &Arc<Certificates>, written: Written<'_>, auth: &ClientAuth) -> Server {
    let choices = Choices::read(written).unwrap();
    let protocols = ["h2", "http/1.1"];
    Server::new(certificates.clone(), &choices, auth, &protocols).unwrap()
}

#[tokio::test]
async fn case_134_a_certificate_that_was_replaced_is_shown_to_the_next_caller() {
    let (folder, authority) = (Folder::new("replaced"), Authority::new());
    let certificates = Certificates::load(folder.put(&authority.certify("one"))).unwrap();
    let addr = serve(server(&certificates, Written::default(), &ClientAuth::None)).await;
    let caller = Caller::of(&authority);
    assert_eq!(caller.call(addr, "one").await.unwrap().1, "304 \"\" one");
    assert!(!certificates.look().unwrap());

    folder.put(&authority.certify("two"));
    assert!(certificates.look().unwrap());
    assert_eq!(caller.call(addr, "two").await.unwrap().1, "304 \"\" two");
    caller.call(addr, "one").await.unwrap_err();
}

#[tokio::test]
async fn case_134_the_files_are_looked_at_again_and_again() {
    let (folder, authority) = (Folder::new("watched"), Authority::new());
    let certificates = Certificates::load(folder.put(&authority.certify("one"))).unwrap();
    let addr = serve(server(&certificates, Written::default(), &ClientAuth::None)).await;
    folder.put(&authority.certify("two"));
    let caller = Caller::of(&authority);
    let replaced = async { while caller.call(addr, "two").await.is_err() {} };
    tokio::select! {
        never = certificates.watch(Duration::from_millis(1)) => match never {},
        () = replaced => {}
    }
}

#[test]
fn case_134_each_load_is_told_in_one_line_that_tests_of_clusters_look_for() {
    let (folder, authority) = (Folder::new("told"), Authority::new());
    let log = folder.0.join("log");
    let written = std::fs::File::create(&log).unwrap();
    let lines = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(written);
    tracing::subscriber::with_default(lines.finish(), || {
        let certificates = Certificates::load(folder.put(&authority.certify("one"))).unwrap();
        assert!(!certificates.look().unwrap());
        folder.put(&authority.certify("two"));
        assert!(certificates.look().unwrap());
    });
    let told = std::fs::read_to_string(log).unwrap();
    let line = "INFO penstock_relay::tls::certificates: \
                Certificate and/or key have changed on disk and were reloaded.\n";
    assert_eq!(told.matches(line).count(), 2, "{told}");
    assert_eq!(told.lines().count(), 2, "{told}");
}

#[tokio::test]
async fn what_is_wrong_in_new_files_changes_nothing_and_is_told_once() {
    let (folder, authority) = (Folder::new("wrong"), Authority::new());
    let (one, two) = (authority.certify("one"), authority.certify("two"));
    let certificates = Certificates::load(folder.put(&one)).unwrap();
    let addr = serve(server(&certificates, Written::default(), &ClientAuth::None)).await;
    let half = &two.certificate[..two.certificate.len() / 2];
    let table = [
        ("garbage", "garbage", one.key.as_str()),
        ("empty", "", ""),
        ("half-written", half, &two.key),
        ("swapped", &one.key, &one.certificate),
        ("not a pair", &two.certificate, &one.key),
    ];
    for (case, certificate, key) in table {
        folder.write("tls.crt", certificate);
        folder.write("tls.key", key);
        assert!(certificates.look().is_err(), "{case}");
        assert!(!certificates.look().unwrap(), "{case}: told already");
        let (_, said) = Caller::of(&authority).call(addr, "one").await.unwrap();
        assert_eq!(said, "304 \"\" one", "{case}");
    }
    std::fs::remove_file(folder.pair().key).unwrap();
    assert!(certificates.look().is_err());
    folder.put(&two);
    assert!(certificates.look().unwrap());
}

#[test]
fn case_135_what_cannot_be_used_at_the_start_is_named() {
    let (folder, authority) = (Folder::new("unusable"), Authority::new());
    let (one, two) = (authority.certify("one"), authority.certify("two"));
    let pair = folder.pair();
    assert!(!pair.is_present().unwrap());
    folder.write("tls.crt", &one.certificate);
    assert!(!pair.is_present().unwrap());
    let load = || Certificates::load(folder.pair()).unwrap_err().to_string();
    let (crt, key) = (pair.certificate.display(), pair.key.display());
    assert!(
        load().starts_with(&format!("cannot read {key}: ")),
        "{}",
        load()
    );
    folder.write("tls.key", "garbage");
    assert!(pair.is_present().unwrap());
    assert!(
        load().starts_with(&format!("{key} holds no private key in PEM: ")),
        "{}",
        load()
    );
    folder.write("tls.key", &two.key);
    assert!(
        load().starts_with(&format!("{crt} and {key} are no usable pair: ")),
        "{}",
        load()
    );
    folder.write("tls.crt", "garbage");
    assert!(
        load().starts_with(&format!("{crt} holds no certificate in PEM: ")),
        "{}",
        load()
    );
}

#[tokio::test]
async fn case_135_only_tls_1_3_is_spoken_unless_1_2_is_asked_for() {
    let (folder, authority) = (Folder::new("versions"), Authority::new());
    let certificates = Certificates::load(folder.put(&authority.certify("one"))).unwrap();
    let old = Written {
        min_version: "1.2",
        ..Written::default()
    };
    let oldest = Written {
        max_version: "1.2",
        ..old
    };
    let table: [(Written<'_>, &'static SupportedProtocolVersion, bool); 5] = [
        (Written::default(), &TLS13, true),
        (Written::default(), &TLS12, false),
        (old, &TLS12, true),
        (old, &TLS13, true),
        (oldest, &TLS13, false),
    ];
    for (written, version, good) in table {
        let addr = serve(server(&certificates, written, &ClientAuth::None)).await;
        let caller = Caller {
            versions: &[version],
            ..Caller::of(&authority)
        };
        let said = caller.call(addr, "one").await;
        assert_eq!(said.is_ok(), good, "{written:?} {version:?}");
    }
}

#[tokio::test]
async fn the_protocol_is_agreed_on_with_the_certificate() {
    let (folder, authority) = (Folder::new("protocols"), Authority::new());
    let certificates = Certificates::load(folder.put(&authority.certify("one"))).unwrap();
    let addr = serve(server(&certificates, Written::default(), &ClientAuth::None)).await;
    let table: [(&[&str], _, _); 4] = [
        (&[], None, "304 \"\" one"),
        (&["http/1.1"], Some("http/1.1"), "304 \"http/1.1\" one"),
        (&["http/1.1", "h2"], Some("h2"), "304 \"h2\" one"),
        (&["h2"], Some("h2"), "304 \"h2\" one"),
    ];
    for (protocols, agreed, said) in table {
        let caller = Caller {
            protocols,
            ..Caller::of(&authority)
        };
        let want = (
            agreed.map(|name: &str| name.as_bytes().to_vec()),
            said.to_owned(),
        );
        assert_eq!(caller.call(addr, "one").await.unwrap(), want);
    }
    let stranger = Caller {
        protocols: &["spdy/3"],
        ..Caller::of(&authority)
    };
    stranger.call(addr, "one").await.unwrap_err();
}

#[tokio::test]
async fn callers_prove_who_they_are_where_they_have_to() {
    let (folder, authority) = (Folder::new("callers"), Authority::new());
    let certificates = Certificates::load(folder.put(&authority.certify("one"))).unwrap();
    let ca = folder.write("ca.crt", &authority.pem());
    let (known, stranger) = (authority.certify("me"), Authority::new().certify("me"));
    let table = [
        (ClientAuth::None, [true, true, true]),
        (ClientAuth::Optional(ca.clone()), [true, true, false]),
        (ClientAuth::Require(ca), [false, true, false]),
    ];
    for (auth, good) in table {
        let addr = serve(server(&certificates, Written::default(), &auth)).await;
        for (shows, good) in [None, Some(&known), Some(&stranger)].into_iter().zip(good) {
            let caller = Caller {
                shows,
                ..Caller::of(&authority)
            };
            let said = caller.call(addr, "one").await;
            assert_eq!(said.is_ok(), good, "{auth:?} {:?}", said.err());
        }
    }
}

#[test]
fn those_who_vouch_for_callers_have_to_be_there() {
    let (folder, authority) = (Folder::new("vouching"), Authority::new());
    let certificates = Certificates::load(folder.put(&authority.certify("one"))).unwrap();
    let choices = Choices::read(Written::default()).unwrap();
    let told = |path: &Path| {
        let auth = ClientAuth::Require(path.to_owned());
        let server = Server::new(certificates.clone(), &choices, &auth, &[]);
        server.unwrap_err().to_string()
    };
    for path in [folder.0.join("none.crt"), folder.write("ca.crt", "garbage")] {
        let start = format!("{} holds no certificates in PEM: ", path.display());
        assert!(told(&path).starts_with(&start), "{}", told(&path));
    }
}

#[tokio::test]
async fn plain_http_is_told_where_it_is() {
    let (folder, authority) = (Folder::new("plain"), Authority::new());
    let certificates = Certificates::load(folder.put(&authority.certify("one"))).unwrap();
    let addr = serve(server(&certificates, Written::default(), &ClientAuth::None)).await;
    for request in [
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST",
        &"x".repeat(60_000),
    ] {
        let mut stream = TcpStream::connect(addr).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let want = "HTTP/1.0 400 Bad Request\r\n\r\n\
                    Client sent an HTTP request to an HTTPS server.\n";
        assert_eq!(answer, want);
    }
}

#[tokio::test]
async fn a_caller_that_does_not_shake_hands_is_let_go() {
    let (folder, authority) = (Folder::new("silent"), Authority::new());
    let certificates = Certificates::load(folder.put(&authority.certify("one"))).unwrap();
    let server = server(&certificates, Written::default(), &ClientAuth::None);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let addr = listener.local_addr().unwrap();
    // Nothing, the beginning of a handshake, and what is none.
    for (sent, limit) in [
        (&b""[..], 50),
        (b"\x16\x03\x01", 50),
        (b"\x16garbage!", 60_000),
    ] {
        let mut caller = TcpStream::connect(addr).await.unwrap();
        caller.write_all(sent).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        let failure = server.accept(stream, Duration::from_millis(limit)).await;
        let timed_out = matches!(failure, Err(HandshakeError::TimedOut { .. }));
        assert!(failure.is_err());
        assert_eq!(timed_out, limit == 50, "{sent:?}");
    }
}
