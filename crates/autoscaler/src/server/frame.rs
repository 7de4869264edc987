//! A frame, taken apart one message at a time: a small frame of empty messages would otherwise
//! become a large list.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use penstock_types::demand::Demand;
use penstock_types::stat::Stat;
use penstock_types::wire::FrameMessage;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};
use prost::{DecodeError, Message};

use crate::heard::Word;

/// Words of one frame; what comes beyond is left out.
const MOST_WORDS: usize = 100_000;
/// Requests that one source can have. More is a mistake of the sender, and would be scaled to.
const MOST_REQUESTS: f64 = 1e8;

/// What a frame says.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) whole: bool,
    pub(super) words: Vec<Word>,
    /// Words that were left out: their figures cannot be, or there were too many.
    pub(super) absurd: usize,
}

/// Bytes that are no frame.
#[derive(Debug, thiserror::Error)]
pub(super) enum BadFrame {
    #[error("the frame cannot be decoded: {0}")]
    Undecodable(#[from] DecodeError),
    #[error("the frame ends within a message")]
    CutOff,
    #[error("field {0} of the frame is not of its type")]
    WrongType(u32),
}

/// Takes a frame apart.
///
/// # Errors
///
/// The bytes are no frame; nothing of it counts then.
pub(super) fn decode(frame: &Bytes) -> Result<Said, BadFrame> {
    let mut rest = frame.clone();
    let mut said = Said {
        whole: false,
        words: Vec::new(),
        absurd: 0,
    };
    let mut pods = Names::default();
    while rest.has_remaining() {
        match decode_key(&mut rest)? {
            (1, WireType::LengthDelimited) => {
                let message = FrameMessage::decode(part(&mut rest)?)?;
                match word(message, &mut pods) {
                    Ok(Some(word)) if said.words.len() < MOST_WORDS => said.words.push(word),
                    Ok(None) => {}
                    Ok(Some(_)) | Err(Absurd) => said.absurd += 1,
                }
            }
            (15, WireType::Varint) => said.whole = decode_varint(&mut rest)? != 0,
            (tag @ (1 | 15), _) => return Err(BadFrame::WrongType(tag)),
            (tag, wire_type) => skip_field(wire_type, tag, &mut rest, DecodeContext::default())?,
        }
    }
    Ok(said)
}

/// The bytes of the next message.
fn part(rest: &mut Bytes) -> Result<Bytes, BadFrame> {
    let length = decode_varint(rest)?;
    match usize::try_from(length) {
        Ok(length) if length <= rest.len() => Ok(rest.split_to(length)),
        _ => Err(BadFrame::CutOff),
    }
}

/// Figures that no source can have.
struct Absurd;

/// What a message says; nothing without figures.
fn word(message: FrameMessage, pods: &mut Names) -> Result<Option<Word>, Absurd> {
    let revision = message.revision();
    let Some(stat) = message.stat else {
        return Ok(None);
    };
    if !is_possible(&stat) {
        return Err(Absurd);
    }
    let present = message.present;
    let now = present.unwrap_or_default();
    if f64::from(now.waiting) + f64::from(now.in_flight) > MOST_REQUESTS {
        return Err(Absurd);
    }
    Ok(Some(Word {
        demand: Demand {
            revision,
            average_concurrency: stat.average_concurrent_requests,
            average_proxied_concurrency: stat.average_proxied_concurrent_requests,
            request_count: stat.request_count,
            proxied_request_count: stat.proxied_request_count,
            waiting: now.waiting,
            in_flight: now.in_flight,
            first: now.first,
        },
        pod: pods.get(&stat.pod_name),
        at: u64::try_from(stat.timestamp).ok().filter(|at| *at > 0),
        present: present.is_some(),
    }))
}

/// Whether a source can have such figures. Counts may be a little below zero: they correct what a
/// first word had told too much.
pub(crate) fn is_possible(stat: &Stat) -> bool {
    let averages = [
        stat.average_concurrent_requests,
        stat.average_proxied_concurrent_requests,
    ];
    let counts = [stat.request_count, stat.proxied_request_count];
    averages
        .iter()
        .all(|figure| (0.0..=MOST_REQUESTS).contains(figure))
        && counts.iter().all(|figure| figure.abs() <= MOST_REQUESTS)
}

/// Names that come again in nearly every message.
#[derive(Default)]
struct Names {
    last: Option<Arc<str>>,
    all: HashSet<Arc<str>>,
}

impl Names {
    fn get(&mut self, name: &str) -> Arc<str> {
        if let Some(last) = &self.last
            && **last == *name
        {
            return Arc::clone(last);
        }
        let known = match self.all.get(name) {
            Some(known) => Arc::clone(known),
            None => {
                let new: Arc<str> = name.into();
                self.all.insert(Arc::clone(&new));
                new
            }
        };
        self.last = Some(Arc::clone(&known));
        known
    }
}

#[cfg(test)]
mod tests {
    use penstock_types::RevisionId;
    use penstock_types::wire::Frame;

    use super::*;

    fn report(average: f64) -> Demand {
        Demand {
            revision: RevisionId::new("ns", "rev"),
            average_concurrency: average,
            average_proxied_concurrency: 0.0,
            request_count: -1.0,
            proxied_request_count: 0.0,
            waiting: 7,
            in_flight: 2,
            first: true,
        }
    }

    fn read(frame: &Frame) -> Said {
        decode(&frame.encode_to_vec().into()).unwrap()
    }

    #[test]
    fn a_frame_is_read_with_and_without_additions() {
        for additions in [false, true] {
            let said = read(&Frame::of(&[report(1.5)], "act", additions));
            let word = &said.words[0];
            assert_eq!(word.present, additions);
            assert_eq!(word.demand.average_concurrency, 1.5);
            assert_eq!(word.demand.waiting, if additions { 7 } else { 0 });
            assert_eq!((&*word.pod, word.at), ("act", None));
        }
        assert!(read(&Frame::of(&[], "act", true)).whole);
    }

    #[test]
    fn figures_that_cannot_be_are_left_out_and_the_others_stay() {
        let absurd = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0, 1e308, 1e9];
        let mut reports: Vec<Demand> = absurd.into_iter().map(report).collect();
        reports.push(report(3.0));
        let said = read(&Frame::of(&reports, "act", true));
        assert_eq!((said.absurd, said.words.len()), (absurd.len(), 1));
        let crowd = Demand {
            waiting: u32::MAX,
            ..report(1.0)
        };
        assert_eq!(read(&Frame::of(&[crowd], "act", true)).absurd, 1);
    }

    #[test]
    fn messages_without_figures_and_unknown_fields_are_skipped() {
        // field 5 as a number, then an empty message, then one with a name only
        let bytes = Bytes::from_static(&[0x28, 0x07, 0x0a, 0x00, 0x0a, 0x03, 0x12, 0x01, 0x72]);
        let said = decode(&bytes).unwrap();
        assert!(said.words.is_empty() && !said.whole);
    }

    #[test]
    fn what_is_no_frame_is_refused_whole() {
        let good = Frame::of(&[report(1.0)], "act", true).encode_to_vec();
        for end in 1..good.len() - 2 {
            // A cut between two fields is a shorter frame; here there is one field but the last.
            assert!(decode(&good[..end].to_vec().into()).is_err(), "{end}");
        }
        for wrong in [
            &[0x08, 0x01][..],
            &[0x7a, 0x00],
            &[0x0e],
            &[0x00, 0x01],
            &[0x0c],
        ] {
            assert!(decode(&wrong.to_vec().into()).is_err(), "{wrong:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            let _ = decode(&bytes.into());
        }
    }
}
