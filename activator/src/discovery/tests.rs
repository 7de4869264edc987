//! What follows from lists and answers. Numbers are those of the cases in spec/activator.md §11;
//! through real sockets: `tests/behaviour/discovery.rs`.
//!
//! Cases without a test here: 66 (which port of an Endpoints object counts) is the cluster's.

mod pauses;
mod together;

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::task::{Context, Waker};

use http::StatusCode;
use penstock_cluster::Readiness;

use super::*;

const PASSED: Heard = Heard::Passed;
/// As from a mesh, or from nobody.
const SILENT: Heard = Heard::Failed { not_mesh: false };
/// As from a queue-proxy.
const WORD: Heard = Heard::Failed { not_mesh: true };
/// Stands for the address that stands for all pods.
const SERVICE: u16 = 80;

fn addr(port: u16) -> SocketAddr {
    (Ipv4Addr::new(10, 0, 0, 1), port).into()
}

fn pods(ports: &[u16]) -> Used<u16> {
    Used::Pods(ports.to_vec())
}

fn service(ready: usize) -> Used<u16> {
    let addr = addr(SERVICE);
    Used::Service { addr, ready }
}

/// The pods of one revision, named by their ports, and who is being asked.
struct World {
    backends: Backends<u16>,
    readiness: Readiness,
    asked: Vec<Target>,
}

impl World {
    fn new(mesh: Mesh, passthrough: bool) -> Self {
        Self {
            backends: Backends::new(mesh, passthrough),
            readiness: Readiness::Probed {
                early: true,
                service: Some(addr(SERVICE)),
            },
            asked: Vec::new(),
        }
    }

    fn auto() -> Self {
        Self::new(Mesh::Auto, false)
    }

    fn probed(mut self, early: bool, has_service: bool) -> Self {
        let service = has_service.then(|| addr(SERVICE));
        self.readiness = Readiness::Probed { early, service };
        self
    }

    /// The cluster lists these, ready or not; who takes requests then.
    fn list(&mut self, ready: &[u16], not_ready: &[u16]) -> Used<u16> {
        let mut listed: Vec<_> = [(ready, true), (not_ready, false)]
            .into_iter()
            .flat_map(|(ports, ready)| {
                ports.iter().map(move |port| Listed {
                    addr: addr(*port),
                    ready,
                    pod: *port,
                })
            })
            .collect();
        listed.sort_by_key(|one| one.addr);
        self.backends.list(listed, self.readiness);
        self.asked.extend(self.backends.pursue());
        self.backends.used()
    }

    /// Who is being asked, and of interest.
    fn asked(&self) -> Vec<u16> {
        let all: BTreeSet<u16> = self.asked.iter().map(|target| target.addr.port()).collect();
        all.into_iter().collect()
    }

    /// This one answers, whom somebody has to ask; who takes requests then.
    fn hear(&mut self, port: u16, heard: Heard) -> Used<u16> {
        let of_port: Vec<_> = self
            .asked
            .extract_if(.., |target| target.addr == addr(port))
            .collect();
        assert!(!of_port.is_empty(), "nobody asks {port}");
        for target in of_port {
            if self.backends.heard(target, heard) {
                self.asked.push(target);
            }
        }
        self.asked.extend(self.backends.pursue());
        self.backends.used()
    }
}

#[test]
fn case_65_a_pod_that_passes_is_used_ready_or_not() {
    for (ready, not_ready) in [(&[1][..], &[][..]), (&[], &[1])] {
        let mut world = World::auto();
        assert_eq!(world.list(ready, not_ready), pods(&[]));
        assert_eq!(world.hear(1, PASSED), pods(&[1]));
        assert!(world.asked().is_empty());
    }
}

#[test]
fn cases_67_and_68_each_pod_counts_once_it_passes_whatever_the_others_do() {
    let mut world = World::auto();
    assert_eq!(world.list(&[1], &[]), pods(&[]));
    assert_eq!(world.hear(1, WORD), pods(&[]));
    assert_eq!(world.hear(1, PASSED), pods(&[1]));

    let mut world = World::auto();
    world.list(&[1, 2], &[]);
    assert_eq!(world.hear(1, PASSED), pods(&[1]));
    assert_eq!(world.hear(2, SILENT), pods(&[1]));
    assert_eq!(world.asked(), [2]);
    assert_eq!(world.hear(2, PASSED), pods(&[1, 2]));
}

#[test]
fn case_69_without_a_word_of_any_pod_requests_go_to_the_address_of_all() {
    let mut world = World::auto();
    world.list(&[1, 2], &[3]);
    world.hear(1, SILENT);
    world.hear(2, SILENT);
    assert_eq!(world.asked(), [1, 2, 3], "one has not been heard");
    world.hear(3, SILENT);
    assert_eq!(world.asked(), [1, 2, 3, SERVICE]);
    assert_eq!(world.hear(SERVICE, PASSED), service(2));
    // It stays so while pods come that are silent, too.
    assert_eq!(world.list(&[1, 2, 4], &[]), service(3));
    assert_eq!(world.hear(4, SILENT), service(3));
    assert_eq!(world.list(&[], &[1]), service(0));
}

