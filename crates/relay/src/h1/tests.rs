//! Bytes in, messages out: what is taken, what is made of it, and what is refused.

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Method, Version};
use proptest::prelude::*;

use super::encode;
use super::framing::{BadBody, Decoder, Piece};
use super::head::{self, AnswerHead, BadHead, Framing, MOST, RequestHead, Scan};
use super::outbox::Encoder;

/// The head that `text` begins with; `\n` stands for the end of a line.
fn request(text: &str) -> Result<RequestHead, BadHead> {
    head::request(whole(text.replace('\n', "\r\n").as_bytes())?)
}

fn answer(text: &str, asked: &Method) -> Result<AnswerHead, BadHead> {
    head::answer(&whole(text.replace('\n', "\r\n").as_bytes())?, asked)
}

fn whole(bytes: &[u8]) -> Result<Bytes, BadHead> {
    let mut buffer = BytesMut::from(bytes);
    let head = Scan::default().next(&mut buffer)?;
    Ok(head.expect("a whole head"))
}

#[test]
fn requests_that_mean_one_thing_are_taken() {
    use Framing::{Chunked, Length};
    let table = [
        // what it shows, request, framing, whether another may follow
        ("no body", "GET / HTTP/1.1\nHost: a\n\n", Length(0), true),
        (
            "a length",
            "POST / HTTP/1.1\nContent-Length: 5\n\n",
            Length(5),
            true,
        ),
        (
            "the same length twice",
            "POST / HTTP/1.1\nContent-Length: 5\nContent-Length: 5\n\n",
            Length(5),
            true,
        ),
        (
            "chunked",
            "POST / HTTP/1.1\nTransfer-Encoding: Chunked\n\n",
            Chunked,
            true,
        ),
        (
            "chunked wins",
            "POST / HTTP/1.1\nContent-Length: 5\nTransfer-Encoding: chunked\n\n",
            Chunked,
            false,
        ),
        (
            "the caller closes",
            "GET / HTTP/1.1\nConnection: x, Close\n\n",
            Length(0),
            false,
        ),
        ("HTTP/1.0 closes", "GET / HTTP/1.0\n\n", Length(0), false),
        (
            "unless it says so",
            "GET / HTTP/1.0\nConnection: Keep-Alive\n\n",
            Length(0),
            true,
        ),
        (
            "later versions are 1.1",
            "GET / HTTP/1.7\n\n",
            Length(0),
            true,
        ),
        (
            "empty lines before it",
            "\n\nGET / HTTP/1.1\n\n",
            Length(0),
            true,
        ),
        ("any method", "BREW /pot HTTP/1.1\n\n", Length(0), true),
        (
            "blanks around a value",
            "GET / HTTP/1.1\nContent-Length: \t 7 \t\n\n",
            Length(7),
            true,
        ),
        (
            "the largest length",
            "GET / HTTP/1.1\nContent-Length: 18446744073709551615\n\n",
            Length(u64::MAX),
            true,
        ),
    ];
    for (case, text, framing, keep) in table {
        let head = request(text).expect(case);
        assert_eq!((head.framing, head.keep), (framing, keep), "{case}");
        let lengths = head.request.headers().get_all("content-length").iter();
        assert!(lengths.count() <= usize::from(framing != Chunked), "{case}");
    }
}

