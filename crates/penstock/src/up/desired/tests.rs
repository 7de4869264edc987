//! What the local cluster is told of each revision.

use std::time::Duration;

use penstock_serving::{AnnotationRules, Source};

use super::*;

fn service(target: &str, annotations: &str, traffic: &str) -> String {
    format!(
        "\
apiVersion: serving.knative.dev/v1
kind: Service
metadata: {{name: hello}}
spec:
  template:
    metadata: {{annotations: {{{annotations}}}}}
    spec:
      containerConcurrency: 3
      timeoutSeconds: 20
      containers:
        - image: helloworld-go
          args: [--fast]
          env: [{{name: TARGET, value: {target}}}]
{traffic}"
    )
}

fn apply(deployed: &mut Deployed, text: &str) {
    let source = Source {
        name: "hello.yaml",
        text,
    };
    let rules = AnnotationRules {
        check: &|_| Vec::new(),
        known: &[],
    };
    let manifests = penstock_serving::read(&[source], rules).unwrap();
    deployed.apply(&manifests).unwrap();
}

fn workloads(deployed: &Deployed) -> Vec<Workload> {
    let images = Images::new(Vec::new(), PathBuf::from("/bin/penstock"));
    desired(deployed, &images, Arc::default()).workloads
}

fn id(name: &str) -> RevisionId {
    RevisionId::new("default", name)
}

#[test]
fn a_workload_is_what_its_manifest_says() {
    let mut deployed = Deployed::default();
    apply(&mut deployed, &service("you", "", ""));
    let [workload] = workloads(&deployed).try_into().unwrap();
    assert_eq!(workload.revision, id("hello-00001"));
    assert_eq!(&*workload.service, "hello");
    assert_eq!(&*workload.configuration, "hello");
    assert_eq!(workload.command, ["/bin/penstock", "sample", "hello"]);
    assert_eq!(workload.args, ["--fast"]);
    assert_eq!(workload.env, [("TARGET".to_owned(), "you".to_owned())]);
    assert_eq!(workload.slots.as_concurrency(), 3);
    assert_eq!(workload.grace, Duration::from_secs(20));
    assert_eq!(workload.reachability, Reachability::Reachable);
    assert!(workload.annotations.is_empty(), "the first starts at zero");
}

#[test]
fn a_candidate_has_to_show_itself_and_then_is_as_its_manifest_says() {
    let table = [
        ("", "1"),
        ("autoscaling.knative.dev/initial-scale: '3'", "3"),
        ("autoscaling.knative.dev/minScale: '2'", "2"),
        (
            "autoscaling.knative.dev/initialScale: '9', autoscaling.knative.dev/max-scale: '4'",
            "4",
        ),
    ];
    let key = "autoscaling.knative.dev/min-scale";
    for (annotations, least) in table {
        let mut deployed = Deployed::default();
        apply(&mut deployed, &service("you", "", ""));
        apply(&mut deployed, &service("them", annotations, ""));
        let [first, second] = workloads(&deployed).try_into().unwrap();
        assert_eq!(first.reachability, Reachability::Reachable);
        assert_eq!(second.reachability, Reachability::Unknown);
        assert_eq!(second.annotations.get(key).map(String::as_str), Some(least));
        assert!(count(&second.annotations, INITIAL_SCALE) >= Some(1));

        deployed.became_ready(&id("hello-00002"));
        let [first, second] = workloads(&deployed).try_into().unwrap();
        assert_eq!(first.reachability, Reachability::Unreachable);
        assert_eq!(second.reachability, Reachability::Reachable);
        assert!(!second.annotations.contains_key(key), "{annotations}");
        assert!(count(&second.annotations, INITIAL_SCALE) >= Some(1));
    }
}

#[test]
fn a_candidate_that_was_given_up_is_not_held_up_any_more() {
    let mut deployed = Deployed::default();
    apply(&mut deployed, &service("you", "", ""));
    apply(&mut deployed, &service("them", "", ""));
    deployed.give_up(&id("hello-00002"));
    let [_, second] = workloads(&deployed).try_into().unwrap();
    assert!(second.annotations.is_empty());
    // Saving the file again asks to try again.
    apply(&mut deployed, &service("them", "", ""));
    let [_, second] = workloads(&deployed).try_into().unwrap();
    assert!(!second.annotations.is_empty());
}

#[test]
fn routes_that_stay_keep_their_rotation() {
    let traffic = "  traffic: [{latestRevision: true, percent: 100, tag: next}]\n";
    let mut deployed = Deployed::default();
    apply(&mut deployed, &service("you", "", traffic));
    let before = routes(&deployed.hosts("example.com"), &Routes::default());
    let names = [
        "hello.default.example.com",
        "next-hello.default.example.com",
    ];
    assert_eq!(before.hosts.len(), 2);
    assert_eq!(before.hosts[names[1]].tag, "next");

    apply(&mut deployed, &service("them", "", traffic));
    let waiting = routes(&deployed.hosts("example.com"), &before);
    assert!(Arc::ptr_eq(
        &before.hosts[names[0]],
        &waiting.hosts[names[0]]
    ));

    deployed.became_ready(&id("hello-00002"));
    let moved = routes(&deployed.hosts("example.com"), &waiting);
    let split = moved.hosts[names[0]].split.as_ref().unwrap();
    assert_eq!(split.pick(), &id("hello-00002"));
}
