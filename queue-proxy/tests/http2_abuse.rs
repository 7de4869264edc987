//! What a caller may do to an HTTP/2 connection, and what it does to others: nothing.

use penstock_testkit::frames::{END_HEADERS, END_STREAM, Frames, frame, kind, request};
use penstock_testkit::workload::Workload;
use tokio::net::TcpListener;

use crate::frames::{ENHANCE_YOUR_CALM, INTERNAL_ERROR, REFUSED_STREAM};
use crate::world::{LATER, before};

/// A connection on which `bytes` come again and again ends with GOAWAY.
async fn is_calmed(first: &[u8], again: &[u8]) {
    let workload = Workload::start().await;
    let proxy = before(workload.addr()).slots(2).start();
    let mut caller = Frames::connect(proxy.addr(), &[]).await;
    caller.write(first).await;
    for _ in 0..200 {
        caller.write(&again.repeat(50)).await;
    }
    assert_eq!(caller.last_word().await, Some(ENHANCE_YOUR_CALM));
    proxy.serves_others_and_ends(workload).await;
}

#[tokio::test]
async fn pings_without_end() {
    is_calmed(&[], &frame(kind::PING, 0, 0, &[0; 8])).await;
}

#[tokio::test]
async fn settings_without_end() {
    is_calmed(&[], &frame(kind::SETTINGS, 0, 0, &[])).await;
}

#[tokio::test]
async fn a_head_of_continuations_without_end() {
    let head = frame(kind::HEADERS, END_STREAM, 1, &request("GET", &[]));
    is_calmed(&head, &frame(kind::CONTINUATION, 0, 1, &[])).await;
}

#[tokio::test]
async fn empty_data_without_end() {
    let head = frame(kind::HEADERS, END_HEADERS, 1, &request("POST", &[]));
    is_calmed(&head, &frame(kind::DATA, 0, 1, &[])).await;
}

#[tokio::test]
async fn streams_opened_and_reset_without_end() {
    let workload = Workload::start().await;
    let proxy = before(workload.addr()).slots(2).start();
    let mut caller = Frames::connect(proxy.addr(), &[]).await;
    let head = request("GET", &[]);
    for burst in 0..100u32 {
        let mut bytes = Vec::new();
        for at in 0..100 {
            let stream = 2 * (100 * burst + at) + 1;
            let flags = END_HEADERS | END_STREAM;
            bytes.extend(frame(kind::HEADERS, flags, stream, &head));
            bytes.extend(frame(kind::RST_STREAM, 0, stream, &8u32.to_be_bytes()));
        }
        caller.write(&bytes).await;
    }
    assert_eq!(caller.last_word().await, Some(ENHANCE_YOUR_CALM));
    proxy.serves_others_and_ends(workload).await;
}

#[tokio::test]
async fn the_stream_beyond_250_at_once_is_refused() {
    // It is connected to, and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = before(silent.local_addr().unwrap()).start();
    let mut caller = Frames::connect(proxy.addr(), &[]).await;
    let head = request("POST", &[]);
    for at in 0..251 {
        caller
            .send(kind::HEADERS, END_HEADERS, 2 * at + 1, &head)
            .await;
    }
    // The first to have an end is the one too many.
    let refused = caller.until(kind::RST_STREAM).await;
    assert_eq!((refused.stream, refused.error()), (501, REFUSED_STREAM));
    drop(caller);
    proxy.end().await;
}

#[tokio::test]
async fn an_answer_without_a_window_ends_at_the_requests_limit() {
    let workload = Workload::start().await;
    let proxy = before(workload.addr()).slots(1).whole(LATER).start();
    // SETTINGS_INITIAL_WINDOW_SIZE (4) is 0.
    let mut caller = Frames::connect(proxy.addr(), &[0, 4, 0, 0, 0, 0]).await;
    let head = request("GET", &[]);
    let flags = END_HEADERS | END_STREAM;
    caller.send(kind::HEADERS, flags, 1, &head).await;
    let answer = caller.of(1).await;
    assert_eq!((answer.kind, answer.flags), (kind::HEADERS, END_HEADERS));
    let end = caller.of(1).await;
    assert_eq!((end.kind, end.error()), (kind::RST_STREAM, INTERNAL_ERROR));
    drop(caller);
    proxy.serves_others_and_ends(workload).await;
}