#[test]
fn requests_that_mean_nothing_or_two_things_are_refused() {
    let table = [
        (
            "lengths that differ",
            "POST / HTTP/1.1\nContent-Length: 5\nContent-Length: 6\n\n",
            400,
        ),
        (
            "a list of lengths",
            "POST / HTTP/1.1\nContent-Length: 5, 5\n\n",
            400,
        ),
        ("no number", "POST / HTTP/1.1\nContent-Length: x\n\n", 400),
        ("an empty one", "POST / HTTP/1.1\nContent-Length:\n\n", 400),
        ("a sign", "POST / HTTP/1.1\nContent-Length: +5\n\n", 400),
        (
            "too large",
            "POST / HTTP/1.1\nContent-Length: 18446744073709551616\n\n",
            400,
        ),
        (
            "a length nobody reads is wrong, too",
            "POST / HTTP/1.1\nTransfer-Encoding: chunked\nContent-Length: x\n\n",
            400,
        ),
        (
            "chunked twice",
            "POST / HTTP/1.1\nTransfer-Encoding: chunked, chunked\n\n",
            400,
        ),
        (
            "chunked in two lines",
            "POST / HTTP/1.1\nTransfer-Encoding: chunked\nTransfer-Encoding: chunked\n\n",
            400,
        ),
        (
            "not chunked",
            "POST / HTTP/1.1\nTransfer-Encoding: identity\n\n",
            400,
        ),
        ("no coding", "POST / HTTP/1.1\nTransfer-Encoding:\n\n", 400),
        (
            "almost chunked",
            "POST / HTTP/1.1\nTransfer-Encoding: xchunked\n\n",
            400,
        ),
        (
            "quoted",
            "POST / HTTP/1.1\nTransfer-Encoding: \"chunked\"\n\n",
            400,
        ),
        (
            "another before it",
            "POST / HTTP/1.1\nTransfer-Encoding: gzip, chunked\n\n",
            501,
        ),
        (
            "another after it",
            "POST / HTTP/1.1\nTransfer-Encoding: chunked, gzip\n\n",
            400,
        ),
        (
            "in HTTP/1.0",
            "POST / HTTP/1.0\nTransfer-Encoding: chunked\n\n",
            400,
        ),
        ("a folded line", "GET / HTTP/1.1\nA: b\n c\n\n", 400),
        ("a folded first line", "GET / HTTP/1.1\n A: b\n\n", 400),
        ("a blank before the colon", "GET / HTTP/1.1\nA : b\n\n", 400),
        ("no name", "GET / HTTP/1.1\n: b\n\n", 400),
        ("no colon", "GET / HTTP/1.1\nA\n\n", 400),
        ("a bare carriage return", "GET / HTTP/1.1\nA: b\rc\n\n", 400),
        ("a zero byte", "GET / HTTP/1.1\nA: b\0c\n\n", 400),
        ("another control", "GET / HTTP/1.1\nA: b\u{1}c\n\n", 400),
        ("delete", "GET / HTTP/1.1\nA: b\u{7f}c\n\n", 400),
        ("a method with a blank", "GE T / HTTP/1.1\n\n", 400),
        ("a method that is none", "G@T / HTTP/1.1\n\n", 400),
        ("a name as target", "GET a HTTP/1.1\n\n", 400),
        ("a star for GET", "GET * HTTP/1.1\n\n", 400),
        ("no target", "GET HTTP/1.1\n\n", 400),
        ("HTTP/0.9", "GET /\n\n", 400),
        ("HTTP/2.0", "GET / HTTP/2.0\n\n", 505),
        ("HTTP/3.0", "GET / HTTP/3.0\n\n", 505),
        ("another protocol", "GET / ICY/1.1\n\n", 400),
        (
            "too many lines",
            &format!("GET / HTTP/1.1\n{}\n", "a:\n".repeat(40_000)),
            431,
        ),
    ];
    for (case, text, status) in table {
        let refused = request(text).expect_err(case);
        assert_eq!(refused.status(), status, "{case}: {refused}");
    }
}

#[test]
fn a_head_is_as_long_as_may_be() {
    let of = |length: usize| {
        let frame = "GET / HTTP/1.1\r\na: \r\n\r\n".len();
        format!(
            "GET / HTTP/1.1\r\na: {}\r\n\r\n",
            "x".repeat(length - frame)
        )
    };
    assert!(head::request(whole(of(MOST).as_bytes()).unwrap()).is_ok());
    assert_eq!(whole(of(MOST + 1).as_bytes()), Err(BadHead::TooLong));
    // One that does not end is refused before it has.
    let mut endless = BytesMut::from(&vec![b'x'; MOST + 1][..]);
    assert_eq!(Scan::default().next(&mut endless), Err(BadHead::TooLong));
}

#[test]
fn answers_and_where_they_end() {
    use Framing::{Chunked, Length, ToTheEnd};
    let table = [
        (
            Method::GET,
            "HTTP/1.1 200 OK\nContent-Length: 5\n\n",
            Length(5),
            true,
        ),
        (Method::GET, "HTTP/1.1 200\n\n", ToTheEnd, false),
        (Method::GET, "HTTP/1.0 200 OK\n\n", ToTheEnd, false),
        (
            Method::GET,
            "HTTP/1.0 200 OK\nContent-Length: 5\n\n",
            Length(5),
            false,
        ),
        (
            Method::GET,
            "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n",
            Chunked,
            true,
        ),
        (
            Method::GET,
            "HTTP/1.1 200 OK\nContent-Length: 5\nTransfer-Encoding: chunked\n\n",
            Chunked,
            false,
        ),
        (
            Method::GET,
            "HTTP/1.1 200 OK\nConnection: close\nContent-Length: 5\n\n",
            Length(5),
            false,
        ),
        (
            Method::HEAD,
            "HTTP/1.1 200 OK\nContent-Length: 5\n\n",
            Length(0),
            true,
        ),
        (Method::HEAD, "HTTP/1.1 200 OK\n\n", Length(0), true),
        (Method::GET, "HTTP/1.1 204 No Content\n\n", Length(0), true),
        (
            Method::GET,
            "HTTP/1.1 304 Not Modified\nContent-Length: 5\n\n",
            Length(0),
            true,
        ),
        (Method::CONNECT, "HTTP/1.1 200 OK\n\n", Length(0), false),
        (
            Method::CONNECT,
            "HTTP/1.1 405 No\nContent-Length: 5\n\n",
            Length(5),
            false,
        ),
    ];
    for (asked, text, framing, keep) in table {
        let head = answer(text, &asked).expect(text);
        assert_eq!((head.framing, head.keep), (framing, keep), "{asked} {text}");
    }
    for text in [
        "HTTP/1.1 200 OK\nContent-Length: 5\nContent-Length: 6\n\n",
        "HTTP/1.1 200 OK\nContent-Length: -1\n\n",
        "HTTP/1.1 200 OK\nTransfer-Encoding: gzip\n\n",
        "HTTP/1.0 200 OK\nTransfer-Encoding: chunked\n\n",
        "HTTP/2.0 200 OK\n\n",
        "HTTP/1.1 20 OK\n\n",
        "HTTP/1.1 2000 OK\n\n",
        "HTTP/1.1 200 OK\nA : b\n\n",
        "HTTP/1.1 200 OK\nA: b\n c\n\n",
        "garbage\n\n",
    ] {
        assert!(answer(text, &Method::GET).is_err(), "{text}");
    }
}

