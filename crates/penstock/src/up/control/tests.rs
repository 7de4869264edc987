//! What changed files and pods make of what is deployed.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Instant as StdInstant;

use penstock_cluster::{Pod, Readiness, Revision};
use penstock_types::{Protocol, Slots, Timeouts};

use super::super::images::Images;
use super::*;
use crate::up::folder::{Folder, HELLO};

fn id(name: &str) -> RevisionId {
    RevisionId::new("default", name)
}

/// Control over `hello.yaml` and `scale.yaml` in a folder.
fn control(folder: &Folder) -> Control {
    let files = [folder.write("hello.yaml", HELLO)];
    let config = folder.write("scale.yaml", "stable-window: 60s");
    let images = Images::new(Vec::new(), PathBuf::from("/bin/penstock"));
    let mut input = Input::new(&files, Some(&config), images);
    let wanted = input.read().unwrap();
    Control::new(input, &wanted, "example.com".to_owned()).unwrap()
}

fn changed() -> String {
    format!("{HELLO}          env: [{{name: TARGET, value: you}}]\n")
}

/// Who gets the requests of the service.
fn target(control: &Control) -> RevisionId {
    let hosts = control.deployed.hosts(&control.domain);
    hosts[0].targets[0].0.clone()
}

/// A picture in which `id` has one pod.
fn with_pod(id: &RevisionId, phase: Phase) -> Snapshot {
    let pod = Pod {
        name: "pod-a".into(),
        addr: ([127, 0, 0, 1], 4000).into(),
        phase,
        asked: StdInstant::now(),
        started: None,
        ready: None,
    };
    let revision = Revision {
        id: id.clone(),
        service: "hello".into(),
        configuration: "hello".into(),
        annotations: Arc::default(),
        slots: Slots::Unlimited,
        timeouts: Timeouts::default(),
        protocol: Protocol::Http1,
        reachability: Reachability::Unknown,
        wanted: 1,
        pods: [pod].into(),
        unplaced: 0,
        position: None,
        readiness: Readiness::Trusted,
        queue_proxy: true,
        standing: None,
        trouble: None,
    };
    Snapshot {
        revisions: [(id.clone(), Arc::new(revision))].into(),
        routes: Arc::default(),
    }
}

#[test]
fn traffic_moves_to_a_new_revision_when_a_pod_of_it_is_ready() {
    let folder = Folder::new();
    let mut control = control(&folder);
    let (first, second) = (id("hello-00001"), id("hello-00002"));
    assert!(
        !control.see(&with_pod(&first, Phase::Ready)),
        "it has it all"
    );
    folder.write("hello.yaml", changed());
    assert!(control.reload());
    assert_eq!(target(&control), first);
    assert!(!control.see(&with_pod(&second, Phase::Starting)));
    assert_eq!(target(&control), first);
    assert!(control.see(&with_pod(&second, Phase::Ready)));
    assert_eq!(target(&control), second);
    assert!(
        !control.see(&with_pod(&second, Phase::Ready)),
        "it is known"
    );
}

#[test]
fn a_file_with_a_mistake_changes_nothing() {
    let folder = Folder::new();
    let mut control = control(&folder);
    let config = control.config();
    folder.write("scale.yaml", "stable-window: 30s");
    folder.write("hello.yaml", changed().replace("image:", "imgae:"));
    assert!(!control.reload());
    assert_eq!(control.deployed.revisions().count(), 1);
    assert!(!config.has_changed().unwrap(), "not even the good half");
    folder.write("hello.yaml", changed());
    assert!(control.reload());
    assert_eq!(control.deployed.revisions().count(), 2);
    assert_eq!(config.borrow().stable_window, Duration::from_secs(30));
}

#[test]
fn only_hosts_that_are_new_are_announced() {
    let folder = Folder::new();
    let mut control = control(&folder);
    let announced = Rc::new(RefCell::new(Vec::new()));
    let told = Rc::clone(&announced);
    control.announce(move |new| {
        let hosts = new.iter().map(|host| host.host.clone());
        told.borrow_mut().extend(hosts);
    });
    assert!(control.reload());
    assert!(announced.borrow().is_empty());
    let other = HELLO.replace("name: hello", "name: other");
    folder.write("hello.yaml", format!("{}---\n{other}", changed()));
    assert!(control.reload());
    assert_eq!(*announced.borrow(), ["other.default.example.com"]);
}

#[tokio::test(start_paused = true)]
async fn a_candidate_is_given_up_at_its_deadline_and_tried_again_when_its_file_is_saved() {
    let folder = Folder::new();
    let mut control = control(&folder);
    control.wait_for_candidates();
    assert!(control.deadlines.is_empty(), "the first is not waited for");
    folder.write("hello.yaml", changed());
    let start = Instant::now();
    assert!(control.reload());
    control.wait_for_candidates();
    let second = id("hello-00002");
    let deadline = start + Duration::from_secs(600);
    assert_eq!(control.deadlines.get(&second), Some(&deadline));
    assert!(!control.give_up(deadline - Duration::from_secs(1)));
    assert!(control.give_up(deadline));
    assert!(control.deployed.candidates().is_empty() && control.deadlines.is_empty());
    assert_eq!(target(&control), id("hello-00001"));

    assert!(control.reload());
    control.wait_for_candidates();
    assert!(control.deadlines.contains_key(&second));
}

#[test]
fn one_line_says_what_a_changed_file_made_of_it() {
    let none = Changes::default();
    assert_eq!(summary(&none, false, false, &[]), "nothing changed");
    let changes = Changes {
        created: vec![id("hello-00002")],
        removed: vec![id("old-00001"), id("old-00002")],
    };
    assert_eq!(
        summary(&changes, true, true, &[id("hello-00002")]),
        "new default/hello-00002; gone default/old-00001, default/old-00002; routes changed; \
         the autoscaler has new settings; traffic waits for default/hello-00002 to be ready"
    );
}
