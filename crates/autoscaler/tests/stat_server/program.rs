//! The whole process, put together.

use std::sync::Arc;

use penstock_autoscaler::PolicyKind;
use penstock_autoscaler::env::Settings;
use penstock_autoscaler::program::Program;
use penstock_cluster::Leases;
use penstock_testkit::cluster::ScriptedCluster;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::stage::{connect, hello, one_revision, word};

fn settings() -> Settings {
    let set = [
        ("POD_NAME", "as"),
        ("POD_IP", "127.0.0.1"),
        ("SYSTEM_NAMESPACE", "knative-serving"),
        ("METRICS_PROMETHEUS_HOST", "127.0.0.1"),
        ("METRICS_PROMETHEUS_PORT", "0"),
        ("PENSTOCK_STATS_PORT", "0"),
        ("PENSTOCK_POLICY", "demand"),
    ];
    let get = |name: &str| {
        let found = set.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| (*value).to_owned())
    };
    Settings::read(get, "").unwrap()
}

async fn page(addr: std::net::SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    let request = format!("GET {path} HTTP/1.0\r\nHost: x\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn from_a_word_to_the_scale_call_and_the_words_that_explain_it() {
    let settings = settings();
    assert_eq!(settings.policy, PolicyKind::Demand);
    let program = Program::bind(settings).await.unwrap();
    let [stats, admin] = program.addrs();
    let stats = ([127, 0, 0, 1], stats.port()).into();
    let cluster = ScriptedCluster::new([one_revision("hello-00001")]);
    let (_held, leases) = watch::channel(Arc::new(Leases::alone()));
    let stop = CancellationToken::new();
    let running = tokio::spawn(program.run(Arc::clone(&cluster) as _, leases, None, stop.clone()));
    // The shipped configuration begins with one pod.
    assert_eq!(cluster.next_scale().await, (hello(), 1));
    let mut activator = connect(stats, "autoscaler", true).await.unwrap();
    activator.say(&[word("hello-00001", 1.0, 200)]).await;
    assert_eq!(cluster.next_scale().await, (hello(), 20));
    let text = page(admin, "/explain/default/hello-00001").await;
    assert!(
        text.contains("why 20: 200 waiting + 0 in flight, 10 a pod"),
        "{text}"
    );
    assert!(page(admin, "/explain/default/nobody").await.contains("404"));
    assert!(
        page(admin, "/metrics")
            .await
            .contains("kn_revision_pods_requested")
    );
    activator.leave().await;
    stop.cancel();
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_configuration_that_is_wrong_starts_nothing() {
    let settings = Settings {
        config_dir: Some("/nowhere/at/all".into()),
        ..settings()
    };
    let error = Program::bind(settings).await.unwrap_err().to_string();
    assert!(error.contains("/nowhere/at/all"), "{error}");
}
