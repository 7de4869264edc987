//! Clusters for tests: one that follows a script, and what every cluster has to keep.

mod build;
pub mod contract;
mod scripted;

pub use build::{RevisionBuilder, draining_pod, pod, revision, route_to, starting_pod};
pub use contract::{Subject, contract};
pub use scripted::ScriptedCluster;

#[cfg(test)]
mod tests {
    use penstock_cluster::{Cluster, ScaleError};

    use super::*;

    #[tokio::test]
    async fn wishes_are_told_in_order_and_a_refusal_is_for_one_of_them() {
        let hello = revision("hello-00001").concurrency(10).build();
        let id = hello.id.clone();
        let cluster = ScriptedCluster::new([hello]);
        cluster.refuse_next("no room");
        let refused = cluster.scale(&id, 3).await;
        assert!(
            matches!(refused, Err(ScaleError::Refused { .. })),
            "{refused:?}"
        );
        cluster.scale(&id, 2).await.unwrap();
        assert_eq!(cluster.next_scale().await, (id.clone(), 3));
        assert_eq!(cluster.next_scale().await, (id.clone(), 2));
        assert_eq!(cluster.scaled(), None);
        assert_eq!(cluster.revision(&id).wanted, 2);
    }

    #[tokio::test]
    async fn pods_and_routes_set_by_hand_show_up_in_the_picture() {
        let hello = revision("hello-00001").build();
        let id = hello.id.clone();
        let cluster = ScriptedCluster::new([hello]);
        let mut pictures = cluster.snapshot();
        let addr = "127.0.0.1:81".parse().unwrap();
        cluster.start_pod(&id, addr);
        cluster.route("hello.default.example.com", &id);
        let picture = pictures
            .wait_for(|picture| picture.revisions[&id].ready().count() == 1)
            .await
            .unwrap()
            .clone();
        let route = &picture.routes.hosts["hello.default.example.com"];
        assert_eq!(route.split.as_ref().unwrap().pick(), &id);
        cluster.stop_pod(&id, addr);
        assert_eq!(cluster.revision(&id).pods.len(), 0);
    }
}
