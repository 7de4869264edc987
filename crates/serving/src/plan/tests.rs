//! Files that change over time, and where traffic goes meanwhile.

use proptest::prelude::*;

use super::*;
use crate::{AnnotationRules, Source, read};

fn manifests(text: &str) -> Manifests {
    let source = Source {
        name: "app.yaml",
        text,
    };
    let rules = AnnotationRules {
        check: &|_| Vec::new(),
        known: &[],
    };
    read(&[source], rules).unwrap_or_else(|refused| panic!("{refused}"))
}

/// A Service whose version is `version`, with further lines: of the template's metadata, and of
/// `spec`.
fn service(name: &str, version: &str, metadata: &str, spec: &str) -> String {
    format!(
        "apiVersion: serving.knative.dev/v1\nkind: Service\nmetadata: {{name: {name}}}\nspec:\n  \
         template:\n    metadata: {{{metadata}}}\n    spec:\n      containers:\n        \
         - image: hello\n          args: [\"{version}\"]\n{spec}---\n"
    )
}

fn hello(version: &str) -> String {
    service("hello", version, "", "")
}

fn hello_with(version: &str, traffic: &str) -> String {
    service("hello", version, "", &format!("  traffic: [{traffic}]\n"))
}

fn id(name: &str) -> RevisionId {
    RevisionId::new("default", name)
}

fn apply(deployed: &mut Deployed, text: &str) -> Changes {
    let changes = deployed.apply(&manifests(text));
    changes.unwrap_or_else(|problems| panic!("{problems:?}"))
}

/// The hosts, without what is the same in all: `hello: hello-00001 100`.
fn hosts(deployed: &Deployed) -> Vec<String> {
    let hosts = deployed.hosts("example.com").into_iter();
    hosts
        .map(|host| {
            let label = host.host.strip_suffix(".default.example.com").unwrap();
            let targets = host.targets.iter();
            let shares = targets.map(|(id, percent)| format!("{} {percent}", id.name()));
            format!("{label}: {}", shares.collect::<Vec<_>>().join(", "))
        })
        .collect()
}

fn candidates(deployed: &Deployed) -> Vec<String> {
    let candidates = deployed.candidates();
    candidates.iter().map(|id| id.name().to_owned()).collect()
}

fn reach(deployed: &Deployed, name: &str) -> Option<Reach> {
    deployed.reach().get(&id(name)).copied()
}

#[test]
fn the_first_revision_gets_the_traffic_and_is_not_started_for_it() {
    let mut deployed = Deployed::default();
    let changes = apply(&mut deployed, &hello("v1"));
    assert_eq!(changes.created, [id("hello-00001")]);
    assert_eq!(hosts(&deployed), ["hello: hello-00001 100"]);
    assert_eq!(candidates(&deployed), [""; 0]);
    assert_eq!(reach(&deployed, "hello-00001"), Some(Reach::Routed));
    let revision = deployed.revision(&id("hello-00001")).unwrap();
    assert_eq!(revision.service.as_deref(), Some("hello"));
    assert_eq!(revision.configuration, "hello");
}

#[test]
fn the_same_template_makes_no_revision() {
    let mut deployed = Deployed::default();
    apply(&mut deployed, &hello("v1"));
    assert_eq!(apply(&mut deployed, &hello("v1")), Changes::default());
    let other_traffic = hello_with("v1", "{latestRevision: true, percent: 100, tag: new}");
    assert_eq!(apply(&mut deployed, &other_traffic), Changes::default());
    assert_eq!(
        hosts(&deployed),
        ["hello: hello-00001 100", "new-hello: hello-00001 100"]
    );
}

#[test]
fn traffic_moves_to_a_new_revision_when_that_is_ready_and_not_before() {
    let mut deployed = Deployed::default();
    apply(&mut deployed, &hello("v1"));
    let changes = apply(&mut deployed, &hello("v2"));
    assert_eq!(changes.created, [id("hello-00002")]);
    assert_eq!(changes.removed, []);
    assert_eq!(hosts(&deployed), ["hello: hello-00001 100"]);
    assert_eq!(candidates(&deployed), ["hello-00002"]);
    assert_eq!(reach(&deployed, "hello-00002"), Some(Reach::Candidate));
    assert!(deployed.became_ready(&id("hello-00002")));
    assert_eq!(hosts(&deployed), ["hello: hello-00002 100"]);
    assert_eq!(candidates(&deployed), [""; 0]);
    assert_eq!(reach(&deployed, "hello-00001"), Some(Reach::Unrouted));
    assert_eq!(reach(&deployed, "hello-00002"), Some(Reach::Routed));
    assert!(!deployed.became_ready(&id("hello-00002")), "once is enough");
}

