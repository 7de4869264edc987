//! The server: its socket, its objects, and what a test does with it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::sleep;

use super::call::Call;
use super::deletes::{self, Deletion};
use super::faults::{Fault, Matcher};
use super::kinds::Kind;
use super::object::text;
use super::real::{self, Real};
use super::rules::Rules;
use super::serve::serve;
use super::shared::{Shared, unpoisoned};
use super::store::{Key, Store};
use super::write::{self, Writer};

/// Between two looks at a real cluster.
const LOOK: Duration = Duration::from_millis(20);

/// An API server on a port of the loopback.
#[derive(Debug)]
pub struct ApiServer {
    addr: SocketAddr,
    shared: Arc<Shared>,
    accepting: tokio::sync::Mutex<Option<JoinHandle<()>>>,
    /// Bound and not listening: keeps the port while the server is away.
    _holder: TcpSocket,
}

impl ApiServer {
    /// Starts one that knows Kubernetes' and Knative's kinds, allows everybody everything, and
    /// has the namespaces `default`, `kube-system` and `knative-serving`.
    ///
    /// # Panics
    ///
    /// If the loopback has no free port.
    pub async fn start() -> Self {
        Self::with(Shared::new(None)).await
    }

    /// The same with the objects of the cluster that `KUBECONFIG` names, in namespaces of its own, if
    /// `PENSTOCK_TEST_KUBE=1`.
    ///
    /// # Panics
    ///
    /// If the cluster cannot be reached by `kubectl`.
    pub async fn start_as_asked() -> Self {
        let real = real::is_asked_for().then(Real::start);
        Self::with(Shared::new(real)).await
    }

    async fn with(shared: Shared) -> Self {
        let holder = socket(SocketAddr::from(([127, 0, 0, 1], 0)));
        let addr = holder.local_addr().expect("a bound socket");
        let shared = Arc::new(shared);
        let server = Self {
            addr,
            shared,
            accepting: tokio::sync::Mutex::new(None),
            _holder: holder,
        };
        server.listen_again().await;
        server
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The same as a client's configuration wants it: `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// A kubeconfig file that leads here, as YAML.
    pub fn kubeconfig(&self) -> String {
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: test\n\
             clusters:\n- name: test\n  cluster:\n    server: {}\n\
             contexts:\n- name: test\n  context:\n    cluster: test\n    user: test\n    namespace: default\n\
             users:\n- name: test\n  user: {{}}\n",
            self.url()
        )
    }

    /// Ends all connections and takes no more: they are refused. The objects stay.
    pub async fn stop_listening(&self) {
        if let Some(accepting) = self.accepting.lock().await.take() {
            accepting.abort();
            // An error says that it was aborted, which it was.
            let _ = accepting.await;
        }
    }

    /// Takes connections again, at the same port.
    ///
    /// # Panics
    ///
    /// If the port cannot be listened at, though it is kept.
    pub async fn listen_again(&self) {
        let mut accepting = self.accepting.lock().await;
        if accepting.is_some() {
            return;
        }
        let listener = socket(self.addr).listen(1024);
        let listener = listener.expect("the port that is kept");
        *accepting = Some(tokio::spawn(accept(listener, Arc::clone(&self.shared))));
    }

    /// Spoils the next `times` requests that match; [`usize::MAX`] for all of them, until
    /// [`heal`](Self::heal). Of several faults that match, the first planned comes first.
    pub fn fault(&self, matcher: Matcher, fault: Fault, times: usize) {
        unpoisoned(&self.shared.faults).plan(matcher, fault, times);
    }

    /// Forgets all faults that are still due.
    pub fn heal(&self) {
        unpoisoned(&self.shared.faults).forget();
    }

    /// How often faults are still due: 0 once all have happened.
    pub fn faults_left(&self) -> usize {
        unpoisoned(&self.shared.faults).left()
    }

    /// Forgets what happened so far: who asks for changes since before now is told 410.
    pub fn compact(&self) {
        self.shared.change(|store| {
            store.tick(); // as other objects of the cluster would have
            store.compact();
        });
    }

    /// Makes every open watch that allows bookmarks tell one.
    pub fn bookmark(&self) {
        self.shared.bookmark.send_modify(|count| *count += 1);
    }

    /// Cuts every open watch off, in the middle of its stream.
    pub fn cut_watches(&self) {
        self.shared.cut.send_modify(|count| *count += 1);
    }

    /// Makes all watches silent, open ones and new ones, as a network does that drops packets;
    /// or lets them tell what they kept back.
    pub fn silence_watches(&self, silent: bool) {
        self.shared.silent.send_replace(silent);
    }

