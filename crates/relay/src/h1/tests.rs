//! Bytes in, messages out: what is taken, what is made of it, and what is refused.

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method};

use super::framing::{BadBody, Decoder, Piece};
use super::head::{self, AnswerHead, BadHead, Framing, MOST, RequestHead, Scan};

/// The head that `text` begins with; `\n` stands for the end of a line.
fn request(text: &str) -> Result<RequestHead, BadHead> {
    head::request(whole(text.replace('\n', "\r\n").as_bytes())?)
}

fn answer(text: &str, asked: &Method) -> Result<AnswerHead, BadHead> {
    head::answer(&whole(text.replace('\n', "\r\n").as_bytes())?, asked)
}

pub(super) fn whole(bytes: &[u8]) -> Result<Bytes, BadHead> {
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

/// Data and trailers of a body that comes in `pieces`, after which the connection ends, and what
/// is left of them.
pub(super) fn decode(
    framing: Framing,
    pieces: &[&[u8]],
) -> Result<(Vec<u8>, HeaderMap, Vec<u8>), BadBody> {
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