#[test]
fn going_back_to_an_older_template_is_a_new_revision() {
    let mut deployed = Deployed::default();
    apply(&mut deployed, &hello("v1"));
    apply(&mut deployed, &hello("v2"));
    let changes = apply(&mut deployed, &hello("v1"));
    assert_eq!(changes.created, [id("hello-00003")]);
}

#[test]
fn of_two_that_follow_each_other_the_newest_ready_one_has_the_traffic() {
    let mut deployed = Deployed::default();
    for version in ["v1", "v2", "v3"] {
        apply(&mut deployed, &hello(version));
    }
    assert_eq!(
        candidates(&deployed),
        ["hello-00003"],
        "the one between is not started any more"
    );
    assert!(deployed.became_ready(&id("hello-00002")));
    assert_eq!(hosts(&deployed), ["hello: hello-00002 100"]);
    assert!(deployed.became_ready(&id("hello-00003")));
    assert_eq!(hosts(&deployed), ["hello: hello-00003 100"]);
    assert!(
        !deployed.became_ready(&id("hello-00001")),
        "never backwards"
    );
    assert_eq!(hosts(&deployed), ["hello: hello-00003 100"]);
}

#[test]
fn a_candidate_that_is_given_up_leaves_traffic_where_it_is_until_the_next_apply() {
    let mut deployed = Deployed::default();
    apply(&mut deployed, &hello("v1"));
    apply(&mut deployed, &hello("v2"));
    deployed.give_up(&id("hello-00002"));
    assert_eq!(candidates(&deployed), [""; 0]);
    assert_eq!(hosts(&deployed), ["hello: hello-00001 100"]);
    apply(&mut deployed, &hello("v2"));
    assert_eq!(candidates(&deployed), ["hello-00002"]);
}

#[test]
fn a_rollback_pins_a_revision_that_is_known() {
    let mut deployed = Deployed::default();
    apply(&mut deployed, &hello("v1"));
    deployed.became_ready(&id("hello-00001"));
    apply(&mut deployed, &hello("v2"));
    deployed.became_ready(&id("hello-00002"));
    let changes = apply(
        &mut deployed,
        &hello_with("v2", "{revisionName: hello-00001, percent: 100}"),
    );
    assert_eq!(changes, Changes::default());
    assert_eq!(hosts(&deployed), ["hello: hello-00001 100"]);
    assert_eq!(reach(&deployed, "hello-00002"), Some(Reach::Unrouted));
}

#[test]
fn a_rollback_to_one_that_was_never_ready_waits_until_it_is() {
    let mut deployed = Deployed::default();
    apply(&mut deployed, &hello("v1"));
    apply(&mut deployed, &hello("v2"));
    deployed.became_ready(&id("hello-00002"));
    apply(
        &mut deployed,
        &hello_with("v2", "{revisionName: hello-00001, percent: 100}"),
    );
    assert_eq!(hosts(&deployed), ["hello: hello-00002 100"]);
    assert_eq!(candidates(&deployed), ["hello-00001"]);
    assert_eq!(reach(&deployed, "hello-00001"), Some(Reach::Candidate));
    assert!(deployed.became_ready(&id("hello-00001")));
    assert_eq!(hosts(&deployed), ["hello: hello-00001 100"]);
}

#[test]
fn a_canary_takes_its_share_once_it_is_ready() {
    let mut deployed = Deployed::default();
    let traffic = "{revisionName: hello-00001, percent: 80, tag: stable}, \
                   {latestRevision: true, percent: 20, tag: next}";
    apply(&mut deployed, &hello_with("v1", traffic));
    let before = [
        "hello: hello-00001 100",
        "stable-hello: hello-00001 100",
        "next-hello: hello-00001 100",
    ];
    assert_eq!(hosts(&deployed), before);
    apply(&mut deployed, &hello_with("v2", traffic));
    assert_eq!(hosts(&deployed), before);
    deployed.became_ready(&id("hello-00002"));
    assert_eq!(
        hosts(&deployed),
        [
            "hello: hello-00001 80, hello-00002 20",
            "stable-hello: hello-00001 100",
            "next-hello: hello-00002 100",
        ]
    );
}

#[test]
fn a_tag_alone_has_a_host_and_no_share() {
    let mut deployed = Deployed::default();
    apply(&mut deployed, &hello("v1"));
    apply(&mut deployed, &hello("v2"));
    deployed.became_ready(&id("hello-00002"));
    deployed.became_ready(&id("hello-00001"));
    let traffic = "{latestRevision: true, percent: 100}, {revisionName: hello-00001, tag: old}";
    apply(&mut deployed, &hello_with("v2", traffic));
    assert_eq!(
        hosts(&deployed),
        ["hello: hello-00002 100", "old-hello: hello-00001 100"]
    );
    assert_eq!(reach(&deployed, "hello-00001"), Some(Reach::Routed));
}

