//! The program as a whole, within this process: its listeners, its health and its end.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;

use http::Request;
use penstock_activator::config::ConfigMaps;
use penstock_activator::env::{ClusterKind, Flags, Settings, Surroundings};
use penstock_activator::program::{Addrs, Ended, Program, StartError, World};
use penstock_autoscaler::{Peers, StatServer};
use penstock_cluster::{Leases, Revision};
use penstock_runtime::drain::Drained;
use penstock_testkit::client::{Answer, Client, empty};
use penstock_testkit::cluster::ScriptedCluster;
use penstock_testkit::workload::Workload;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::stage::{HOST, hello, within};

const LOCAL: [(&str, &str); 10] = [
    ("POD_NAME", "activator-1"),
    ("POD_IP", "127.0.0.1"),
    ("SYSTEM_NAMESPACE", "knative-serving"),
    ("PENSTOCK_LISTEN_HOST", "127.0.0.1"),
    ("METRICS_PROMETHEUS_HOST", "127.0.0.1"),
    ("PENSTOCK_HTTP1_PORT", "0"),
    ("PENSTOCK_H2C_PORT", "0"),
    ("PENSTOCK_HTTPS_PORT", "0"),
    ("PROFILING_PORT", "0"),
    ("PENSTOCK_METRICS_PORT", "0"),
];

pub(crate) fn settings(set: &[(&str, &str)]) -> Settings {
    let get = |name: &str| {
        let found = set.iter().chain(&LOCAL).find(|(known, _)| *known == name);
        found.map(|(_, value)| (*value).to_owned())
    };
    let around = Surroundings {
        resolv_conf: "",
        workers: NonZeroUsize::MIN,
        memory: None,
    };
    Settings::read(get, &Flags::default(), around).unwrap()
}

fn maps(observability: &[(&str, &str)]) -> ConfigMaps {
    let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    ConfigMaps {
        observability: observability.iter().map(owned).collect(),
        ..ConfigMaps::default()
    }
}

/// A program that runs.
struct Serving {
    addrs: Addrs,
    /// Kept, so that nothing looks as if the cluster had gone.
    _config: watch::Sender<Arc<ConfigMaps>>,
    stop: CancellationToken,
    running: JoinHandle<Ended>,
}

impl Serving {
    fn start(set: &[(&str, &str)], observability: &[(&str, &str)], revision: Revision) -> Self {
        let (config, seen) = watch::channel(Arc::new(maps(observability)));
        let world = World {
            cluster: ScriptedCluster::new([revision]),
            kind: ClusterKind::Knative,
            config: seen,
            material: None,
        };
        let program = Program::start(settings(set), world, None).unwrap();
        let addrs = program.addrs();
        let stop = CancellationToken::new();
        let running = tokio::spawn(program.serve(stop.clone()));
        Self {
            addrs,
            _config: config,
            stop,
            running,
        }
    }

    async fn end(self) {
        self.stop.cancel();
        let ended = within(self.running).await.unwrap();
        assert_eq!(ended, Ended::Drained(Drained::Clean));
    }
}

pub(crate) const ALONE: [(&str, &str); 2] = [
    ("PENSTOCK_AUTOSCALER", "none"),
    ("PENSTOCK_LAME_DUCK_MS", "0"),
];

/// What a kubelet's probe at `path` is answered.
async fn probe(addr: SocketAddr, path: &str) -> Answer {
    let probe = Request::get(path)
        .header("host", "probe")
        .header("user-agent", "kube-probe/1.34");
    let mut client = Client::http1(addr).await;
    client.ask(probe.body(empty()).unwrap()).await.unwrap()
}

#[tokio::test]
async fn every_listener_serves_what_is_for_it() {
    let one = Workload::start().await;
    let scraped = [("metrics-protocol", "prometheus")];
    let serving = Serving::start(&ALONE, &scraped, hello().pod(one.addr()).build());
    let addrs = serving.addrs;
    for addr in [addrs.http1, addrs.h2c] {
        for mut client in [Client::http1(addr).await, Client::h2c(addr).await] {
            assert_eq!(client.get(HOST, "/").await.unwrap().status, 200);
        }
    }
    assert_eq!(probe(addrs.http1, "/").await.status, 200);
    let mut profiling = Client::http1(addrs.profiling).await;
    let profile = profiling.get("any", "/debug/pprof/heap").await.unwrap();
    assert_eq!(profile.status, 404);
    let mut scraper = Client::http1(addrs.metrics.unwrap()).await;
    let page = scraper.get("any", "/metrics").await.unwrap();
    let page = String::from_utf8(page.body.to_vec()).unwrap();
    for series in [
        "kn_revision_request_queued{",
        "http_server_request_duration_seconds_bucket{",
        "target_info{k8s_namespace_name=\"knative-serving\",k8s_pod_name=\"activator-1\",\
         service_name=\"activator\"",
    ] {
        assert!(page.contains(series), "{series} in {page}");
    }
    assert!(
        !page.contains("conn_reachable"),
        "nothing was told of it yet"
    );
    serving.end().await;
}

#[tokio::test]
async fn without_prometheus_nothing_listens_for_it() {
    let serving = Serving::start(&ALONE, &[], hello().build());
    assert!(serving.addrs.metrics.is_none() && serving.addrs.https.is_none());
    serving.end().await;
}

