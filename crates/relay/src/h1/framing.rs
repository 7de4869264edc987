//! Where a body ends, and what of it is in the bytes that were read (RFC 9112 §6, §7).

use bytes::{Buf, Bytes, BytesMut};
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http_body::SizeHint;
use memchr::memchr;

use super::head::Framing;
use super::stock::{LARGE, SMALL};

/// Longest line with the size of a chunk, its extensions included.
const MOST_OF_A_LINE: usize = 1024;
/// Most extensions of one body, which are for nobody and cost the reading.
const MOST_EXTENSIONS: usize = 16 * 1024;
/// Most trailers of one body, in bytes.
const MOST_TRAILERS: usize = 64 * 1024;
/// Most lines of trailers.
const MOST_TRAILER_LINES: usize = 256;

/// Why a body is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadBody {
    /// It broke off.
    #[error("the connection ended before the body did")]
    Short,
    /// The chunks are not written as such.
    #[error("a chunk is malformed")]
    Chunk,
    /// The trailers are not written as such, or are too many.
    #[error("the trailers are malformed or too long")]
    Trailers,
    /// The request that it belonged to is over.
    #[error("nobody reads this body any more")]
    Over,
}

/// A piece of a body.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// Bytes of it.
    Data(Bytes),
    /// What follows them; the body is over.
    Trailers(HeaderMap),
    /// More has to be read.
    More,
    /// There is nothing more.
    End,
}

/// Takes a body out of what is read.
#[derive(Debug)]
pub(crate) struct Decoder {
    state: State,
    extensions: usize,
}

#[derive(Debug)]
enum State {
    Over,
    Length(u64),
    ToTheEnd,
    Size,
    Chunk(u64),
    /// Behind the data of a chunk.
    ChunkEnd,
    Trailers,
}

impl Decoder {
    pub(crate) const OVER: Self = Self {
        state: State::Over,
        extensions: 0,
    };

    pub(crate) fn new(framing: Framing) -> Self {
        let state = match framing {
            Framing::Length(0) => State::Over,
            Framing::Length(length) => State::Length(length),
            Framing::Chunked => State::Size,
            Framing::ToTheEnd => State::ToTheEnd,
        };
        Self {
            state,
            extensions: 0,
        }
    }

    /// Whether there is nothing more.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self.state, State::Over)
    }

    /// How much of it is still to come.
    pub(crate) fn size_hint(&self) -> SizeHint {
        match self.state {
            State::Over => SizeHint::with_exact(0),
            State::Length(rest) => SizeHint::with_exact(rest),
            _ => SizeHint::default(),
        }
    }

    /// Room for the next read.
    pub(crate) fn room(&self) -> usize {
        match self.state {
            State::Length(rest) | State::Chunk(rest) => {
                usize::try_from(rest).unwrap_or(LARGE).clamp(SMALL, LARGE)
            }
            State::ToTheEnd => LARGE,
            _ => SMALL,
        }
    }

    /// Takes the next piece out of `buffer`.
    ///
    /// # Errors
    ///
    /// [`BadBody`]: what follows on the connection cannot be understood.
    pub(crate) fn next(&mut self, buffer: &mut BytesMut) -> Result<Piece, BadBody> {
        loop {
            match &mut self.state {
                State::Over => return Ok(Piece::End),
                _ if buffer.is_empty() => return Ok(Piece::More),
                State::ToTheEnd => return Ok(Piece::Data(buffer.split().freeze())),
                State::Length(rest) => {
                    let data = at_most(buffer, *rest);
                    *rest -= data.len() as u64;
                    if *rest == 0 {
                        self.state = State::Over;
                    }
                    return Ok(Piece::Data(data));
                }
                State::Chunk(rest) => {
                    let data = at_most(buffer, *rest);
                    *rest -= data.len() as u64;
                    if *rest == 0 {
                        self.state = State::ChunkEnd;
                    }
                    return Ok(Piece::Data(data));
                }
                State::ChunkEnd => {
                    match buffer[..] {
                        [b'\r', b'\n', ..] => buffer.advance(2),
                        [b'\r'] => return Ok(Piece::More),
                        _ => return Err(BadBody::Chunk),
                    }
                    self.state = State::Size;
                }
                State::Size => {
                    let Some(line) = line(buffer)? else {
                        return Ok(Piece::More);
                    };
                    let (size, extensions) = size_of(&buffer[..line])?;
                    self.extensions += extensions;
                    if self.extensions > MOST_EXTENSIONS {
                        return Err(BadBody::Chunk);
                    }
                    buffer.advance(line + 2);
                    self.state = if size == 0 {
                        State::Trailers
                    } else {
                        State::Chunk(size)
                    };
                }
                State::Trailers => {
                    let Some(trailers) = trailers(buffer)? else {
                        return Ok(Piece::More);
                    };
                    self.state = State::Over;
                    return Ok(if trailers.is_empty() {
                        Piece::End
                    } else {
                        Piece::Trailers(trailers)
                    });
                }
            }
        }
    }

    /// Goes through the ends of chunks that are there already, so that [`Self::is_over`] is true
    /// as early as it can be: with the last data.
    pub(crate) fn settle(&mut self, buffer: &mut BytesMut) {
        if matches!(self.state, State::ChunkEnd) && buffer.starts_with(b"\r\n0\r\n\r\n") {
            buffer.advance(7);
            self.state = State::Over;
        }
    }

    /// The connection has ended.
    ///
    /// # Errors
    ///
    /// [`BadBody::Short`], unless that is how the body ends.
    pub(crate) fn connection_ended(&mut self) -> Result<(), BadBody> {
        match self.state {
            State::Over | State::ToTheEnd => {
                self.state = State::Over;
                Ok(())
            }
            _ => Err(BadBody::Short),
        }
    }
}

