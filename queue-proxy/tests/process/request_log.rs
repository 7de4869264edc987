//! Lines about requests on standard output: spec/queue-proxy.md §7.4.

use penstock_testkit::workload::Workload;
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::world::{before, get};

#[tokio::test]
async fn lines_go_to_standard_output_as_the_environment_asks_for_them() {
    let workload = Workload::start().await;
    let config = r#"{"enableRequestLog":true,"requestLogTemplate":"{{.Revision.Name}} {{.Revision.PodIP}} {{.Request.RequestURI}} {{.Response.Code}}"}"#;
    let make = before(workload.addr()).with("OBSERVABILITY_CONFIG", config);
    let mut program = make.start().await;
    let mut lines = BufReader::new(program.output()).lines();
    for path in ["/status/200", "/status/404"] {
        let (status, _) = get(program.at("main"), path).await;
        let line = lines.next_line().await.unwrap().unwrap();
        assert_eq!(line, format!("rev 127.0.0.1 {path} {status}"));
    }
}

#[tokio::test]
async fn case_117_a_template_that_is_wrong_is_told_and_requests_are_served_without_lines() {
    let workload = Workload::start().await;
    let config = r#"{"enableRequestLog":true,"requestLogTemplate":"one {{}}"}"#;
    let make = before(workload.addr()).with("OBSERVABILITY_CONFIG", config);
    let program = make.start().await;
    let told = |line: &&serde_json::Value| line["message"] == "requests are not logged";
    let line = program.before.iter().find(told).unwrap();
    assert_eq!(line["severity"], "ERROR");
    assert_eq!(
        line["error"],
        "request log template, line 1, column 5: a value is missing"
    );
    assert_eq!(get(program.at("main"), "/status/200").await.0, 200);
}