#[tokio::test]
async fn classic_names_are_those_of_the_dashboards_of_old() {
    let one = Workload::start().await;
    let set = [&ALONE[..], &[("PENSTOCK_METRICS_NAMES", "classic")]].concat();
    let scraped = [("metrics-protocol", "prometheus")];
    let mut revision = hello().pod(one.addr()).build();
    revision.service = "".into();
    let serving = Serving::start(&set, &scraped, revision);
    let mut client = Client::http1(serving.addrs.http1).await;
    assert_eq!(client.get(HOST, "/status/201").await.unwrap().status, 201);
    let mut scraper = Client::http1(serving.addrs.metrics.unwrap()).await;
    let labels = "{configuration_name=\"hello\",container_name=\"activator\",\
                  namespace_name=\"default\",pod_name=\"activator-1\",response_code=\"201\",\
                  response_code_class=\"2xx\",revision_name=\"hello-00001\",\
                  service_name=\"unknown\"}";
    let want = [
        format!("activator_request_count{labels} 1\n"),
        format!("activator_request_latencies_count{labels} 1\n"),
    ];
    let page = within(async {
        loop {
            let page = scraper.get("any", "/metrics").await.unwrap();
            let page = String::from_utf8(page.body.to_vec()).unwrap();
            if page.contains("activator_request_count{") {
                return page;
            }
        }
    })
    .await;
    for line in want {
        assert!(page.contains(&line), "{line} in {page}");
    }
    assert!(page.contains("activator_request_concurrency{"), "{page}");
    assert!(page.contains("le=\"100000\""), "{page}");
    assert!(
        !page.contains("http_server") && !page.contains("kn_revision"),
        "{page}"
    );
    serving.end().await;
}

#[tokio::test]
async fn case_10_it_is_ready_once_it_has_its_autoscaler_and_serves_before() {
    let one = Workload::start().await;
    // It listens, and answers nobody yet.
    let server = StatServer::bind(([127, 0, 0, 1], 0).into()).unwrap();
    let host = server.addr().to_string();
    let set = [
        ("PENSTOCK_AUTOSCALER", &*host),
        ("PENSTOCK_LAME_DUCK_MS", "0"),
    ];
    let serving = Serving::start(&set, &[], hello().pod(one.addr()).build());
    let http1 = serving.addrs.http1;
    let unready = probe(http1, "/").await;
    assert_eq!(unready.status, 500);
    assert_eq!(
        &unready.body[..],
        b"connection has not yet been established\n"
    );
    assert_eq!(probe(http1, "/livez").await.status, 200);
    let mut client = Client::http1(http1).await;
    assert_eq!(client.get(HOST, "/").await.unwrap().status, 200);

    let (_last, leases) = watch::channel(Arc::new(Leases::alone()));
    let stop = CancellationToken::new();
    let (autoscaler, _batches, _) = server.start(leases, Peers { service: None }, stop.clone());
    within(async { while probe(http1, "/").await.status != 200 {} }).await;
    serving.end().await;
    stop.cancel();
    within(autoscaler.ended()).await;
}

#[tokio::test]
async fn what_cannot_be_had_is_told_together_and_nothing_is_started() {
    let taken = [0; 3].map(|_| std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    let ports = taken
        .each_ref()
        .map(|it| it.local_addr().unwrap().port().to_string());
    let set = [
        ("PENSTOCK_HTTP1_PORT", &*ports[0]),
        ("PENSTOCK_H2C_PORT", &*ports[1]),
        ("PROFILING_PORT", &*ports[2]),
    ];
    let (_config, seen) = watch::channel(Arc::new(maps(&[])));
    let world = World {
        cluster: ScriptedCluster::new([]),
        kind: ClusterKind::Knative,
        config: seen,
        material: None,
    };
    let error = Program::start(settings(&set), world, None).unwrap_err();
    assert!(
        matches!(&error, StartError::Listeners(bad) if bad.len() == 3),
        "{error}"
    );
    for (what, port) in ["http1", "h2c", "profiling"].iter().zip(&ports) {
        let told = error.to_string();
        assert!(told.contains(what) && told.contains(port), "{told}");
    }
}

#[tokio::test]
async fn the_lame_duck_still_serves_while_probes_fail() {
    let one = Workload::start().await;
    let set = [
        ("PENSTOCK_AUTOSCALER", "none"),
        ("PENSTOCK_LAME_DUCK_MS", "300"),
    ];
    let serving = Serving::start(&set, &[], hello().pod(one.addr()).build());
    let http1 = serving.addrs.http1;
    serving.stop.cancel();
    within(async { while probe(http1, "/").await.status != 500 {} }).await;
    let mut client = Client::http1(http1).await;
    assert_eq!(client.get(HOST, "/").await.unwrap().status, 200);
    serving.end().await;
}

/// What the program says on standard error, and its status, with these variables and arguments.
fn run(set: &[(&str, &str)], arguments: &[&str]) -> (Option<i32>, String) {
    let ended = std::process::Command::new(env!("CARGO_BIN_EXE_activator"))
        .env_clear()
        .envs(set.iter().copied())
        .args(arguments)
        .output()
        .unwrap();
    assert!(ended.stdout.is_empty(), "{ended:?}");
    (
        ended.status.code(),
        String::from_utf8(ended.stderr).unwrap(),
    )
}

#[test]
fn all_mistakes_in_variables_and_flags_end_the_program_with_1() {
    let (code, told) = run(&[("POD_IP", "here"), ("PROBE_TIMEOUT", "1")], &["-v=2"]);
    assert_eq!(code, Some(1));
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(lines.len(), 5, "{told}");
    assert!(lines[0].starts_with("\"-v=2\" is not a flag"), "{told}");
    for name in ["POD_NAME", "POD_IP", "SYSTEM_NAMESPACE", "PROBE_TIMEOUT"] {
        assert!(
            lines.iter().any(|line| line.starts_with(name)),
            "{name}: {told}"
        );
    }
}
