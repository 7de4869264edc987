use super::*;
use penstock_runtime::vars::BadVars;

use crate::bind::Overflow;

const AROUND: Surroundings<'_> = Surroundings {
    resolv_conf: "",
    workers: NonZeroUsize::MIN,
    memory: Some(400 << 20),
};

const GOOD: [(&str, &str); 3] = [
    ("POD_NAME", "activator-1"),
    ("POD_IP", "10.0.0.7"),
    ("SYSTEM_NAMESPACE", "knative-serving"),
];

fn read_with(set: &[(&str, &str)], arguments: &[&str]) -> Result<Settings, BadVars> {
    let get = |name: &str| {
        let found = set.iter().rev().find(|(known, _)| *known == name);
        found.map(|(_, value)| (*value).to_owned())
    };
    let flags = Flags::read(arguments.iter().map(|one| (*one).to_owned())).unwrap();
    Settings::read(get, &flags, AROUND)
}

fn read(set: &[(&str, &str)]) -> Settings {
    read_with(&[&GOOD, set].concat(), &[]).unwrap()
}

#[test]
fn the_defaults_are_those_of_the_contract() {
    let settings = read(&[]);
    assert_eq!(settings.identity.ip, "10.0.0.7");
    assert_eq!(settings.maps.logging, "config-logging");
    assert_eq!(settings.maps.observability, "config-observability");
    let Ports {
        http1,
        h2c,
        https,
        profiling,
        metrics,
        ..
    } = settings.ports;
    assert_eq!(
        [http1, h2c, https, profiling, metrics],
        [8012, 8013, 8112, 8008, 9090]
    );
    let keep = settings.options.keep;
    assert_eq!((keep.total, keep.each), (1000, 100));
    let millis = Duration::from_millis;
    let discovery = settings.options.discovery;
    assert_eq!(
        (discovery.timeout, discovery.pause),
        (millis(300), millis(200))
    );
    let autoscaler = "autoscaler.knative-serving.svc.cluster.local:8080";
    assert_eq!(settings.autoscaler.as_deref(), Some(autoscaler));
    assert_eq!(settings.api.min_version, None);
    assert_eq!(settings.api.qps, None);
    assert!(settings.metrics_tls.is_none());
    let options = settings.options;
    assert_eq!(
        (options.waiting, options.waiting_bytes),
        (10_000, 100 << 20)
    );
    assert_eq!(options.liveness_path.as_deref(), Some("/livez"));
    assert_eq!(settings.drain.lame_duck, millis(15_000));
}

#[test]
fn every_mistake_is_told_at_once() {
    let wrong = [
        ("POD_IP", "here"),
        ("MAX_IDLE_PROXY_CONNS", "-1"),
        ("MAX_IDLE_PROXY_CONNS_PER_HOST", "many"),
        ("PROBE_TIMEOUT", "300"),
        ("PROBE_FREQUENCY", "0s"),
        ("KUBERNETES_MIN_VERSION", "new"),
        ("KUBE_API_QPS", "fast"),
        ("KUBE_API_BURST", "x"),
        ("PROFILING_PORT", "70000"),
        ("METRICS_PROMETHEUS_PORT", "80"),
        ("METRICS_PROMETHEUS_TLS_CERT", "/c"),
        ("ACTIVATOR_TLS_MIN_VERSION", "1.1"),
        ("PENSTOCK_COMPATIBLE", "maybe"),
        ("PENSTOCK_WORKERS", "0"),
        ("PENSTOCK_AUTOSCALER", "autoscaler"),
        ("PENSTOCK_WAITING", "-1"),
        ("PENSTOCK_WAITING_BYTES", "1.5Gi"),
        ("PENSTOCK_OVERFLOW_STATUS", "500"),
        ("PENSTOCK_FIRST_WINDOW", "all"),
        ("PENSTOCK_LIMIT_HEADER", "a b"),
        ("PENSTOCK_SERVER_TIMING", "on"),
        ("PENSTOCK_WAITING_PAGE", "soon"),
        ("PENSTOCK_LIVENESS_PATH", "livez"),
        ("PENSTOCK_LAME_DUCK_MS", "15s"),
        ("PENSTOCK_DRAIN_GRACE_MS", "x"),
        ("PENSTOCK_METRICS_NAMES", "old"),
        ("PENSTOCK_HTTP1_PORT", "x"),
        ("PENSTOCK_H2C_PORT", "x"),
        ("PENSTOCK_HTTPS_PORT", "x"),
        ("PENSTOCK_METRICS_PORT", "x"),
    ];
    let told = read_with(&wrong, &[]).unwrap_err();
    let names: Vec<&str> = told.0.iter().map(|bad| &*bad.name).collect();
    let mut want: Vec<&str> = wrong.iter().map(|(name, _)| *name).collect();
    want.extend(["POD_NAME", "SYSTEM_NAMESPACE"]);
    for name in &want {
        // The pair is named by what is missing of it.
        let name = name.replace("TLS_CERT", "TLS_KEY");
        assert!(names.contains(&&*name), "{name} in {told}");
    }
    assert_eq!(names.len(), want.len(), "{told}");
}

