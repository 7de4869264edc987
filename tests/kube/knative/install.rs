//! A Knative install in which programs of ours run: its API server, controllers, ConfigMaps,
//! Services and rights, with activators and autoscalers as processes.
//!
//! What they are told beyond a stock install's environment is only where they are: a kubeconfig in
//! place of a service account, an address of the loopback to listen at, and the way to Services,
//! whose names nobody resolves here.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use penstock_testkit::client::Answer;
use penstock_testkit::kube::{ApiServer, Call, Controllers, NewPod, Rules, Running};
use serde_json::Value;

use super::objects::{
    self, ACTIVATOR_RULES, AUTOSCALER_RULES, Revision, SYSTEM, component, config_map,
};
use super::pod;
use crate::harness::{Folder, Gateway, PATIENCE, until};
use crate::kube::program::{Program, address};
use crate::kube::service::{self, Proxy, Service, VirtualIp, endpoints};

/// Shortest windows that Knative allows.
pub(super) const QUICK: [(&str, &str); 2] = [
    ("stable-window", "6s"),
    ("scale-to-zero-grace-period", "3s"),
];

/// The install.
pub(super) struct Install {
    pub(super) server: Arc<ApiServer>,
    /// The address of the Service `autoscaler`.
    pub(super) autoscaler: VirtualIp,
    folder: Folder,
    proxy: Proxy,
    _controllers: Controllers,
}

/// An activator or an autoscaler.
pub(super) struct Component {
    pub(super) program: Program,
    pub(super) ip: IpAddr,
    pub(super) pod: String,
}

impl Install {
    /// Without any of the three programs, with these settings of `config-autoscaler`.
    pub(super) async fn new(autoscaler: &[(&str, &str)]) -> Self {
        Self::with_pods(autoscaler, pod::start).await
    }

    /// The same with pods of another kind.
    pub(super) async fn with_pods<F, R>(autoscaler: &[(&str, &str)], start: F) -> Self
    where
        F: Fn(NewPod) -> R + Send + Sync + 'static,
        R: Future<Output = Running> + Send + 'static,
    {
        let server = Arc::new(ApiServer::start().await);
        for (token, rules) in [
            ("activator", ACTIVATOR_RULES),
            ("controller", AUTOSCALER_RULES),
        ] {
            server.authorize_token(token, Rules::parse(rules));
        }
        for name in [
            "config-deployment",
            "config-features",
            "config-leader-election",
            "config-logging",
            "config-network",
            "config-observability",
        ] {
            server.put(config_map(name, &[]));
        }
        server.put(config_map("config-autoscaler", autoscaler));
        let of_pods = [("http-metrics", 9090, 9090), ("http-profiling", 8008, 8008)];
        let mut ports = of_pods.to_vec();
        ports.push(("http", 8080, 8080));
        server.put(objects::service("autoscaler", "autoscaler", &ports));
        let mut ports = of_pods.to_vec();
        ports.extend([
            ("http", 80, 8012),
            ("http2", 81, 8013),
            ("https", 443, 8112),
        ]);
        server.put(objects::service("activator-service", "activator", &ports));
        let controllers = Controllers::setup(&server).on_start(start).start();
        let service = Service::of(&server, SYSTEM, "autoscaler");
        Self {
            autoscaler: VirtualIp::start(service).await,
            proxy: Proxy::start(&server).await,
            folder: Folder::new(),
            server,
            _controllers: controllers,
        }
    }

    /// With one autoscaler and one activator of ours.
    pub(super) async fn with_both() -> (Self, Component, Component) {
        let install = Self::new(&QUICK).await;
        let autoscaler = install.autoscaler().await;
        let activator = install.activator().await;
        (install, activator, autoscaler)
    }

    /// Starts an autoscaler, and waits until it takes statistics.
    pub(super) async fn autoscaler(&self) -> Component {
        let mut component = self.start("autoscaler", "controller", |variables| {
            variables.push(("PENSTOCK_SERVICES", self.proxy.addr().to_string()));
        });
        let open = [(component.ip, 8080).into()];
        component.program.until_open(&open).await;
        self.enter("autoscaler", &component);
        component
    }