#[test]
fn a_name_of_ones_own_is_honoured_and_immutable() {
    let named = |version: &str, name: &str| service("hello", version, &format!("name: {name}"), "");
    let mut deployed = Deployed::default();
    assert_eq!(
        apply(&mut deployed, &named("v1", "hello-one")).created,
        [id("hello-one")]
    );
    assert_eq!(
        apply(&mut deployed, &named("v1", "hello-one")),
        Changes::default()
    );
    let problems = deployed
        .apply(&manifests(&named("v2", "hello-one")))
        .unwrap_err();
    assert_eq!(
        problems[0].to_string(),
        "app.yaml, document 1, line 3: spec.template.metadata.name is \"hello-one\"; it must be \
         a new name: this one is a revision with another template, and revisions do not change"
    );
    assert_eq!(
        hosts(&deployed),
        ["hello: hello-one 100"],
        "nothing changed"
    );
    apply(&mut deployed, &named("v2", "hello-two"));
    deployed.became_ready(&id("hello-two"));
    assert_eq!(hosts(&deployed), ["hello: hello-two 100"]);
    let changes = apply(&mut deployed, &named("v1", "hello-one"));
    assert_eq!(changes, Changes::default(), "going back by name makes none");
    assert_eq!(candidates(&deployed), ["hello-one"]);
    deployed.became_ready(&id("hello-one"));
    assert_eq!(hosts(&deployed), ["hello: hello-one 100"]);
}

#[test]
fn a_generated_name_steps_over_one_that_is_taken() {
    let mut deployed = Deployed::default();
    apply(
        &mut deployed,
        &service("hello", "v1", "name: hello-00002", ""),
    );
    let changes = apply(&mut deployed, &hello("v2"));
    assert_eq!(changes.created, [id("hello-00003")]);
    let other = service("hello-00003-x", "v1", "", "");
    let mut both = service("hello", "v3", "name: hello-00003-x-00001", "");
    both.insert_str(0, &other);
    let problems = deployed.apply(&manifests(&both)).unwrap_err();
    assert_eq!(
        problems[0].to_string(),
        "app.yaml, document 2, line 14: spec.template.metadata.name is \
         \"hello-00003-x-00001\"; it must be a new name: this one is a revision of hello-00003-x"
    );
}

#[test]
fn traffic_for_an_unknown_revision_is_refused_and_nothing_changes() {
    let mut deployed = Deployed::default();
    apply(&mut deployed, &hello("v1"));
    let wrong = hello_with("v2", "{revisionName: hello-00009, percent: 100}");
    let problems = deployed.apply(&manifests(&wrong)).unwrap_err();
    assert_eq!(
        problems[0].to_string(),
        "app.yaml, document 1, line 11: spec.traffic[0].revisionName is \"hello-00009\"; it must \
         be one of hello-00001, hello-00002"
    );
    assert_eq!(deployed.revisions().count(), 1);
    let route = "apiVersion: serving.knative.dev/v1\nkind: Route\nmetadata: {name: r}\nspec:\n  \
                 traffic: [{configurationName: none, percent: 100}]\n";
    let text = format!("{}{route}", hello("v1"));
    let problems = deployed.apply(&manifests(&text)).unwrap_err();
    assert_eq!(
        problems[0].to_string(),
        "app.yaml, document 2, line 16: spec.traffic[0].configurationName is \"none\"; it must \
         be hello"
    );
}

#[test]
fn a_service_that_is_gone_takes_its_revisions_along_and_does_not_get_their_names_again() {
    let mut deployed = Deployed::default();
    let other = service("other", "v1", "", "");
    apply(&mut deployed, &format!("{}{other}", hello("v1")));
    let changes = apply(&mut deployed, &other);
    assert_eq!(changes.removed, [id("hello-00001")]);
    assert_eq!(hosts(&deployed), ["other: other-00001 100"]);
    let changes = apply(&mut deployed, &format!("{}{other}", hello("v1")));
    assert_eq!(changes.created, [id("hello-00002")]);
}

#[test]
fn a_configuration_alone_has_no_host_and_several_routes_may_share_one() {
    let engine = "apiVersion: serving.knative.dev/v1\nkind: Configuration\nmetadata: {name: \
                  engine}\nspec: {template: {spec: {containers: [{image: x}]}}}\n---\n";
    let route = |name: &str| {
        format!(
            "apiVersion: serving.knative.dev/v1\nkind: Route\nmetadata: {{name: {name}}}\nspec: \
             {{traffic: [{{configurationName: engine, percent: 100}}]}}\n---\n"
        )
    };
    let mut deployed = Deployed::default();
    apply(&mut deployed, engine);
    assert_eq!(hosts(&deployed), [""; 0]);
    assert_eq!(reach(&deployed, "engine-00001"), Some(Reach::Unrouted));
    apply(
        &mut deployed,
        &format!("{engine}{}{}", route("a"), route("b")),
    );
    assert_eq!(
        hosts(&deployed),
        ["a: engine-00001 100", "b: engine-00001 100"]
    );
}