/// The original's gate is made with numbers that may be wrong; here they are no numbers of a gate by
/// then: unsigned, a limit of slots is never 0, and none is open at first.
#[test]
fn case_35_numbers_that_no_gate_can_have_are_turned_away_where_they_come_in() {
    for wrong in [
        "-1",
        "-2147483648",
        "1.5",
        "",
        " ",
        "ten",
        "99999999999999999999",
    ] {
        let told = read_with(&[&GOOD[..], &[("PENSTOCK_WAITING", wrong)]].concat(), &[]);
        let told = told.unwrap_err().to_string();
        assert!(
            told.contains(&format!("PENSTOCK_WAITING={wrong:?}")),
            "{told}"
        );
    }
    let limits = penstock_gate::Limits {
        waiting: read(&[("PENSTOCK_WAITING", "0")]).options.waiting,
    };
    let slots = penstock_types::Slots::from_concurrency(1);
    let gate = penstock_gate::Gate::<()>::new(slots, limits, 0);
    assert!(gate.try_admit().is_none() && !gate.has_places());
}

#[test]
fn the_domain_is_the_variable_or_what_the_resolver_searches() {
    let table = [
        ("", "", "cluster.local"),
        (
            "",
            "nameserver 10.0.0.2\nsearch ns.svc.a.b svc.a.b. a.b\n",
            "a.b",
        ),
        ("", "search example.com\n", "cluster.local"),
        ("own", "search svc.a.b", "own"),
    ];
    for (variable, resolv_conf, want) in table {
        let get = |name: &str| {
            let set = GOOD.iter().find(|(known, _)| *known == name);
            let set = set.map(|(_, value)| (*value).to_owned());
            let domain =
                (name == "CLUSTER_DOMAIN" && !variable.is_empty()).then(|| variable.into());
            set.or(domain)
        };
        let around = Surroundings {
            resolv_conf,
            ..AROUND
        };
        let settings = Settings::read(get, &Flags::default(), around).unwrap();
        assert_eq!(settings.options.cluster_domain, want);
    }
}

#[test]
fn compatible_defaults_are_the_originals_and_what_is_set_wins() {
    let compatible = ("PENSTOCK_COMPATIBLE", "true");
    let settings = read(&[compatible]);
    assert_eq!(settings.drain.lame_duck, Duration::from_secs(45));
    assert_eq!(settings.options.waiting, usize::MAX);
    assert_eq!(settings.options.first_window, None);
    assert_eq!(settings.options.liveness_path, None);
    let settings = read(&[
        compatible,
        ("PENSTOCK_LAME_DUCK_MS", "1000"),
        ("PENSTOCK_WAITING", "5"),
    ]);
    assert_eq!(settings.drain.lame_duck, Duration::from_secs(1));
    assert_eq!(settings.options.waiting, 5);
}

#[test]
fn what_may_be_chosen_is_taken_over() {
    let settings = read(&[
        ("PENSTOCK_AUTOSCALER", "ws://10.0.0.9:8080/"),
        ("PENSTOCK_WAITING_BYTES", "64Mi"),
        ("PENSTOCK_CONNECTIONS", "50000"),
        ("PENSTOCK_OVERFLOW_STATUS", "429"),
        ("PENSTOCK_FIRST_WINDOW", "0"),
        ("PENSTOCK_LIMIT_HEADER", "X-Limit-Ms"),
        ("PENSTOCK_SERVER_TIMING", "T"),
        ("PENSTOCK_WAITING_PAGE", "2s"),
        ("PENSTOCK_LIVENESS_PATH", ""),
        ("PENSTOCK_METRICS_PORT", "0"),
        ("OTEL_TRACES_SAMPLER", "always_on"),
    ]);
    assert_eq!(settings.autoscaler.as_deref(), Some("10.0.0.9:8080"));
    assert_eq!(settings.options.waiting_bytes, 64 << 20);
    assert_eq!(settings.options.connections, Some(50_000));
    assert_eq!(settings.options.overflow, Overflow::TooMany);
    assert_eq!(settings.options.first_window, None);
    let header = settings.options.limit_header.unwrap();
    assert_eq!(header, "x-limit-ms");
    assert!(settings.options.server_timing);
    assert_eq!(settings.options.waiting_page, Some(Duration::from_secs(2)));
    assert_eq!(settings.options.liveness_path, None);
    assert_eq!(settings.ports.metrics, 0);
    assert_eq!(settings.otel["OTEL_TRACES_SAMPLER"], "always_on");
    assert_eq!(read(&[("PENSTOCK_AUTOSCALER", "none")]).autoscaler, None);
}

#[test]
fn flags_win_over_variables_in_all_of_gos_spellings() {
    let set = [&GOOD[..], &[("KUBECONFIG", "/a"), ("KUBE_API_QPS", "1")]].concat();
    let arguments = [
        "-kubeconfig=/b",
        "--kube-api-qps",
        "2.5",
        "-server",
        "https://s",
    ];
    let api = read_with(&set, &arguments).unwrap().api;
    assert_eq!(api.kubeconfig.as_deref(), Some("/b"));
    assert_eq!(api.qps, Some(2.5));
    assert_eq!(api.server.as_deref(), Some("https://s"));
    let bad = Flags::read(["-v=2", "now", "-cluster"].map(str::to_owned)).unwrap_err();
    assert_eq!(bad.to_string().lines().count(), 3, "{bad}");
}
