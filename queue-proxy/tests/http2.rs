//! HTTP/2 on both sides, frame by frame: interim answers, requests that were not processed, and
//! callers that leave.

use penstock_testkit::frames::{ACK, END_HEADERS, END_STREAM, Frames, head, kind, request};

use crate::frames::{
    CANCEL, INTERNAL_ERROR, NO_ERROR, PROTOCOL_ERROR, REFUSED_STREAM, World, answer, go_away,
    is_status, reset,
};
use crate::world::{before, nobody};

#[tokio::test]
async fn case_107_interim_answers_reach_a_caller_of_http2_before_the_final_one() {
    let mut world = World::start(10).await;
    world.ask(1).await;
    let mut container = world.accept().await;
    let asked = container.until(kind::HEADERS).await;
    for status in ["103", "102", "103"] {
        let interim = head(&[(":status", status), ("link", "</a.css>")]);
        container
            .send(kind::HEADERS, END_HEADERS, asked.stream, &interim)
            .await;
        // Read before the next is written, and before there is a final one.
        let heard = world.caller.of(1).await;
        assert_eq!((heard.kind, heard.flags), (kind::HEADERS, END_HEADERS));
        assert!(!is_status(&heard, 200) && !is_status(&heard, 404));
    }
    answer(&mut container, asked.stream, "404").await;
    let last = world.caller.of(1).await;
    assert!(is_status(&last, 404) && last.has(END_STREAM), "{last:?}");
    world.end().await;
}

#[tokio::test]
async fn interim_answers_beyond_what_a_caller_may_have_waiting_are_left_out() {
    let mut world = World::start(10).await;
    world.ask(1).await;
    let mut container = world.accept().await;
    let asked = container.until(kind::HEADERS).await;
    let interim = head(&[(":status", "103"), ("link", &"x".repeat(100))]);
    for _ in 0..2000 {
        container
            .send(kind::HEADERS, END_HEADERS, asked.stream, &interim)
            .await;
    }
    answer(&mut container, asked.stream, "200").await;
    let mut heard = 0;
    while !is_status(&world.caller.of(1).await, 200) {
        heard += 1;
    }
    assert!((400..600).contains(&heard), "{heard} of about 64 KiB");
    world.end().await;
}

#[tokio::test]
async fn a_caller_of_http2_is_asked_for_its_body_once_the_container_is_ready_for_it() {
    let mut world = World::start(10).await;
    let upload = request("POST", &[("expect", "100-continue")]);
    world
        .caller
        .send(kind::HEADERS, END_HEADERS, 1, &upload)
        .await;
    let mut container = world.accept().await;
    let asked = container.until(kind::HEADERS).await;
    assert!(!asked.has(END_STREAM));
    let go = head(&[(":status", "100")]);
    container
        .send(kind::HEADERS, END_HEADERS, asked.stream, &go)
        .await;
    let heard = world.caller.of(1).await;
    assert_eq!((heard.kind, heard.flags), (kind::HEADERS, END_HEADERS));
    world.caller.send(kind::DATA, END_STREAM, 1, b"hello").await;
    let body = container.of(asked.stream).await;
    assert_eq!((body.kind, &body.payload[..]), (kind::DATA, &b"hello"[..]));
    answer(&mut container, asked.stream, "204").await;
    let last = world.caller.of(1).await;
    assert!(is_status(&last, 204) && last.has(END_STREAM), "{last:?}");
    world.end().await;
}

#[tokio::test]
async fn a_request_that_the_container_refuses_is_sent_again() {
    let mut world = World::start(10).await;
    // Its body is not there yet, so that none of it is gone.
    let head = request("POST", &[]);
    world
        .caller
        .send(kind::HEADERS, END_HEADERS, 1, &head)
        .await;
    let mut container = world.accept().await;
    for refused in [1, 3] {
        assert_eq!(container.until(kind::HEADERS).await.stream, refused);
        reset(&mut container, refused, REFUSED_STREAM).await;
    }
    assert_eq!(container.until(kind::HEADERS).await.stream, 5);
    world.caller.send(kind::DATA, END_STREAM, 1, b"hello").await;
    let body = container.of(5).await;
    assert_eq!((body.kind, &body.payload[..]), (kind::DATA, &b"hello"[..]));
    answer(&mut container, 5, "200").await;
    assert!(is_status(&world.caller.of(1).await, 200));
    world.end().await;
}