#[test]
fn a_route_whose_target_goes_moves_at_once() {
    let route = |to: &str| {
        format!(
            "apiVersion: serving.knative.dev/v1\nkind: Route\nmetadata: {{name: front}}\nspec: \
             {{traffic: [{{configurationName: {to}, percent: 100}}]}}\n---\n"
        )
    };
    let (one, two) = (service("one", "v1", "", ""), service("two", "v1", "", ""));
    let mut deployed = Deployed::default();
    apply(&mut deployed, &format!("{one}{two}{}", route("one")));
    let front = |deployed: &Deployed| hosts(deployed)[0].clone();
    assert_eq!(front(&deployed), "front: one-00001 100");
    apply(&mut deployed, &format!("{one}{two}{}", route("two")));
    assert_eq!(
        front(&deployed),
        "front: one-00001 100",
        "two-00001 has not been ready"
    );
    assert_eq!(candidates(&deployed), ["two-00001"]);
    apply(&mut deployed, &format!("{two}{}", route("two")));
    assert_eq!(front(&deployed), "front: two-00001 100");
}

#[test]
fn an_initial_scale_starts_the_first_revision_and_0_starts_none() {
    let scaled = |version: &str, scale: u32| {
        let annotation =
            format!("annotations: {{autoscaling.knative.dev/initial-scale: \"{scale}\"}}");
        service("hello", version, &annotation, "")
    };
    let mut deployed = Deployed::default();
    apply(&mut deployed, &scaled("v1", 2));
    assert_eq!(candidates(&deployed), ["hello-00001"]);
    assert_eq!(hosts(&deployed), ["hello: hello-00001 100"]);
    assert_eq!(reach(&deployed, "hello-00001"), Some(Reach::Routed));
    apply(&mut deployed, &scaled("v2", 0));
    assert_eq!(candidates(&deployed), [""; 0]);
    assert_eq!(hosts(&deployed), ["hello: hello-00002 100"]);
}

#[test]
fn twenty_unrouted_revisions_are_kept_and_routed_ones_always() {
    let mut deployed = Deployed::default();
    let pinned = "{latestRevision: true, percent: 100}, {revisionName: hello-00001, tag: old}";
    for version in 1..=30 {
        apply(&mut deployed, &hello_with(&version.to_string(), pinned));
        deployed.became_ready(&id(&format!("hello-{version:05}")));
    }
    let kept: Vec<&str> = deployed
        .revisions()
        .map(|revision| revision.id.name())
        .collect();
    // The pinned one, twenty, the one with the traffic at the last apply, and its candidate.
    assert_eq!(kept.len(), 1 + KEPT_UNROUTED + 2);
    assert_eq!((kept[0], kept[1]), ("hello-00001", "hello-00009"));
    let changes = apply(&mut deployed, &hello_with("31", pinned));
    assert_eq!(changes.removed, [id("hello-00009")]);
}

proptest! {
    /// Whatever is saved, and whoever becomes ready: every host's shares add up to 100, and no
    /// traffic goes to one that was never ready while there is one that was.
    #[test]
    fn shares_always_add_up_to_100(steps in proptest::collection::vec((0_u8..6, 0_u8..=100), 1..40)) {
        let mut deployed = Deployed::default();
        apply(&mut deployed, &hello("0"));
        let mut settled = false;
        for (step, number) in steps {
            let known: Vec<RevisionId> = deployed.revisions().map(|it| it.id.clone()).collect();
            let some = &known[usize::from(number) % known.len()];
            match step {
                0..=2 => drop(deployed.apply(&manifests(&hello(&number.to_string())))),
                3 => {
                    let traffic = format!(
                        "{{revisionName: {}, percent: {number}, tag: a}}, \
                         {{latestRevision: true, percent: {}}}",
                        some.name(),
                        100 - number
                    );
                    drop(deployed.apply(&manifests(&hello_with("7", &traffic))));
                }
                4 => drop(deployed.became_ready(some)),
                _ => deployed.give_up(some),
            }
            let proven = |id: &RevisionId| deployed.revision(id).unwrap().proven;
            let hosts = deployed.hosts("example.com");
            for host in &hosts {
                let sum: u32 = host.targets.iter().map(|(_, share)| u32::from(*share)).sum();
                prop_assert_eq!(sum, 100, "{:?}", host);
            }
            let now = hosts.iter().all(|host| host.targets.iter().all(|(id, _)| proven(id)));
            prop_assert!(now || !settled, "traffic went to an unproven revision: {:?}", hosts);
            settled = now;
            for id in deployed.candidates() {
                prop_assert!(!proven(&id));
            }
        }
    }
}
