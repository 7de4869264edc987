//! Callers that mean no good, or are broken.

use std::time::Duration;

use penstock_autoscaler::PolicyKind;
use penstock_types::demand::Demand;
use tokio_tungstenite::tungstenite::Message;

use crate::stage::{Stage, hello, one_revision, word};

#[tokio::test]
async fn texts_and_undecodable_frames_are_dropped_and_the_connection_stays() {
    let stage = Stage::start([one_revision("hello-00001")]).await;
    let mut activator = stage.activator(true).await;
    activator.send(Message::text("hello")).await;
    for bytes in [
        &[0x0a, 0x05, 0x70][..],
        &[0x0e],
        &[0xff; 100],
        &[0x0a, 0x00],
    ] {
        activator.send(Message::binary(bytes.to_vec())).await;
    }
    activator.say(&[word("hello-00001", 1.0, 30)]).await;
    assert_eq!(stage.asked().await, (hello(), 3));
    drop(activator);
    stage.stop().await;
}

#[tokio::test]
async fn absurd_figures_ask_for_nothing() {
    let stage = Stage::start(["hello-00001", "last-00001"].map(one_revision)).await;
    let mut activator = stage.activator(true).await;
    let absurd = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -5.0, 1e308];
    for average in absurd {
        activator.say(&[word("hello-00001", average, 1)]).await;
        let table = Demand {
            first: false,
            ..word("hello-00001", average, 1)
        };
        activator.say(&[table]).await;
    }
    activator.say(&[word("hello-00001", 1.0, u32::MAX)]).await;
    activator.say(&[word("last-00001", 1.0, 1)]).await;
    let (asked, pods) = stage.asked().await;
    assert_eq!((asked.name(), pods), ("last-00001", 1));
    assert_eq!(stage.asked_now(), None);
    drop(activator);
    stage.stop().await;
}

#[tokio::test]
async fn a_sender_whose_clock_is_an_hour_off_is_heard_as_if_it_spoke_now() {
    use penstock_types::wire::Frame;
    use prost::Message as _;
    for policy in [PolicyKind::Knative, PolicyKind::Demand] {
        let stage = Stage::deciding([one_revision("hello-00001")], policy).await;
        let mut activator = stage.activator(true).await;
        // The first decision is that there is nothing; from then on a word is urgent.
        tokio::time::sleep(Duration::from_millis(50)).await;
        let now = std::time::SystemTime::UNIX_EPOCH
            .elapsed()
            .unwrap()
            .as_secs();
        for at in [now - 3600, now + 3600] {
            let mut frame = Frame::of(&[word("hello-00001", 1.0, 1)], "activator-1", true);
            for message in &mut frame.messages {
                message.stat.as_mut().unwrap().timestamp = i64::try_from(at).unwrap();
            }
            activator.send(Message::binary(frame.encode_to_vec())).await;
        }
        let (asked, pods) = stage.asked().await;
        assert_eq!((asked, pods), (hello(), 1), "{policy:?}");
        drop(activator);
        stage.stop().await;
    }
}

#[tokio::test]
async fn a_frame_beyond_its_limit_ends_the_connection_and_nothing_else() {
    let stage = Stage::start([one_revision("hello-00001")]).await;
    let mut huge = stage.activator(true).await;
    // It may be cut off before all of it is sent.
    let _ = huge.try_send(Message::binary(vec![0; (4 << 20) + 1])).await;
    while let Some(Ok(_)) = huge.next().await {}
    let mut activator = stage.activator(true).await;
    activator.say(&[word("hello-00001", 1.0, 1)]).await;
    assert_eq!(stage.asked().await, (hello(), 1));
    drop(activator);
    stage.stop().await;
}

#[tokio::test]
async fn a_sender_of_a_thousand_names_is_heard_like_any_other() {
    let stage = Stage::start([one_revision("hello-00001")]).await;
    let mut activator = stage.activator(true).await;
    for n in 0..1000 {
        let bytes = named(&format!("pod-{n}"));
        activator.send(Message::binary(bytes)).await;
    }
    activator.say(&[word("hello-00001", 1.0, 10_000)]).await;
    loop {
        let (_, pods) = stage.asked().await;
        if pods >= 1000 {
            break;
        }
    }
    drop(activator);
    stage.stop().await;
}

fn named(pod: &str) -> Vec<u8> {
    use penstock_types::wire::Frame;
    use prost::Message as _;
    Frame::of(&[word("hello-00001", 1.0, 1)], pod, true).encode_to_vec()
}