#[tokio::test]
async fn a_container_that_refuses_everything_is_not_asked_for_ever() {
    let mut world = World::start(10).await;
    world.ask(1).await;
    let mut container = world.accept().await;
    for stream in [1, 3, 5, 7, 9] {
        assert_eq!(container.until(kind::HEADERS).await.stream, stream);
        reset(&mut container, stream, REFUSED_STREAM).await;
    }
    let last = world.caller.of(1).await;
    assert_eq!(last.kind, kind::HEADERS);
    assert!(!is_status(&last, 200));
    world.end().await;
}

#[tokio::test]
async fn a_request_that_may_have_had_an_effect_is_sent_once() {
    for (case, error) in [("reset", Some(INTERNAL_ERROR)), ("closed", None)] {
        let mut world = World::start(10).await;
        let head = request("POST", &[]);
        let flags = END_HEADERS | END_STREAM;
        world.caller.send(kind::HEADERS, flags, 1, &head).await;
        let mut container = world.accept().await;
        assert_eq!(container.until(kind::HEADERS).await.stream, 1, "{case}");
        let kept = match error {
            Some(error) => {
                reset(&mut container, 1, error).await;
                Some(container)
            }
            None => {
                drop(container);
                None
            }
        };
        let last = world.caller.of(1).await;
        assert!(
            last.kind == kind::HEADERS && !is_status(&last, 200),
            "{case}"
        );
        world.ask(3).await;
        let mut container = match kept {
            Some(container) => container,
            None => world.accept().await,
        };
        // The next request that the container sees is the next one.
        let next = container.until(kind::HEADERS).await;
        answer(&mut container, next.stream, "200").await;
        assert!(is_status(&world.caller.of(3).await, 200), "{case}");
        world.end().await;
    }
}

#[tokio::test]
async fn what_goaway_leaves_out_goes_to_another_connection_and_the_rest_is_answered() {
    let mut world = World::start(10).await;
    world.ask(1).await;
    let mut old = world.accept().await;
    assert_eq!(old.until(kind::HEADERS).await.stream, 1);
    world.ask(3).await;
    assert_eq!(old.until(kind::HEADERS).await.stream, 3);
    go_away(&mut old, 1).await;
    let mut new = world.accept().await;
    assert_eq!(new.until(kind::HEADERS).await.stream, 1);
    answer(&mut new, 1, "204").await;
    assert!(is_status(&world.caller.of(3).await, 204));
    answer(&mut old, 1, "200").await;
    assert!(is_status(&world.caller.of(1).await, 200));
    // Nor does a later one go where nothing more is taken.
    world.ask(5).await;
    assert_eq!(new.until(kind::HEADERS).await.stream, 3);
    answer(&mut new, 3, "200").await;
    assert!(is_status(&world.caller.of(5).await, 200));
    assert_eq!(old.last_word().await, Some(NO_ERROR));
    world.end().await;
}

#[tokio::test]
async fn a_caller_that_leaves_ends_an_upload_that_the_container_makes_no_room_for() {
    let mut world = World::start(10).await;
    // Wider windows hold once they are acknowledged, and told.
    world.caller.until(kind::SETTINGS).await;
    world.caller.until(kind::WINDOW_UPDATE).await;
    world.upload(1).await;
    // More than the window that the container begins with, and never widens.
    for _ in 0..8 {
        world.caller.send(kind::DATA, 0, 1, &[7; 16_000]).await;
    }
    let mut container = world.accept().await;
    let asked = container.until(kind::HEADERS).await;
    let mut taken = 0;
    while taken < 65_535 {
        taken += container.until(kind::DATA).await.payload.len();
    }
    assert_eq!(taken, 65_535);
    reset(&mut world.caller, 1, CANCEL).await;
    let end = container.of(asked.stream).await;
    assert_eq!((end.kind, end.error()), (kind::RST_STREAM, CANCEL));
    world.end().await;
}