fn at_most(buffer: &mut BytesMut, rest: u64) -> Bytes {
    let count = usize::try_from(rest).map_or(buffer.len(), |rest| rest.min(buffer.len()));
    buffer.split_to(count).freeze()
}

/// Length of the first line without its end; `None` if that has not come.
fn line(buffer: &[u8]) -> Result<Option<usize>, BadBody> {
    match memchr(b'\n', buffer) {
        Some(at) if at > MOST_OF_A_LINE => Err(BadBody::Chunk),
        Some(at) if at > 0 && buffer[at - 1] == b'\r' => Ok(Some(at - 1)),
        Some(_) => Err(BadBody::Chunk),
        None if buffer.len() > MOST_OF_A_LINE => Err(BadBody::Chunk),
        None => Ok(None),
    }
}

/// The size that a line says, and the length of what else it says.
fn size_of(line: &[u8]) -> Result<(u64, usize), BadBody> {
    let digits = line
        .iter()
        .take_while(|byte| byte.is_ascii_hexdigit())
        .count();
    let extensions = &line[digits..];
    let size = std::str::from_utf8(&line[..digits])
        .ok()
        .filter(|digits| digits.len() <= 16)
        .and_then(|digits| u64::from_str_radix(digits, 16).ok())
        .ok_or(BadBody::Chunk)?;
    // Blanks before the semicolon are bad form, but do no harm (RFC 9112 §7.1.1).
    let rest = extensions.trim_ascii_start();
    let is_text = |byte: &u8| *byte == b'\t' || (*byte >= b' ' && *byte != 0x7f);
    if (rest.is_empty() || rest[0] == b';') && extensions.iter().all(is_text) {
        Ok((size, extensions.len()))
    } else {
        Err(BadBody::Chunk)
    }
}

/// The trailers with the empty line behind them; `None` if that has not come.
fn trailers(buffer: &mut BytesMut) -> Result<Option<HeaderMap>, BadBody> {
    if buffer.starts_with(b"\r\n") {
        buffer.advance(2);
        return Ok(Some(HeaderMap::new()));
    }
    let Some(end) = memchr::memmem::find(buffer, b"\r\n\r\n") else {
        return if buffer.len() > MOST_TRAILERS {
            Err(BadBody::Trailers)
        } else {
            Ok(None)
        };
    };
    let all = buffer.split_to(end + 4).freeze();
    if all.len() > MOST_TRAILERS {
        return Err(BadBody::Trailers);
    }
    let mut lines = [httparse::EMPTY_HEADER; MOST_TRAILER_LINES];
    let lines = match httparse::parse_headers(&all, &mut lines) {
        // An empty line before, of a bare line feed: some would take what follows for a request.
        Ok(httparse::Status::Complete((end, lines))) if end == all.len() => lines,
        _ => return Err(BadBody::Trailers),
    };
    let mut trailers = HeaderMap::with_capacity(lines.len());
    for line in lines {
        let name = HeaderName::from_bytes(line.name.as_bytes());
        let value = HeaderValue::from_maybe_shared(all.slice_ref(line.value));
        let (Ok(name), Ok(value)) = (name, value) else {
            return Err(BadBody::Trailers);
        };
        trailers
            .try_append(name, value)
            .map_err(|_| BadBody::Trailers)?;
    }
    Ok(Some(trailers))
}
