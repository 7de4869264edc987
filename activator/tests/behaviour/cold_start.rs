//! How long a cold start took is told once, by stage.

use penstock_testkit::workload::Workload;

use crate::stage::{Stage, hello, hello_id, within};

const COUNT: &str = "penstock_cold_start_duration_seconds_count";
const STAGES: [&str; 5] = ["decide", "start", "ready", "first_byte", "total"];

fn counts(stage: &Stage) -> [Option<f64>; 5] {
    STAGES.map(|name| stage.metric(COUNT, &[&format!("stage=\"{name}\"")]))
}

#[tokio::test]
async fn a_pod_that_came_up_while_requests_waited_is_told_once_for_each_stage() {
    let one = Workload::start().await;
    let stage = Stage::new([hello().build()]);
    assert_eq!(counts(&stage), [Some(0.0); 5]);
    let waiting = [(); 3].map(|()| stage.getting("/"));
    stage.until_load(3, 0).await;
    stage.cluster.start_pod(&hello_id(), one.addr());
    for answer in waiting {
        assert_eq!(within(answer).await.unwrap().status, 200);
    }
    assert_eq!(stage.get("/").await.status, 200);
    assert_eq!(counts(&stage), [Some(1.0); 5]);
    stage.end().await;
}

#[tokio::test]
async fn a_pod_that_was_there_before_the_request_is_no_cold_start() {
    let one = Workload::start().await;
    let stage = Stage::new([hello().pod(one.addr()).build()]);
    assert_eq!(stage.get("/").await.status, 200);
    assert_eq!(counts(&stage), [Some(0.0); 5]);
    stage.end().await;
}
