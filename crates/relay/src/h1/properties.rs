//! What holds for any bytes that come, wherever they are cut.

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Method, Version};
use proptest::prelude::*;

use super::encode;
use super::head::{self, Framing, RequestHead, Scan};
use super::outbox::{Encoder, Outbox};
use super::tests::{decode, whole};

/// What goes on of a request.
fn encoded(head: &RequestHead) -> Bytes {
    let mut out = BytesMut::new();
    let request = &head.request;
    let host = HeaderValue::from_static("h");
    let body = match head.framing {
        Framing::Length(0) => None,
        Framing::Length(length) => Some(Encoder::Length(length)),
        Framing::Chunked | Framing::ToTheEnd => Some(Encoder::Chunked),
    };
    encode::request(
        &mut out,
        request.method(),
        request.uri(),
        &host,
        request.headers(),
        body,
    );
    out.freeze()
}

/// Cuts `bytes` at these places.
fn cut<'a>(bytes: &'a [u8], at: &[usize]) -> Vec<&'a [u8]> {
    let mut at: Vec<usize> = at.iter().map(|at| at % (bytes.len() + 1)).collect();
    at.extend([0, bytes.len()]);
    at.sort_unstable();
    at.windows(2).map(|two| &bytes[two[0]..two[1]]).collect()
}

/// Bytes that look like messages, and others.
fn noise() -> impl Strategy<Value = Vec<u8>> {
    let words: Vec<&'static [u8]> = vec![
        b"GET",
        b"POST",
        b" ",
        b"/",
        b"*",
        b"HTTP/1.1",
        b"HTTP/1.0",
        b"HTTP/2.0",
        b"\r\n",
        b"\n",
        b"\r",
        b":",
        b"Host: a",
        b"Content-Length: ",
        b"Transfer-Encoding: ",
        b"chunked",
        b"5",
        b"0",
        b"a",
        b"\r\n\r\n",
        b"200",
        b";",
        b",",
        b"\0",
        b"\xff",
        b"http://b/",
        b"\t",
    ];
    let any = prop::collection::vec(any::<u8>(), 0..4);
    let word = prop::sample::select(words).prop_map(<[u8]>::to_vec);
    prop::collection::vec(prop_oneof![8 => word, 1 => any], 0..40).prop_map(|all| all.concat())
}

proptest! {
    #[test]
    fn a_head_means_the_same_however_it_is_cut(bytes in noise(), at in prop::collection::vec(any::<usize>(), 0..6)) {
        let mut buffer = BytesMut::from(&bytes[..]);
        let at_once = Scan::default().next(&mut buffer);
        let mut scan = Scan::default();
        let mut pieces = BytesMut::new();
        let mut rest = Vec::new();
        let mut found = Ok(None);
        for piece in cut(&bytes, &at) {
            if matches!(found, Ok(None)) {
                pieces.extend_from_slice(piece);
                found = scan.next(&mut pieces);
            } else {
                rest.extend_from_slice(piece);
            }
        }
        prop_assert_eq!(&at_once, &found);
        if let Ok(Some(_)) = found {
            prop_assert_eq!(&buffer[..], &[&pieces[..], &rest].concat()[..]);
        }
    }

    #[test]
    fn nothing_that_comes_panics_and_what_goes_on_is_stable(bytes in noise()) {
        let mut buffer = BytesMut::from(&bytes[..]);
        while let Ok(Some(head)) = Scan::default().next(&mut buffer) {
            let _ = head::answer(&head, &Method::GET);
            let Ok(head) = head::request(head) else { continue };
            prop_assert!(head.request.version() <= Version::HTTP_11);
            let once = encoded(&head);
            let again = head::request(whole(&once).unwrap());
            prop_assert!(again.is_ok(), "{:?}", once);
            let again = again.unwrap();
            prop_assert_eq!(again.framing, head.framing);
            // Host is put in its place the first time; from then on nothing changes.
            let twice = encoded(&again);
            prop_assert_eq!(encoded(&head::request(whole(&twice).unwrap()).unwrap()), twice);
        }
    }

    #[test]
    fn a_body_means_the_same_however_it_is_cut(bytes in noise(), at in prop::collection::vec(any::<usize>(), 0..6), length in 0..50_u64) {
        for framing in [Framing::Chunked, Framing::Length(length), Framing::ToTheEnd] {
            let at_once = decode(framing, &[&bytes]);
            let pieces = decode(framing, &cut(&bytes, &at));
            prop_assert_eq!(at_once, pieces);
        }
    }

    #[test]
    fn what_is_chunked_here_is_understood_here(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..3000), 0..6), at in prop::collection::vec(any::<usize>(), 0..6)) {
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", HeaderValue::from_static("1"));
        trailers.insert("content-length", HeaderValue::from_static("1"));
        let mut wire = Vec::new();
        let mut encoder = Encoder::Chunked;
        for piece in &pieces {
            let mut out = Outbox::default();
            encoder.data(&mut out, Bytes::copy_from_slice(piece), false).unwrap();
            wire.extend(out.bytes());
        }
        let mut out = Outbox::default();
        encoder.end(&mut out, Some(&trailers)).unwrap();
        wire.extend(out.bytes());
        let (data, got, rest) = decode(Framing::Chunked, &cut(&wire, &at)).unwrap();
        prop_assert_eq!(data, pieces.concat());
        trailers.remove("content-length");
        prop_assert_eq!(got, trailers);
        prop_assert!(rest.is_empty());
    }
}
