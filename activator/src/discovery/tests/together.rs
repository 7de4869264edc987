//! Whatever lists and answers come in whatever order, the end is that of asking all together.

use proptest::prelude::*;

use super::*;

proptest! {
    /// Whatever came before: once everybody who is asked has answered, those are used who pass.
    #[test]
    fn in_the_end_the_same_pods_are_used_as_if_all_had_been_asked_together(
        lists in prop::collection::vec(prop::collection::vec(0..3_u8, 6), 1..8),
        passes in prop::collection::vec(any::<bool>(), 6),
        early in any::<bool>(),
        mesh in prop_oneof![Just(Mesh::Auto), Just(Mesh::Disabled), Just(Mesh::Enabled)],
        answers in prop::collection::vec(0..100_usize, 0..20),
    ) {
        let mut world = World::new(mesh, false).probed(early, true);
        let of = |list: &[u8], state: u8| -> Vec<u16> {
            let ports = (1..).zip(list).filter(|(_, is)| **is == state);
            ports.map(|(port, _)| port).collect()
        };
        let truth = |port: u16| match port {
            SERVICE => PASSED,
            _ if passes[usize::from(port) - 1] => PASSED,
            _ => SILENT,
        };
        let mut answers = answers.into_iter();
        for list in &lists {
            world.list(&of(list, 1), &of(list, 2));
            // Some answer before the next list.
            for pick in answers.by_ref().take(2) {
                if let Some(port) = world.asked().get(pick % 7) {
                    world.hear(*port, truth(*port));
                }
            }
        }
        for _ in 0..3 {
            for port in world.asked() {
                if world.asked().contains(&port) {
                    world.hear(port, truth(port));
                }
            }
        }
        let last = lists.last().unwrap();
        let (ready, not_ready) = (of(last, 1), of(last, 2));
        let healthy: Vec<u16> = (1..=6)
            .filter(|port| match mesh {
                Mesh::Enabled => false,
                Mesh::Disabled if ready.contains(port) => true,
                _ => truth(*port) == PASSED
                    && (ready.contains(port) || early && not_ready.contains(port)),
            })
            .collect();
        let by_service = healthy.is_empty() && mesh != Mesh::Disabled && !ready.is_empty();
        match world.backends.used() {
            Used::Pods(used) => {
                prop_assert_eq!(used, healthy);
                prop_assert!(!by_service);
            }
            Used::Service { ready: count, .. } => {
                prop_assert!(healthy.is_empty() && mesh != Mesh::Disabled);
                prop_assert_eq!(count, ready.len());
            }
        }
        // Nobody is asked who takes requests.
        if let Used::Pods(used) = world.backends.used() {
            prop_assert!(used.iter().all(|port| !world.asked().contains(port)));
        }
    }
}
