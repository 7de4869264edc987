//! Long-lived streams: at the end of an activator, and while nobody uses them.

use std::time::Duration;

use penstock_runtime::drain::Drained;
use penstock_testkit::client::RawClient;
use penstock_testkit::frames::{END_HEADERS, END_STREAM, Frames, kind};
use penstock_testkit::workload::Workload;

use crate::stage::{HOST, STATUS_200, Stage, hello, within};

const LONG: Duration = Duration::from_secs(3600);

/// What a server says that goes and comes back: close, 1012.
const RESTART: [u8; 4] = [0x88, 2, 0x03, 0xf4];

/// A WebSocket to a pod that sends back what it gets.
async fn websocket(stage: &Stage) -> RawClient {
    let mut client = RawClient::connect(stage.addr).await;
    client
        .send(format!(
            "GET /chat HTTP/1.1\r\nhost: {HOST}\r\nconnection: Upgrade\r\nupgrade: WebSocket\r\n\r\n"
        ))
        .await;
    assert_eq!(within(client.read_head()).await.status, 101);
    client
}

/// A masked frame of a client.
fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x80 | opcode, 0x80 | payload.len() as u8, 0, 0, 0, 0];
    frame.extend(payload);
    frame
}

#[tokio::test]
async fn a_websocket_is_told_that_its_server_goes_between_two_frames_and_its_close_reaches_the_pod()
{
    let one = Workload::start().await;
    let stage = Stage::new([hello().pod(one.addr()).build()]);
    let (mut idle, mut busy) = (websocket(&stage).await, websocket(&stage).await);
    // One is in the middle of a frame, which comes back as it goes.
    let text = frame(1, b"hello");
    let (begin, end) = text.split_at(7);
    busy.send(begin).await;
    assert_eq!(&within(busy.read_exact(7)).await[..], begin);

    let draining = tokio::spawn(stage.running.drain(Duration::ZERO, LONG));
    assert_eq!(&within(idle.read_exact(4)).await[..], RESTART);
    busy.send(end).await;
    let rest = within(busy.read_exact(end.len() + 4)).await;
    assert_eq!(&rest[..end.len()], end, "the frame is whole");
    assert_eq!(&rest[end.len()..], RESTART);

    // What they answer is the last that the pod hears of them; it ends the connection.
    for mut client in [idle, busy] {
        client.send(frame(1, b"last word")).await;
        client.send(frame(8, &RESTART[2..])).await;
        assert!(within(client.read_to_close()).await.is_empty());
    }
    assert_eq!(within(draining).await.unwrap(), Drained::Clean);
}

#[tokio::test]
async fn a_websocket_that_does_not_answer_has_the_time_of_the_drain() {
    let one = Workload::start().await;
    let stage = Stage::new([hello().pod(one.addr()).build()]);
    let mut deaf = websocket(&stage).await;
    let drained = within(stage.running.drain(Duration::ZERO, Duration::ZERO)).await;
    assert!(matches!(drained, Drained::Cut { left: 1.. }), "{drained:?}");
    within(deaf.read_to_close()).await;
}

#[tokio::test]
async fn streams_of_http2_are_told_by_goaway_and_end_by_themselves() {
    let one = Workload::start().await;
    let stage = Stage::new([hello().pod(one.addr()).build()]);
    let mut caller = Frames::connect(stage.addr, &[]).await;
    let head = penstock_testkit::frames::head(&[
        (":method", "GET"),
        (":scheme", "http"),
        (":authority", HOST),
        (":path", "/hold"),
    ]);
    let flags = END_HEADERS | END_STREAM;
    caller.send(kind::HEADERS, flags, 1, &head).await;
    within(one.until_inside(1)).await;
    let draining = tokio::spawn(stage.running.drain(Duration::ZERO, LONG));
    let goaway = within(caller.until(kind::GOAWAY)).await;
    assert_eq!(goaway.error(), 0, "no error");
    one.release(1);
    let head = within(caller.of(1)).await;
    assert_eq!((head.kind, head.payload[0]), (kind::HEADERS, STATUS_200));
    assert_eq!(&within(caller.of(1)).await.payload[..], b"held");
    assert_eq!(within(draining).await.unwrap(), Drained::Clean);
}

#[tokio::test]
async fn an_open_stream_on_which_nothing_passes_is_no_demand_if_its_revision_wants_that() {
    let one = Workload::start().await;
    let revision = hello()
        .annotation("penstock.dev/idle-streams", "1500ms")
        .pod(one.addr());
    let stage = Stage::new([revision.build()]);
    let mut open = websocket(&stage).await;
    within(stage.until_untracked()).await;
    assert_eq!(stage.load().unwrap().in_flight, 1, "it is there");
    open.send(frame(1, b"again")).await;
    // It counts for more than a second from here on, and so in the next report.
    assert_eq!(within(stage.report()).await.in_flight, 1);
    drop(open);
    stage.until_load(0, 0).await;
    within(stage.until_untracked()).await;
    stage.end().await;
}