    /// Watches that are open now.
    pub fn open_watches(&self) -> usize {
        *self.shared.open_watches.borrow()
    }

    /// Waits until exactly this many watches are open.
    pub async fn until_open_watches(&self, watches: usize) {
        let mut open = self.shared.open_watches.subscribe();
        open.wait_for(|open| *open == watches)
            .await
            .expect("the server lives");
    }

    /// From now on, refuses with 403 what the ClusterRoles and Roles in these YAML documents do
    /// not allow. Everybody is meant who has no rules by [`authorize_token`](Self::authorize_token).
    ///
    /// # Panics
    ///
    /// If it is not YAML.
    pub fn authorize(&self, yaml: &str) {
        self.authorize_token("", Rules::parse(yaml));
    }

    /// The same for whoever sends this bearer token.
    pub fn authorize_token(&self, token: &str, rules: Rules) {
        if let Some(real) = &self.shared.real {
            real.grant(token, &rules);
        }
        unpoisoned(&self.shared.rules).insert(token.to_owned(), rules);
    }

    /// Every request so far, also refused ones.
    pub fn calls(&self) -> Vec<Call> {
        self.shared.calls.borrow().clone()
    }

    /// How many requests so far that this holds for.
    pub fn count_calls(&self, which: impl Fn(&Call) -> bool) -> usize {
        self.shared
            .calls
            .borrow()
            .iter()
            .filter(|call| which(call))
            .count()
    }

    /// Forgets the requests so far.
    pub fn forget_calls(&self) {
        self.shared.calls.send_replace(Vec::new());
    }

    /// Waits for a request that this holds for, also one that came before; the first.
    pub async fn until_called(&self, which: impl Fn(&Call) -> bool) -> Call {
        let mut calls = self.shared.calls.subscribe();
        let calls = calls
            .wait_for(|calls| calls.iter().any(&which))
            .await
            .expect("the server lives");
        let call = calls.iter().find(|call| which(call));
        call.cloned().expect("waited for it")
    }

    /// Serves one more kind.
    pub fn know(&self, kind: &'static Kind) {
        self.shared.change(|store| store.know(kind));
    }

    /// Serves a group no more, as if its definitions were not installed.
    pub fn forget_group(&self, group: &str) {
        unpoisoned(&self.shared.forgotten).push(group.to_owned());
        self.shared.change(|store| {
            super::crds::uninstall(store, group);
            store.forget_group(group);
        });
    }

    /// Makes an object what is given, with its status, whatever is there; its namespace is made
    /// if it is missing, and is `default` if none is given. Answers what is kept.
    ///
    /// # Panics
    ///
    /// If `apiVersion` and `kind` are of no kind that is known, or it has no name.
    pub fn put(&self, object: Value) -> Arc<Value> {
        self.shared.change(|store| {
            let group = text(&object, "/apiVersion").rsplit_once('/');
            let group = group.map_or("", |(group, _)| group);
            let kind = text(&object, "/kind");
            let is_it = |known: &&&'static Kind| known.kind == kind && known.group == group;
            let kind = *store.kinds().iter().find(is_it).expect("a known kind");
            let name = text(&object, "/metadata/name").to_owned();
            assert!(!name.is_empty(), "no metadata.name in {object}");
            let namespace = match text(&object, "/metadata/namespace") {
                _ if !kind.namespaced => "",
                "" => "default",
                namespace => namespace,
            };
            let namespace = namespace.to_owned();
            if let Some(real) = &self.shared.real {
                return Arc::new(real.put(kind, &namespace, &name, object));
            }
            let key = Key {
                kind,
                namespace,
                name,
            };
            write::put(store, key, object, &direct())
        })
    }

    /// Changes an object by hand, if it is there; whether it is.
    ///
    /// # Panics
    ///
    /// If the kind is not known.
    pub fn edit(
        &self,
        kind: &str,
        namespace: &str,
        name: &str,
        edit: impl FnOnce(&mut Value),
    ) -> bool {
        if self.shared.real.is_some() {
            let Some(object) = self.get(kind, namespace, name) else {
                return false;
            };
            let mut object = Value::clone(&object);
            edit(&mut object);
            self.put(object);
            return true;
        }
        self.shared.change(|store| {
            let key = key(store, kind, namespace, name);
            let Some(object) = store.object(&key) else {
                return false;
            };
            let mut object = Value::clone(object);
            edit(&mut object);
            write::put(store, key, object, &direct());
            true
        })
    }