#[test]
fn a_pod_that_passes_after_all_ends_the_use_of_the_address_of_all() {
    let mut world = World::auto();
    world.list(&[1, 2], &[]);
    world.hear(1, SILENT);
    world.hear(2, SILENT);
    assert_eq!(world.hear(SERVICE, PASSED), service(2));
    assert_eq!(world.hear(2, PASSED), pods(&[2]));
    // And it has to pass again before it is used again.
    assert_eq!(world.list(&[1], &[]), pods(&[]));
    assert_eq!(world.asked(), [1, SERVICE]);
    assert_eq!(world.hear(SERVICE, PASSED), service(1));
}

#[test]
fn case_70_the_address_of_all_is_used_once_it_passes() {
    let mut world = World::auto();
    world.list(&[1], &[]);
    world.hear(1, SILENT);
    assert_eq!(world.hear(SERVICE, SILENT), pods(&[]));
    assert_eq!(world.hear(SERVICE, PASSED), service(1));
    assert_eq!(world.asked(), [1]);
}

#[test]
fn case_71_a_pod_with_a_word_of_its_own_is_waited_for() {
    let mut world = World::auto();
    world.list(&[1], &[]);
    assert_eq!(world.hear(1, WORD), pods(&[]));
    assert_eq!(world.asked(), [1]);
    assert_eq!(world.hear(1, PASSED), pods(&[1]));

    // Also if that word comes while the address of all is being asked.
    let mut world = World::auto();
    world.list(&[1], &[]);
    world.hear(1, SILENT);
    world.hear(1, WORD);
    assert_eq!(world.hear(SERVICE, PASSED), pods(&[]));
    assert_eq!(world.asked(), [1]);
}

#[test]
fn case_72_where_pods_can_be_passed_to_the_address_of_all_is_not_asked() {
    let mut world = World::new(Mesh::Auto, true);
    world.list(&[1], &[]);
    assert_eq!(world.hear(1, SILENT), pods(&[]));
    assert_eq!(world.asked(), [1]);
}

#[test]
fn case_73_in_a_mesh_only_the_address_of_all_is_asked() {
    let mut world = World::new(Mesh::Enabled, false);
    assert_eq!(world.list(&[1], &[2]), pods(&[]));
    assert_eq!(world.asked(), [SERVICE]);
    assert_eq!(world.hear(SERVICE, PASSED), service(1));
    assert_eq!(world.list(&[1, 2], &[]), service(2));
    assert!(world.asked().is_empty());
}

#[test]
fn cases_74_and_83_without_a_mesh_ready_pods_are_trusted_and_the_others_asked() {
    let mut world = World::new(Mesh::Disabled, false);
    assert_eq!(world.list(&[1], &[2]), pods(&[1]));
    assert_eq!(world.asked(), [2]);
    assert_eq!(world.hear(2, SILENT), pods(&[1]));
    assert_eq!(world.asked(), [2]);
    assert_eq!(world.hear(2, PASSED), pods(&[1, 2]));

    let mut world = World::auto();
    world.list(&[1], &[2]);
    assert_eq!(world.asked(), [1, 2]);
}

#[test]
fn case_75_without_pods_there_is_nobody_even_after_the_address_of_all_has_passed() {
    let mut world = World::auto();
    assert_eq!(world.list(&[], &[]), pods(&[]));
    assert!(world.asked().is_empty());
    world.list(&[1], &[]);
    world.hear(1, SILENT);
    assert_eq!(world.hear(SERVICE, PASSED), service(1));
    assert_eq!(world.list(&[], &[]), pods(&[]));
    assert_eq!(world.list(&[1], &[]), pods(&[]), "it begins anew");
}

#[test]
fn case_76_nobody_is_used_while_everybody_fails() {
    let mut world = World::auto();
    world.list(&[1, 2], &[]);
    for _ in 0..3 {
        for port in [1, 2] {
            assert_eq!(world.hear(port, SILENT), pods(&[]));
        }
        assert_eq!(world.hear(SERVICE, SILENT), pods(&[]));
    }
    assert_eq!(world.asked(), [1, 2, SERVICE]);
}

#[test]
fn cases_77_78_and_84_where_readiness_is_more_than_a_probe_who_is_not_ready_stays_out() {
    let mut world = World::auto().probed(false, true);
    assert_eq!(world.list(&[], &[1]), pods(&[]));
    assert!(world.asked().is_empty());
    world.list(&[1], &[]);
    assert_eq!(world.hear(1, PASSED), pods(&[1]));
}

#[test]
fn case_79_who_is_not_ready_any_more_has_to_pass_again_and_once() {
    let mut world = World::auto();
    world.list(&[1, 2], &[]);
    world.hear(1, PASSED);
    assert_eq!(world.hear(2, PASSED), pods(&[1, 2]));
    assert_eq!(world.list(&[2], &[1]), pods(&[2]));
    assert_eq!(world.asked(), [1]);
    assert_eq!(world.hear(1, PASSED), pods(&[1, 2]));
    // The same picture again takes nothing away.
    assert_eq!(world.list(&[2], &[1]), pods(&[1, 2]));
    assert_eq!(world.list(&[1, 2], &[]), pods(&[1, 2]));
    assert!(world.asked().is_empty());
}

