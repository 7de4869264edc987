//! What a long row of wrong and broken requests leaves in the program: nothing.

use std::time::Duration;

use penstock_testkit::client::RawClient;
use penstock_testkit::frames::{END_HEADERS, Frames, kind, request};
use penstock_testkit::workload::{RawWorkload, Workload};
use rustix::process::Signal;

use crate::world::{Program, before, get};

/// Rows after which the program has the buffers that it keeps, and as many beyond that.
const ROWS: usize = 4;
/// What the latter may need, in bytes; far less than what is sent in one of them.
const SLACK: u64 = 512 << 10;
/// Streams that are opened and reset in one connection, fewer than make it end.
const STREAMS: u32 = 100;
const CANCEL: [u8; 4] = 8_u32.to_be_bytes();

/// Some of everything.
async fn one_row(program: &Program) {
    let addr = program.at("main");
    let too_long = format!("GET / HTTP/1.1\r\nHost: a\r\nX-A: {}", "a".repeat(1 << 20));
    for _ in 0..8 {
        let mut client = RawClient::connect(addr).await;
        client.send_what_is_taken(too_long.as_bytes()).await;
        client.reset();
    }
    for wrong in [
        "GET / HTTP/1.1\r\nHost: a\r\nContent-Length : 5\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        "\u{1}\u{2}\r\n\r\n",
    ] {
        for _ in 0..50 {
            let mut client = RawClient::connect(addr).await;
            client.send(wrong).await;
            client.read_to_close().await;
        }
    }
    let whole = "POST /status/200 HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nsome of it";
    for length in 0..whole.len() {
        let mut client = RawClient::connect(addr).await;
        client.send(&whole[..length]).await;
        client.reset();
    }
    for _ in 0..5 {
        let mut caller = Frames::connect(addr, &[]).await;
        let head = request("POST", &[]);
        for at in 0..STREAMS {
            let stream = 2 * at + 1;
            caller.send(kind::HEADERS, END_HEADERS, stream, &head).await;
            caller.send(kind::DATA, 0, stream, &[7; 8_000]).await;
            caller.send(kind::RST_STREAM, 0, stream, &CANCEL).await;
        }
    }
}

#[tokio::test]
async fn a_long_row_of_broken_requests_leaves_no_memory_no_request_and_no_panic() {
    let workload = Workload::start().await;
    let broken = RawWorkload::garbage().await;
    for (container, status) in [(workload.addr(), 200), (broken.addr(), 502)] {
        let make = before(container).with("CONTAINER_CONCURRENCY", "10");
        let program = make.quiet(Duration::ZERO).start().await;
        let mut private = [0; 4];
        for after in &mut private {
            for _ in 0..ROWS {
                one_row(&program).await;
                assert_eq!(get(program.at("main"), "/status/200").await.0, status);
            }
            *after = program.private();
        }
        // What leaks grows every time; what is made for the first time, by a worker that had
        // nothing to do before, does not.
        let level = private.windows(2).any(|two| two[1] < two[0] + SLACK);
        assert!(level, "{private:?} bytes, each time more");
        // Nothing is inside, or the end would wait for it.
        program.signal(Signal::TERM);
        let (code, log) = program.ended().await;
        assert_eq!(code, 0, "{log}");
        assert!(!log.contains("panicked"), "{log}");
    }
}
