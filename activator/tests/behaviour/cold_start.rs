//! How long a cold start took is told once, by stage.

use penstock_activator::Options;
use penstock_testkit::workload::Workload;

use crate::stage::{Bound, Stage, hello, hello_id, within};

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

#[tokio::test]
async fn who_waited_is_told_where_the_time_went_if_that_is_wanted_and_nobody_else() {
    for wanted in [true, false] {
        let one = Workload::start().await;
        let stage = Bound::before([hello().build()]).start(Options {
            server_timing: wanted,
            ..Options::default()
        });
        let waiting = stage.getting("/");
        stage.until_load(1, 0).await;
        stage.cluster.start_pod(&hello_id(), one.addr());
        let waited = within(waiting).await.unwrap();
        let warm = stage.get("/").await;
        assert!(!warm.headers.contains_key("server-timing"));
        let told = waited.headers.get("server-timing").map(|told| {
            let stages = told.to_str().unwrap().split(", ");
            stages
                .map(|stage| stage.split_once(";dur=").unwrap().0.to_owned())
                .collect::<Vec<_>>()
        });
        let stages = ["demand", "start", "ready", "line", "forward"].map(String::from);
        assert_eq!(told, wanted.then(|| stages.to_vec()));
        stage.end().await;
    }
}