#[test]
fn an_answer_from_before_the_pod_was_called_unready_counts_no_more() {
    let mut world = World::auto();
    world.list(&[1], &[]);
    let before = world.asked[0];
    world.list(&[], &[1]);
    assert!(!world.backends.heard(before, PASSED));
    assert_eq!(world.backends.used(), pods(&[]));
    assert_eq!(world.hear(1, PASSED), pods(&[1]));
}

#[test]
fn case_80_the_same_list_twice_changes_and_asks_nothing() {
    let mut world = World::auto();
    world.list(&[1], &[2]);
    world.hear(1, PASSED);
    assert_eq!(world.hear(2, SILENT), pods(&[1]));
    let (used, asked) = (world.backends.used(), world.asked());
    let listed = |port, ready| Listed {
        addr: addr(port),
        ready,
        pod: port,
    };
    let again = vec![listed(1, true), listed(2, false)];
    assert!(!world.backends.list(again, world.readiness));
    assert!(world.backends.pursue().is_empty());
    assert_eq!((world.backends.used(), world.asked()), (used, asked));
}

#[test]
fn cases_81_82_and_85_only_new_pods_are_asked_and_those_that_vanish_leave_at_once() {
    let mut world = World::auto();
    world.list(&[1, 2], &[]);
    world.hear(1, PASSED);
    assert_eq!(world.hear(2, PASSED), pods(&[1, 2]));
    assert!(world.asked().is_empty(), "all are known");
    assert_eq!(world.list(&[2, 3], &[]), pods(&[2]));
    assert_eq!(world.asked(), [3]);
    assert_eq!(world.hear(3, PASSED), pods(&[2, 3]));
    assert_eq!(world.list(&[2], &[]), pods(&[2]));

    let mut world = World::auto();
    world.list(&[1, 2, 3], &[]);
    assert_eq!(world.asked(), [1, 2, 3]);
    world.hear(1, SILENT);
    world.hear(2, PASSED);
    assert_eq!(world.hear(3, PASSED), pods(&[2, 3]));

    let mut trusting = World::new(Mesh::Disabled, false);
    trusting.list(&[1], &[]);
    assert_eq!(trusting.list(&[1, 2], &[]), pods(&[1, 2]));
    assert!(trusting.asked().is_empty());
}

#[test]
fn another_pod_at_the_same_address_has_to_pass_itself() {
    let mut world = World::auto();
    world.list(&[1], &[]);
    world.hear(1, PASSED);
    let other = Listed {
        addr: addr(1),
        ready: true,
        pod: 2,
    };
    assert!(world.backends.list(vec![other], world.readiness));
    assert_eq!(world.backends.used(), pods(&[]));
    assert_eq!(world.backends.pursue().len(), 1);
}

#[test]
fn case_86_which_answers_are_a_pods_own() {
    let table = [
        (Answer::Queue, PASSED),
        (Answer::Other, WORD),
        (Answer::Status(StatusCode::NOT_FOUND), WORD),
        (Answer::Status(StatusCode::INTERNAL_SERVER_ERROR), WORD),
        (Answer::Status(StatusCode::BAD_GATEWAY), SILENT),
        (Answer::Status(StatusCode::SERVICE_UNAVAILABLE), SILENT),
        (Answer::Nothing, SILENT),
        (Answer::Silence, SILENT),
    ];
    for (answer, want) in table {
        assert_eq!(answer.heard(), want, "{answer:?}");
    }
}

#[test]
fn cases_87_and_89_without_an_address_of_all_there_is_none_to_ask() {
    let mut world = World::auto().probed(true, false);
    world.list(&[1], &[]);
    assert_eq!(world.hear(1, SILENT), pods(&[]));
    assert_eq!(world.asked(), [1]);
}

#[test]
fn an_address_of_all_that_changes_or_goes_is_not_used_any_more() {
    let mut world = World::auto();
    world.list(&[1], &[]);
    world.hear(1, SILENT);
    assert_eq!(world.hear(SERVICE, PASSED), service(1));
    world.readiness = Readiness::Probed {
        early: true,
        service: None,
    };
    assert_eq!(world.list(&[1], &[]), pods(&[]));
}

#[test]
fn case_88_who_is_not_listed_any_more_is_not_asked_again() {
    let mut world = World::auto();
    world.list(&[1], &[]);
    let asked = world.asked[0];
    world.list(&[], &[]);
    assert!(!world.backends.heard(asked, PASSED));
    assert_eq!(world.backends.used(), pods(&[]));
}

#[test]
fn a_cluster_that_is_trusted_has_nobody_asked() {
    let mut world = World::auto();
    world.readiness = Readiness::Trusted;
    assert_eq!(world.list(&[1], &[2]), pods(&[1]));
    assert!(world.asked().is_empty());
}