/// All of a body that comes in `pieces`, and whether the connection then ends.
fn decode(framing: Framing, pieces: &[&[u8]]) -> Result<(Vec<u8>, HeaderMap, Vec<u8>), BadBody> {
    let mut decoder = Decoder::new(framing);
    let mut buffer = BytesMut::new();
    let (mut data, mut trailers) = (Vec::new(), HeaderMap::new());
    let mut pieces = pieces.iter();
    loop {
        match decoder.next(&mut buffer)? {
            Piece::Data(more) => {
                data.extend_from_slice(&more);
                decoder.settle(&mut buffer);
            }
            Piece::Trailers(some) => trailers = some,
            Piece::End => {
                let rest = pieces.flat_map(|piece| piece.iter().copied());
                buffer.extend(rest);
                return Ok((data, trailers, buffer.to_vec()));
            }
            Piece::More => match pieces.next() {
                Some(piece) => buffer.extend_from_slice(piece),
                None => decoder.connection_ended()?,
            },
        }
    }
}

#[test]
fn chunks_end_where_they_say() {
    let table = [
        ("0\r\n\r\nrest", "", 0, "rest"),
        ("5\r\nhello\r\n0\r\n\r\n", "hello", 0, ""),
        ("5\r\nhello\r\n0\r\n\r\nrest", "hello", 0, "rest"),
        (
            "3;a=b\r\nabc\r\n000A \t;x\r\n0123456789\r\n0\r\na: 1\r\nB: 2\r\n\r\nrest",
            "abc0123456789",
            2,
            "rest",
        ),
    ];
    for (text, data, trailers, rest) in table {
        let got = decode(Framing::Chunked, &[text.as_bytes()]).expect(text);
        assert_eq!(
            (&got.0[..], got.1.len(), &got.2[..]),
            (data.as_bytes(), trailers, rest.as_bytes()),
            "{text}"
        );
    }
}

#[test]
fn chunks_that_are_none_are_refused() {
    let long = format!("1;{}\r\na\r\n0\r\n\r\n", "x".repeat(2000));
    let many = "1;aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\na\r\n".repeat(1000);
    let trailers = format!("0\r\n{}\r\n", "a: b\r\n".repeat(300));
    let endless = format!("0\r\na: {}", "b".repeat(100_000));
    for text in [
        "\r\n",
        "x\r\n",
        "-1\r\n",
        "+1\r\na\r\n",
        " 1\r\na\r\n",
        "0x1\r\na\r\n",
        "1\na\n0\n\n",
        "1\r\na\n0\r\n\r\n",
        "1\r\nab\r\n",
        "1 1\r\na\r\n",
        "1\r\r\na\r\n",
        "1;a\rb\r\na\r\n",
        "1;\0\r\na\r\n",
        "10000000000000000\r\n",
        "ffffffffffffffffff\r\n",
        "0\r\na\r\n\r\n",
        "0\r\n b: c\r\n\r\n",
        "0\r\na : c\r\n\r\n",
        "1\r\na\r\n0\r\n",
        "5\r\nhe",
        &long,
        &many,
        &trailers,
        &endless,
    ] {
        assert!(
            decode(Framing::Chunked, &[text.as_bytes()]).is_err(),
            "{text:.80}"
        );
    }
    assert_eq!(decode(Framing::Length(3), &[b"ab"]), Err(BadBody::Short));
    let to_the_end = decode(Framing::ToTheEnd, &[b"ab", b"c"]).unwrap();
    assert_eq!(to_the_end.0, b"abc");
}

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
            let mut out = super::outbox::Outbox::default();
            encoder.data(&mut out, Bytes::copy_from_slice(piece), false).unwrap();
            wire.extend(out.bytes());
        }
        let mut out = super::outbox::Outbox::default();
        encoder.end(&mut out, Some(&trailers)).unwrap();
        wire.extend(out.bytes());
        let (data, got, rest) = decode(Framing::Chunked, &cut(&wire, &at)).unwrap();
        prop_assert_eq!(data, pieces.concat());
        trailers.remove("content-length");
        prop_assert_eq!(got, trailers);
        prop_assert!(rest.is_empty());
    }
}
