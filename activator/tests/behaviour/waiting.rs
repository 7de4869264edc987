//! What is told to who waits and wants to know: a page, events, interim answers.

use http::Request;
use penstock_testkit::client::{Client, RawClient, empty};
use penstock_testkit::workload::Workload;

use crate::stage::{HOST, Stage, hello, hello_id, within};

fn get(headers: &str) -> String {
    format!("GET /a?b HTTP/1.1\r\nhost: {HOST}\r\n{headers}\r\n")
}

const BROWSER: &str = "accept: text/html,*/*;q=0.8\r\n";

#[tokio::test]
async fn a_browser_sees_a_page_at_once_that_reloads_itself_when_there_is_a_pod() {
    let revision = hello().annotation("penstock.dev/waiting-page", "10ms");
    let stage = Stage::new([revision.build()]);
    let mut browser = RawClient::connect(stage.addr).await;
    browser.send(get(BROWSER)).await;
    let head = within(browser.read_head()).await;
    assert_eq!(head.status, 503);
    for (name, value) in [
        ("content-type", "text/html; charset=utf-8"),
        ("cache-control", "no-store"),
        ("retry-after", "1"),
    ] {
        assert_eq!(head.header(name), Some(value), "{name}");
    }
    let policy = head.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'"), "{policy}");
    let page = within(browser.read_until(b"goes on by itself.")).await;
    let page = String::from_utf8(page.to_vec()).unwrap();
    assert!(
        page.contains("<title>Starting hello-00001</title>"),
        "{page}"
    );
    assert!(!page.contains("location.reload"), "{page}");

    // It waits in line, and so it is demand.
    stage.until_load(1, 0).await;
    let one = Workload::start().await;
    stage.cluster.start_pod(&hello_id(), one.addr());
    let rest = within(browser.read_until(b"\r\n0\r\n\r\n")).await;
    let rest = String::from_utf8(rest.to_vec()).unwrap();
    assert!(
        rest.contains("<script>location.reload()</script>"),
        "{rest}"
    );
    // Its slot is free; the next is answered by the pod, over the same connection.
    stage.until_idle().await;
    browser.send(get(BROWSER)).await;
    let head = within(browser.read_head()).await;
    assert_eq!(head.status, 200);
    stage.end().await;
}

#[tokio::test]
async fn who_has_an_answer_in_time_sees_no_page_and_who_wants_none_waits() {
    let one = Workload::start().await;
    let revision = hello().annotation("penstock.dev/waiting-page", "50s");
    let stage = Stage::new([revision.build()]);
    let mut browser = RawClient::connect(stage.addr).await;
    browser.send(get(BROWSER)).await;
    let waiting = stage.getting("/");
    stage.until_load(2, 0).await;
    stage.cluster.start_pod(&hello_id(), one.addr());
    assert_eq!(within(browser.read_response()).await.head.status, 200);
    assert_eq!(within(waiting).await.unwrap().status, 200);
    drop(browser);
    stage.end().await;
}

#[tokio::test]
async fn a_page_says_so_when_no_pod_has_come_in_time() {
    let timeouts = penstock_types::Timeouts {
        whole: std::time::Duration::from_millis(200),
        ..Default::default()
    };
    let revision = hello()
        .annotation("penstock.dev/waiting-page", "1ms")
        .timeouts(timeouts);
    let stage = Stage::new([revision.build()]);
    let mut browser = RawClient::connect(stage.addr).await;
    browser.send(get(BROWSER)).await;
    let page = within(browser.read_until(b"\r\n0\r\n\r\n")).await;
    let page = String::from_utf8(page.to_vec()).unwrap();
    assert!(page.contains("did not start in time"), "{page}");
    stage.until_idle().await;
    stage.end().await;
}

#[tokio::test]
async fn a_program_that_asks_for_events_hears_how_the_wait_goes_on_until_it_may_ask_again() {
    let revision = hello().annotation("penstock.dev/progress", "true");
    let stage = Stage::new([revision.build()]);
    let mut caller = RawClient::connect(stage.addr).await;
    caller.send(get("accept: text/event-stream\r\n")).await;
    let head = within(caller.read_head()).await;
    assert_eq!(head.status, 200);
    assert_eq!(head.header("content-type"), Some("text/event-stream"));
    let first = within(caller.read_until(b"\n\n")).await;
    let first = String::from_utf8(first.to_vec()).unwrap();
    let want = "event: waiting\ndata: {\"seconds\":0,\"waiting\":1,\"podsStarting\":0,\"podsReady\":0}\n\n";
    assert!(first.ends_with(want), "{first}");
    let one = Workload::start().await;
    stage.cluster.start_pod(&hello_id(), one.addr());
    let rest = within(caller.read_until(b"\r\n0\r\n\r\n")).await;
    let rest = String::from_utf8(rest.to_vec()).unwrap();
    assert!(rest.contains("event: ready\ndata: {}\n\n"), "{rest}");
    drop(caller);
    stage.end().await;
}

#[tokio::test]
async fn who_sends_the_header_hears_of_the_wait_in_interim_answers_and_then_has_the_answer() {
    let revision = hello().annotation("penstock.dev/progress", "true");
    let stage = Stage::new([revision.build()]);
    let mut caller = RawClient::connect(stage.addr).await;
    let asked = format!(
        "POST /status/201 HTTP/1.1\r\nhost: {HOST}\r\npenstock-progress: ?1\r\ncontent-length: 2\r\n\r\nok"
    );
    caller.send(asked).await;
    let hint = within(caller.read_head()).await;
    assert_eq!(hint.status, 103);
    let told = hint.header("penstock-progress").unwrap();
    assert!(
        told.starts_with("waiting; seconds=0, line;count=1"),
        "{told}"
    );
    let again = within(caller.read_head()).await;
    assert_eq!(again.status, 103, "a second later");
    let one = Workload::start().await;
    stage.cluster.start_pod(&hello_id(), one.addr());
    loop {
        let head = within(caller.read_head()).await;
        if head.status != 103 {
            assert_eq!(head.status, 201);
            break;
        }
    }
    drop(caller);
    stage.end().await;
}

#[tokio::test]
async fn nobody_is_told_anything_where_the_revision_does_not_want_it() {
    let one = Workload::start().await;
    let stage = Stage::new([hello().build()]);
    let mut clients = Vec::new();
    for (name, value) in [
        ("accept", "text/html"),
        ("accept", "text/event-stream"),
        ("penstock-progress", "?1"),
    ] {
        let request = Request::get("/").header("host", HOST).header(name, value);
        let mut client = Client::http1(stage.addr).await;
        let request = request.body(empty()).unwrap();
        clients.push(tokio::spawn(async move { client.ask(request).await }));
    }
    stage.until_load(3, 0).await;
    stage.cluster.start_pod(&hello_id(), one.addr());
    for answer in clients {
        assert_eq!(within(answer).await.unwrap().unwrap().status, 200);
    }
    stage.end().await;
}

#[tokio::test]
async fn a_browser_that_leaves_its_page_leaves_the_line() {
    let revision = hello().annotation("penstock.dev/waiting-page", "1ms");
    let stage = Stage::new([revision.build()]);
    let mut browser = RawClient::connect(stage.addr).await;
    browser.send(get(BROWSER)).await;
    within(browser.read_head()).await;
    stage.until_load(1, 0).await;
    drop(browser);
    stage.until_idle().await;
    stage.end().await;
}