    /// Starts an activator, and waits until its readiness probe passes.
    pub(super) async fn activator(&self) -> Component {
        let mut component = self.start("activator", "activator", |variables| {
            let autoscaler = self.autoscaler.addr().to_string();
            variables.push(("GOGC", "500".to_owned()));
            variables.push(("PENSTOCK_AUTOSCALER", autoscaler));
            variables.push(("PENSTOCK_LAME_DUCK_MS", "500".to_owned()));
            variables.push(("PENSTOCK_WORKERS", "1".to_owned()));
        });
        let addr: SocketAddr = (component.ip, 8012).into();
        component.program.until_open(&[addr]).await;
        until("the activator is ready", async || {
            let mut client = penstock_testkit::client::RawClient::connect(addr).await;
            let probe = format!(
                "GET / HTTP/1.1\r\nHost: {addr}\r\nUser-Agent: kube-probe/1.34\r\nConnection: close\r\n\r\n"
            );
            client.send(probe).await;
            let answer = client.read_to_close().await;
            answer.starts_with(b"HTTP/1.1 200").then_some(())
        })
        .await;
        self.enter("activator", &component);
        component
    }

    fn start(
        &self,
        app: &'static str,
        token: &str,
        more: impl FnOnce(&mut Vec<(&'static str, String)>),
    ) -> Component {
        let ip = address();
        let config = self.server.kubeconfig();
        let config = config.replace("user: {}", &format!("user: {{token: {token}}}"));
        let config = self.folder.write(&format!("{token}.yaml"), &config);
        let pod = format!("{app}-{}", ip.to_string().replace('.', "-"));
        let mut variables = vec![
            ("POD_NAME", pod.clone()),
            ("POD_IP", ip.to_string()),
            ("SYSTEM_NAMESPACE", SYSTEM.to_owned()),
            ("CONFIG_LOGGING_NAME", "config-logging".to_owned()),
            (
                "CONFIG_OBSERVABILITY_NAME",
                "config-observability".to_owned(),
            ),
            ("KUBECONFIG", config.display().to_string()),
            ("PENSTOCK_LISTEN_HOST", ip.to_string()),
            ("METRICS_PROMETHEUS_HOST", ip.to_string()),
        ];
        more(&mut variables);
        let program = Program::start(app, &variables);
        Component { program, ip, pod }
    }

    /// The pod is ready.
    fn enter(&self, app: &str, program: &Component) {
        self.server.put(component(app, &program.pod, program.ip));
    }

    /// The pod is to end: it leaves its Service.
    pub(super) fn leave(&self, component: &Component) {
        self.server.delete_now("Pod", SYSTEM, &component.pod);
    }

    /// Makes a revision, as the controller does.
    pub(super) fn deploy(&self, revision: &Revision) {
        for object in revision.objects() {
            self.server.put(object);
        }
    }

    /// The public Service of a revision.
    pub(super) fn service(&self, revision: &Revision) -> Service {
        Service::of(&self.server, "default", revision.name)
    }

    /// The answer to a GET, by the public Service.
    pub(super) async fn get(&self, revision: &Revision) -> Answer {
        let gateway = Gateway(self.service(revision).next().expect("an endpoint"));
        service::get(gateway, &revision.host()).await
    }

    /// Waits until the public Service leads to these addresses alone.
    pub(super) async fn until_leads_to(
        &self,
        revision: &Revision,
        what: &str,
        is_it: impl Fn(&[SocketAddr]) -> bool,
    ) {
        let name = revision.name;
        until(&format!("{name} leads to {what}"), async || {
            let now = endpoints(&self.server, "default", name);
            (!now.is_empty() && is_it(&now)).then_some(())
        })
        .await;
    }

    /// Waits until an object of a revision is so.
    pub(super) async fn until_is(
        &self,
        kind: &str,
        name: &str,
        what: &str,
        is_so: impl Fn(&Value) -> bool,
    ) -> Arc<Value> {
        let waiting = self.server.wait_until(kind, "default", name, is_so);
        match tokio::time::timeout(PATIENCE, waiting).await {
            Ok(object) => object,
            Err(_) => panic!(
                "{kind} {name} is not {what}: {:#}",
                self.server
                    .get(kind, "default", name)
                    .as_deref()
                    .unwrap_or(&Value::Null)
            ),
        }
    }

    /// Waits until the PodAutoscaler stands so.
    pub(super) async fn until_stands(&self, revision: &Revision, wanted: &Standing) {
        let what = format!("{wanted:?}");
        let is_so = |pa: &Value| Standing::of(pa).as_ref() == Some(wanted);
        self.until_is("PodAutoscaler", revision.name, &what, is_so)
            .await;
    }

    /// Waits until the PodAutoscaler says that nobody asks. How many pods are wanted it may leave
    /// open (-1) as long as nothing was ever counted.
    pub(super) async fn until_idle(&self, revision: &Revision) {
        let is_so = |pa: &Value| {
            Standing::of(pa).is_some_and(|it| {
                it.active == ("False".to_owned(), "NoTraffic".to_owned())
                    && it.initialized == "True"
                    && it.scale.0 <= 0
                    && it.scale.1 == 0
            })
        };
        self.until_is("PodAutoscaler", revision.name, "idle", is_so)
            .await;
    }

    /// Waits until a Deployment has this many pods, all of them ready, and no others.
    pub(super) async fn until_pods(&self, revision: &Revision, holds: impl Fn(i64) -> bool) {
        let is_so = |it: &Value| {
            let count = |field: &str| it["status"][field].as_i64().unwrap_or(0);
            let replicas = it["spec"]["replicas"].as_i64().unwrap_or(0);
            holds(replicas)
                && replicas == count("readyReplicas")
                && count("replicas") == count("readyReplicas")
        };
        let name = format!("{}-deployment", revision.name);
        self.until_is("Deployment", &name, "of that size", is_so)
            .await;
    }

    /// The calls of a program, in order.
    pub(super) fn calls_of(&self, token: &str) -> Vec<Call> {
        let mut calls = self.server.calls();
        calls.retain(|call| call.token == token);
        calls
    }

    /// Nothing was asked for that a stock install does not grant.
    pub(super) fn expect_allowed(&self) {
        for (token, rules) in [
            ("activator", ACTIVATOR_RULES),
            ("controller", AUTOSCALER_RULES),
        ] {
            let rules = Rules::parse(rules);
            for call in self.calls_of(token) {
                assert!(
                    call.resource.is_empty() || rules.allow(&call),
                    "{token} may not {} {} {}/{}",
                    call.verb,
                    call.resource_path(),
                    call.namespace,
                    call.name
                );
            }
        }
    }
}

impl Drop for Install {
    /// For the reader of a failed test: all that was written.
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        let calls = self.server.calls();
        for call in &calls {
            if matches!(call.verb, "get" | "list" | "watch") {
                continue;
            }
            let said = match Standing::of(&call.body) {
                Some(standing) => format!("{standing:?}"),
                None => call.body.get("spec").unwrap_or(&call.body).to_string(),
            };
            eprintln!(
                "{:9.3} {} {} {} {}: {said}",
                (call.at - calls[0].at).as_secs_f64(),
                call.token,
                call.verb,
                call.resource_path(),
                call.name,
            );
        }
    }
}

/// How a PodAutoscaler says that its revision stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    /// Status and reason of the condition `Active`.
    pub(super) active: (String, String),
    /// Status of `ScaleTargetInitialized`.
    pub(super) initialized: String,
    /// Status of `SKSReady`.
    pub(super) path: String,
    /// Status of `Ready`.
    pub(super) ready: String,
    /// `desiredScale` and `actualScale`.
    pub(super) scale: (i64, i64),
}

impl Standing {
    /// With the reason of `Active` after a colon, where it has one.
    pub(super) fn new(
        active: &str,
        [initialized, path, ready]: [&str; 3],
        scale: (i64, i64),
    ) -> Self {
        let (status, reason) = active.split_once(':').unwrap_or((active, ""));
        Self {
            active: (status.to_owned(), reason.to_owned()),
            initialized: initialized.to_owned(),
            path: path.to_owned(),
            ready: ready.to_owned(),
            scale,
        }
    }

    /// As a PodAutoscaler says it; `None` while it does not.
    pub(super) fn of(pa: &Value) -> Option<Self> {
        let condition = |kind: &str| {
            let conditions = pa["status"]["conditions"].as_array()?;
            conditions.iter().find(|it| it["type"] == kind)
        };
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let status = |kind: &str| Some(text(&condition(kind)?["status"]));
        let scale = |field: &str| pa["status"][field].as_i64();
        Some(Self {
            active: (status("Active")?, text(&condition("Active")?["reason"])),
            initialized: status("ScaleTargetInitialized")?,
            path: status("SKSReady")?,
            ready: status("Ready")?,
            scale: (scale("desiredScale")?, scale("actualScale")?),
        })
    }
}
