//! The statistics server over real sockets: what callers send, and what becomes of it.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod buckets;
mod harm;
mod program;
mod stage;

use std::time::Duration;

use penstock_types::RevisionId;
use stage::{Stage, hello, one_revision, word};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};

/// What a plain request gets: its status line.
async fn ask(stage: &Stage, headers: &str) -> String {
    let mut stream = TcpStream::connect(stage.addr).await.unwrap();
    let request = format!("GET /any/path HTTP/1.1\r\n{headers}Connection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer.lines().next().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn case_102_probes_of_the_kubelet_get_200_and_both_words_of_a_frame_count() {
    let stage = Stage::start(["a-00001", "b-00001"].map(one_revision)).await;
    for probe in [
        "Host: x\r\nUser-Agent: kube-probe/1.31\r\n",
        "Host: x\r\nK-Kubelet-Probe: queue\r\n",
    ] {
        assert_eq!(ask(&stage, probe).await, "HTTP/1.1 200 OK");
    }
    assert_eq!(ask(&stage, "Host: x\r\n").await, "HTTP/1.1 400 Bad Request");
    let mut activator = stage.activator(true).await;
    let frame = [word("a-00001", 1.0, 3), word("b-00001", 1.0, 5)];
    activator.say(&frame).await;
    let asked = [stage.asked().await, stage.asked().await];
    let names = asked.map(|(id, _)| id.name().to_owned());
    assert_eq!(names, ["a-00001", "b-00001"]);
    drop(activator);
    stage.stop().await;
}

#[tokio::test]
async fn case_103_shutdown_closes_with_1012_and_takes_no_more() {
    let stage = Stage::start([one_revision("hello-00001")]).await;
    let mut activator = stage.activator(false).await;
    let addr = stage.addr;
    let stopping = tokio::spawn(stage.stop());
    let close = activator.next().await;
    let Some(Ok(Message::Close(Some(close)))) = close else {
        panic!("not closed but {close:?}");
    };
    assert_eq!(close.code, CloseCode::Restart);
    assert_eq!(u16::from(close.code), 1012);
    // The library answers the close by itself; the server then ends the connection.
    assert!(activator.next().await.is_none_or(|end| end.is_err()));
    stopping.await.unwrap();
    assert!(TcpStream::connect(addr).await.is_err());
}

#[tokio::test]
async fn an_activator_that_does_not_leave_is_cut_off_after_a_while() {
    let stage = Stage::start([one_revision("hello-00001")]).await;
    // It never reads, so it never answers the close.
    let activator = stage.activator(false).await;
    let stopping = tokio::time::timeout(Duration::from_secs(8), stage.stop());
    stopping.await.expect("the limit is five seconds");
    drop(activator);
}

#[tokio::test]
async fn the_extension_is_offered_to_those_who_ask_for_it_alone() {
    let stage = Stage::start([one_revision("hello-00001")]).await;
    assert!(stage.activator(true).await.extended);
    assert!(!stage.activator(false).await.extended);
    stage.stop().await;
}

#[tokio::test]
async fn what_waits_at_two_activators_sizes_the_first_decisions_together() {
    let stage = Stage::start([one_revision("hello-00001")]).await;
    let (mut one, mut two) = (stage.activator(true).await, stage.activator(true).await);
    one.say(&[word("hello-00001", 1.0, 200)]).await;
    assert_eq!(stage.asked().await, (hello(), 20));
    two.say(&[word("hello-00001", 1.0, 100)]).await;
    assert_eq!(stage.asked().await, (hello(), 30));
    drop((one, two));
    stage.stop().await;
}

#[tokio::test]
async fn an_activator_of_knatives_is_understood_without_the_extension() {
    let stage = Stage::start([one_revision("hello-00001")]).await;
    let mut activator = stage.activator(false).await;
    // Its first word says one request, whatever waits.
    activator.say(&[word("hello-00001", 1.0, 200)]).await;
    assert_eq!(stage.asked().await, (hello(), 1));
    drop(activator);
    stage.stop().await;
}

#[tokio::test]
async fn over_a_new_connection_the_true_numbers_replace_the_old_ones() {
    let stage = Stage::start([one_revision("hello-00001")]).await;
    let mut activator = stage.activator(true).await;
    activator.say(&[word("hello-00001", 1.0, 200)]).await;
    assert_eq!(stage.asked().await, (hello(), 20));
    activator.leave().await;
    let mut again = stage.activator(true).await;
    again.say(&[word("hello-00001", 1.0, 210)]).await;
    assert_eq!(stage.asked().await, (hello(), 21), "and not 41");
    drop(again);
    stage.stop().await;
}

#[tokio::test]
async fn what_no_revision_is_known_for_is_ignored() {
    let stage = Stage::start([one_revision("hello-00001")]).await;
    let mut activator = stage.activator(true).await;
    activator.say(&[word("nobody-00001", 1.0, 7)]).await;
    activator.say(&[word("hello-00001", 1.0, 7)]).await;
    let id = RevisionId::new("default", "hello-00001");
    assert_eq!(stage.asked().await, (id, 1));
    drop(activator);
    stage.stop().await;
}

#[tokio::test]
async fn a_handshake_to_a_bucket_that_is_held_elsewhere_fails() {
    let stage = Stage::start([one_revision("hello-00001")]).await;
    let refused = stage
        .try_activator("autoscaler-bucket-03-of-10.knative-serving.svc", false)
        .await;
    let Err(Error::Http(answer)) = refused else {
        panic!("it was taken");
    };
    assert_eq!(answer.status(), 200);
    let host = "autoscaler-bucket-00-of-01.knative-serving.svc";
    assert!(stage.try_activator(host, false).await.is_ok());
    stage.stop().await;
}
