//! How many requests the pods of a revision take together, and which pods: spec/activator.md §11.

use penstock_gate::Slot;
use penstock_testkit::cluster::{pod, revision};
use prometheus::Registry;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::*;
use crate::metrics::Metrics;

struct World {
    entry: Arc<Entry>,
    scout: Scout,
    revision: Revision,
}

impl World {
    fn new(concurrency: u32) -> Self {
        let revision = revision("hello-00001").concurrency(concurrency).build();
        let metrics = Metrics::register(&Registry::new()).unwrap();
        let how = Discovery::default();
        let entry = Entry::new(&revision, 10, 0, metrics.of_revision(&revision), &how);
        let scout = Scout::new(how, TaskTracker::new(), CancellationToken::new());
        Self {
            entry,
            scout,
            revision,
        }
    }

    /// Ready pods, at the last bytes of their addresses.
    fn pods(&mut self, bytes: &[u8]) {
        let mut pods: Vec<Pod> = bytes
            .iter()
            .map(|byte| pod(([10, 0, 0, *byte], 8012).into()))
            .collect();
        pods.sort_by_key(|pod| pod.addr);
        self.revision.pods = pods.into();
        self.entry.see(&self.revision, &self.scout);
    }

    fn stand_at(&self, index: usize, activators: usize) {
        self.entry.stand_at(Some(Position { index, activators }));
    }

    /// Everybody who is let in at once.
    fn fill(&self) -> Vec<Slot<Place>> {
        std::iter::from_fn(|| self.entry.gate.try_admit()).collect()
    }

    /// The last bytes of the addresses of the pods that are served, in order.
    fn served(&self) -> Vec<u8> {
        let places = self.entry.gate.places();
        let byte = |(place, _): (Place, usize)| match place.addr().ip() {
            std::net::IpAddr::V4(ip) => ip.octets()[3],
            std::net::IpAddr::V6(_) => 0,
        };
        places.into_iter().map(byte).collect()
    }
}

#[test]
fn cases_52_and_53_as_many_go_in_as_the_pods_of_this_activator_have_slots() {
    // concurrency, pods, position, slots
    let table = [
        (10, 1, None, 10),
        (10, 2, None, 20),
        (10, 1, Some((0, 1)), 10),
        (10, 2, Some((0, 1)), 20),
        (10, 2, Some((0, 2)), 10),
        (10, 3, Some((0, 2)), 20),
        (10, 3, Some((1, 2)), 10),
        (1, 5, Some((0, 2)), 3),
        (1, 5, Some((1, 2)), 2),
    ];
    for (concurrency, pods, position, want) in table {
        let mut world = World::new(concurrency);
        if let Some((index, activators)) = position {
            world.stand_at(index, activators);
        }
        world.pods(&(1..=pods).collect::<Vec<u8>>());
        let inside = world.fill().len();
        assert_eq!(inside, want, "{concurrency}, {pods}, {position:?}");
    }
}

#[test]
fn case_57_six_pods_and_four_activators_and_then_nobody() {
    let mut world = World::new(42);
    world.stand_at(0, 4);
    world.pods(&[1, 2, 3, 4, 5, 6]);
    assert_eq!(world.served(), [1, 5]);
    assert_eq!(world.fill().len(), 84);
    world.pods(&[]);
    assert!(world.served().is_empty());
    assert_eq!(world.fill().len(), 0);
}

#[test]
fn case_58_who_is_not_among_the_activators_serves_all_pods() {
    let mut world = World::new(1);
    world.pods(&[1, 2, 3]);
    // Where it stands is the cluster's to find out; missing is `None`, and what cannot be counts
    // for nothing.
    for (position, want) in [
        (None, vec![1, 2, 3]),
        (Some((0, 3)), vec![1]),
        (Some((1, 3)), vec![2]),
        (Some((2, 3)), vec![3]),
        (Some((3, 3)), vec![1, 2, 3]),
    ] {
        world
            .entry
            .stand_at(position.map(|(index, activators)| Position { index, activators }));
        assert_eq!(world.served(), want, "{position:?}");
    }
}

#[test]
fn case_61_pods_stay_in_the_order_of_their_addresses_whatever_comes() {
    let mut world = World::new(1);
    for pods in [&[5, 9][..], &[9, 1, 5], &[7, 1, 9, 3], &[3, 200, 10]] {
        world.pods(pods);
        let mut want = pods.to_vec();
        want.sort_unstable();
        assert_eq!(world.served(), want);
        // One to each, the first first.
        let got: Vec<SocketAddr> = world
            .fill()
            .iter()
            .map(|slot| slot.place().addr())
            .collect();
        assert!(got.is_sorted());
        assert_eq!(got.len(), pods.len());
    }
}

#[test]
fn activators_divide_pods_by_their_addresses_as_text() {
    let mut world = World::new(1);
    world.stand_at(0, 3);
    // As text 10 comes before 3, and that before 200.
    world.pods(&[3, 10, 20]);
    assert_eq!(world.served(), [10]);
}

#[test]
fn case_21_over_tls_another_port_of_the_same_address_is_used() {
    let pods = ToPods::new(penstock_relay::tls::Client::trusting([]).unwrap());
    let host = || HeaderValue::from_static("pod");
    let now = Instant::now();
    for (addr, want) in [
        ("10.0.0.1:8012", "10.0.0.1:8112"),
        ("[2001:db8::1]:8012", "[2001:db8::1]:8112"),
    ] {
        let pod = Pod {
            name: "pod".into(),
            addr: addr.parse().unwrap(),
            phase: Phase::Ready,
            asked: now,
            started: None,
            ready: None,
        };
        let place = Place::new(&pod, host(), false);
        assert_eq!(place.dest(Some(&pods)).to_string(), want);
        assert_eq!(place.dest(None).to_string(), addr);
    }
    let service = Place::service("10.1.0.1:80".parse().unwrap(), host(), now);
    assert_eq!(service.dest(Some(&pods)).to_string(), "10.1.0.1:443");
}