#[tokio::test]
async fn an_answer_that_ends_before_its_request_ends_that_too() {
    let mut world = World::start(10).await;
    world.upload(1).await;
    let mut container = world.accept().await;
    let asked = container.until(kind::HEADERS).await;
    answer(&mut container, asked.stream, "400").await;
    let last = world.caller.of(1).await;
    assert!(is_status(&last, 400) && last.has(END_STREAM), "{last:?}");
    let (ours, theirs) = (world.caller.of(1).await, container.of(asked.stream).await);
    assert_eq!((ours.kind, ours.error()), (kind::RST_STREAM, NO_ERROR));
    assert_eq!((theirs.kind, theirs.error()), (kind::RST_STREAM, CANCEL));
    world.end().await;
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_reset() {
    let mut world = World::start(10).await;
    world.ask(1).await;
    let mut container = world.accept().await;
    let asked = container.until(kind::HEADERS).await;
    let head = head(&[(":status", "200")]);
    container
        .send(kind::HEADERS, END_HEADERS, asked.stream, &head)
        .await;
    container.send(kind::DATA, 0, asked.stream, b"half").await;
    assert!(is_status(&world.caller.of(1).await, 200));
    assert_eq!(world.caller.of(1).await.payload, &b"half"[..]);
    reset(&mut container, asked.stream, CANCEL).await;
    let last = world.caller.of(1).await;
    assert_eq!(
        (last.kind, last.error()),
        (kind::RST_STREAM, INTERNAL_ERROR)
    );
    world.end().await;
}

#[tokio::test]
async fn answers_without_a_body_end_with_their_heads() {
    let proxy = before(nobody().await).start();
    let mut caller = Frames::connect(proxy.addr(), &[]).await;
    // The refusal would have a text.
    let flags = END_HEADERS | END_STREAM;
    caller
        .send(kind::HEADERS, flags, 1, &request("HEAD", &[]))
        .await;
    let answer = caller.of(1).await;
    assert_eq!((answer.kind, answer.flags), (kind::HEADERS, flags));
    caller
        .send(kind::HEADERS, flags, 3, &request("GET", &[]))
        .await;
    let answer = caller.of(3).await;
    assert_eq!((answer.kind, answer.flags), (kind::HEADERS, END_HEADERS));
    assert!(caller.of(3).await.has(END_STREAM));
    drop(caller);
    proxy.end().await;
}

#[tokio::test]
async fn headers_of_one_connection_make_a_request_or_an_answer_malformed() {
    let mut world = World::start(10).await;
    for (at, field) in [
        ("connection", "close"),
        ("transfer-encoding", "chunked"),
        ("te", "gzip"),
    ]
    .iter()
    .enumerate()
    {
        let stream = u32::try_from(2 * at + 1).unwrap();
        let flags = END_HEADERS | END_STREAM;
        let bad = request("GET", &[*field]);
        world.caller.send(kind::HEADERS, flags, stream, &bad).await;
        let end = world.caller.of(stream).await;
        assert_eq!((end.kind, end.error()), (kind::RST_STREAM, PROTOCOL_ERROR));
    }
    world.ask(7).await;
    let mut container = world.accept().await;
    let asked = container.until(kind::HEADERS).await;
    let bad = head(&[(":status", "200"), ("connection", "close")]);
    container
        .send(kind::HEADERS, END_HEADERS, asked.stream, &bad)
        .await;
    let last = world.caller.of(7).await;
    assert!(
        last.kind == kind::HEADERS && !is_status(&last, 200),
        "{last:?}"
    );
    world.end().await;
}

#[tokio::test]
async fn a_drain_lets_streams_end_and_takes_no_more() {
    let mut world = World::start(10).await;
    world.ask(1).await;
    let mut container = world.accept().await;
    let asked = container.until(kind::HEADERS).await;
    let World {
        proxy, mut caller, ..
    } = world;
    let ended = tokio::spawn(proxy.end());
    let word = caller.until(kind::GOAWAY).await;
    assert_eq!(word.error(), NO_ERROR);
    let ping = caller.until(kind::PING).await;
    assert!(!ping.has(ACK));
    answer(&mut container, asked.stream, "200").await;
    assert!(is_status(&caller.of(1).await, 200));
    // It is the proxy that closes.
    while caller.next().await.is_some() {}
    ended.await.unwrap();
}