    /// An object as it is; `kind` is `Deployment` or, where two groups have one of that name,
    /// `Service.serving.knative.dev`. The namespace is empty outside namespaces.
    ///
    /// # Panics
    ///
    /// If the kind is not known, here and below.
    pub fn get(&self, kind: &str, namespace: &str, name: &str) -> Option<Arc<Value>> {
        let store = self.shared.store();
        if let Some(real) = &self.shared.real {
            let found = real.get(known(&store, kind), namespace, name);
            return found.map(Arc::new);
        }
        store.object(&key(&store, kind, namespace, name)).cloned()
    }

    /// All of a kind, by namespace and name; in one namespace, or everywhere if it is empty.
    pub fn list(&self, kind: &str, namespace: &str) -> Vec<Arc<Value>> {
        let store = self.shared.store();
        let kind = known(&store, kind);
        if let Some(real) = &self.shared.real {
            return real
                .list(kind, namespace)
                .into_iter()
                .map(Arc::new)
                .collect();
        }
        let objects = store.objects(kind, namespace);
        objects.map(|(_, object)| Arc::clone(object)).collect()
    }

    /// Deletes an object as a client would, in the background; whether it was there.
    pub fn delete(&self, kind: &str, namespace: &str, name: &str) -> bool {
        if let Some(real) = &self.shared.real {
            let kind = known(&self.shared.store(), kind);
            return real.delete(kind, namespace, name, false);
        }
        self.shared.change(|store| {
            let key = key(store, kind, namespace, name);
            deletes::delete(store, &key, &Deletion::default()).is_ok()
        })
    }

    /// Deletes an object at once, whatever its grace period; one with finalizers still waits for
    /// them. Whether it was there.
    pub fn delete_now(&self, kind: &str, namespace: &str, name: &str) -> bool {
        if let Some(real) = &self.shared.real {
            let kind = known(&self.shared.store(), kind);
            return real.delete(kind, namespace, name, true);
        }
        self.shared.change(|store| {
            let key = key(store, kind, namespace, name);
            let now = Deletion {
                grace: Some(0),
                ..Deletion::default()
            };
            deletes::delete(store, &key, &now).is_ok()
        })
    }

    /// Waits until an object is there and this holds for it; what it is then.
    pub async fn wait_until(
        &self,
        kind: &str,
        namespace: &str,
        name: &str,
        holds: impl Fn(&Value) -> bool,
    ) -> Arc<Value> {
        let mut versions = self.shared.versions.subscribe();
        loop {
            versions.mark_unchanged();
            if let Some(object) = self.get(kind, namespace, name).filter(|it| holds(it)) {
                return object;
            }
            self.something_changed(&mut versions).await;
        }
    }

    /// Waits until an object is not there.
    pub async fn wait_until_gone(&self, kind: &str, namespace: &str, name: &str) {
        let mut versions = self.shared.versions.subscribe();
        loop {
            versions.mark_unchanged();
            if self.get(kind, namespace, name).is_none() {
                return;
            }
            self.something_changed(&mut versions).await;
        }
    }

    async fn something_changed(&self, versions: &mut watch::Receiver<u64>) {
        if self.shared.real.is_some() {
            return sleep(LOOK).await; // nobody tells
        }
        versions.changed().await.expect("the server lives");
    }

    /// The newest resourceVersion.
    pub fn version(&self) -> u64 {
        self.shared.store().version()
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        if let Some(accepting) = self.accepting.get_mut().take() {
            accepting.abort();
        }
    }
}

/// What a test does itself is done under this name.
fn direct() -> Writer {
    Writer {
        manager: "test".to_owned(),
        dry_run: false,
    }
}

fn known(store: &Store, kind: &str) -> &'static Kind {
    let found = store.kind_named(kind);
    found.unwrap_or_else(|| panic!("no kind {kind:?} is known"))
}

fn key(store: &Store, kind: &str, namespace: &str, name: &str) -> Key {
    let kind = known(store, kind);
    Key {
        kind,
        namespace: if kind.namespaced {
            namespace.to_owned()
        } else {
            String::new()
        },
        name: name.to_owned(),
    }
}

/// Bound, and able to share its port with the one that keeps it.
fn socket(addr: SocketAddr) -> TcpSocket {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_reuseaddr(true).expect("an option of sockets");
    socket.set_reuseport(true).expect("an option of sockets");
    socket.bind(addr).expect("a port of the loopback");
    socket
}

/// Serves connections; they end with this.
async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { continue };
                let _ = stream.set_nodelay(true);
                let shared = Arc::clone(&shared);
                connections.spawn(async move {
                    let service = service_fn(move |request| serve(Arc::clone(&shared), request));
                    let connection =
                        http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                    // A client that leaves, and a connection cut by script, end in an error.
                    let _ = connection.await;
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}
