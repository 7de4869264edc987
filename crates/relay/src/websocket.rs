//! Where the frames of a WebSocket begin and end, as its bytes pass: enough to put a frame of our
//! own between two of them.
//!
//! Source: RFC 6455 §5.2, §5.5.1; the registry of close codes for 1012.

/// A close frame of a server that goes and comes back: code 1012, "service restart".
pub(crate) const RESTART: [u8; 4] = [0x88, 2, 0x03, 0xf4];

/// The opcode of a close frame.
const CLOSE: u8 = 8;
/// Two bytes, eight of a length, four of a mask.
const LONGEST_HEAD: usize = 14;

/// The frames of one direction.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    head: [u8; LONGEST_HEAD],
    /// Of the head of the frame that is passing; 0 between two frames.
    have: usize,
    /// Of its payload, once its head is complete.
    left: Option<u64>,
    closed: bool,
}

impl Frames {
    /// Whether the last frame has passed, and none has begun.
    pub(crate) fn is_between(&self) -> bool {
        self.have == 0
    }

    /// Whether a close frame has passed: nothing of meaning follows.
    pub(crate) fn has_closed(&self) -> bool {
        self.closed
    }

    /// Lets all of `bytes` pass.
    pub(crate) fn pass(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            bytes = &bytes[self.pass_one(bytes)..];
        }
    }

    /// Lets `bytes` pass to the end of the frame that they are of, or all of them; how many.
    pub(crate) fn pass_one(&mut self, bytes: &[u8]) -> usize {
        let mut passed = 0;
        while passed < bytes.len() {
            let Some(left) = &mut self.left else {
                self.head[self.have] = bytes[passed];
                self.have += 1;
                passed += 1;
                self.left = payload(&self.head[..self.have]);
                if self.left == Some(0) {
                    self.end();
                    return passed;
                }
                continue;
            };
            let more = (bytes.len() - passed).min(usize::try_from(*left).unwrap_or(usize::MAX));
            *left -= more as u64;
            passed += more;
            if *left == 0 {
                self.end();
                return passed;
            }
        }
        passed
    }

    fn end(&mut self) {
        self.closed |= self.head[0] & 0x0f == CLOSE;
        self.have = 0;
        self.left = None;
    }
}

/// The length of the payload behind `head`; `None` if that is not all of it.
fn payload(head: &[u8]) -> Option<u64> {
    let [_, second, rest @ ..] = head else {
        return None;
    };
    let mask = if second & 0x80 != 0 { 4 } else { 0 };
    let (length, wide) = match second & 0x7f {
        126 => (rest.get(..2)?, 2),
        127 => (rest.get(..8)?, 8),
        short => return (rest.len() == mask).then_some(short.into()),
    };
    let length = length
        .iter()
        .fold(0, |sum, byte| sum << 8 | u64::from(*byte));
    (rest.len() == wide + mask).then_some(length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(opcode: u8, masked: bool, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![0x80 | opcode];
        let mask = if masked { 0x80 } else { 0 };
        match payload.len() {
            short @ ..126 => frame.push(mask | short as u8),
            long @ ..65536 => {
                frame.push(mask | 126);
                frame.extend((long as u16).to_be_bytes());
            }
            longer => {
                frame.push(mask | 127);
                frame.extend((longer as u64).to_be_bytes());
            }
        }
        if masked {
            frame.extend([1, 2, 3, 4]);
        }
        frame.extend(payload);
        frame
    }

    #[test]
    fn every_length_of_head_and_payload_ends_where_it_does() {
        for masked in [false, true] {
            for length in [0, 1, 125, 126, 65535, 65536] {
                let bytes = frame(2, masked, &vec![7; length]);
                let mut frames = Frames::default();
                let (last, all) = bytes.split_last().unwrap();
                frames.pass(all);
                assert!(!frames.is_between(), "{masked} {length}");
                frames.pass(&[*last]);
                assert!(frames.is_between() && !frames.has_closed());
            }
        }
        let mut frames = Frames::default();
        frames.pass(&RESTART);
        assert!(frames.is_between() && frames.has_closed());
    }

    proptest! {
        #[test]
        fn frames_are_told_apart_however_their_bytes_come(
            lengths in proptest::collection::vec((0..70_000_usize, any::<bool>()), 1..6),
            pieces in proptest::collection::vec(1..5000_usize, 1..50),
        ) {
            let mut bytes = Vec::new();
            let mut ends = Vec::new();
            for (length, masked) in lengths {
                bytes.extend(frame(1, masked, &vec![0x88; length]));
                ends.push(bytes.len());
            }
            let (mut frames, mut seen, mut at) = (Frames::default(), Vec::new(), 0);
            for piece in pieces.iter().cycle() {
                let end = (at + piece).min(bytes.len());
                while at < end {
                    at += frames.pass_one(&bytes[at..end]);
                    if frames.is_between() {
                        seen.push(at);
                    }
                }
                if at == bytes.len() {
                    break;
                }
            }
            prop_assert_eq!(seen, ends);
            prop_assert!(!frames.has_closed());
        }

        #[test]
        fn any_bytes_pass_whole(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
            let (mut frames, mut at) = (Frames::default(), 0);
            while at < bytes.len() {
                let passed = frames.pass_one(&bytes[at..]);
                prop_assert!(passed > 0);
                at += passed;
            }
            prop_assert_eq!(at, bytes.len());
        }
    }
}
