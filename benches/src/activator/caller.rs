//! Callers that need no task each: plain sockets, requests written by hand.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::autoscaler::stage::name;
use crate::process::Outcome;

/// The host of a revision.
pub(super) fn host(n: u32) -> String {
    format!("{}.default.svc.cluster.local", name(n))
}

/// A GET whose target is the number of the request.
pub(super) fn get(revision: u32, number: usize) -> String {
    format!("GET /{number} HTTP/1.1\r\nHost: {}\r\n\r\n", host(revision))
}

/// A connection on which a request was sent, whose answer is not read yet.
pub(super) fn ask(port: u16, revision: u32, number: usize) -> Outcome<TcpStream> {
    let asked = || -> std::io::Result<TcpStream> {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.write_all(get(revision, number).as_bytes())?;
        Ok(stream)
    };
    asked().map_err(|error| format!("caller {number}: {error}"))
}

/// One request on a connection that is kept; its answer ends with the pods' greeting.
pub(super) fn exchange(stream: &mut TcpStream, request: &str) -> std::io::Result<()> {
    stream.write_all(request.as_bytes())?;
    let (mut answer, mut read) = ([0; 1024], 0);
    while !answer[..read].ends_with(b"Hello, World!") {
        match stream.read(&mut answer[read..])? {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            more => read += more,
        }
    }
    Ok(())
}

/// A connection of HTTP/2 with so many requests on it, whose answers nobody reads.
pub(super) fn ask_by_http2(port: u16, revision: u32, streams: u32) -> Outcome<TcpStream> {
    let mut sent = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    sent.extend([0, 0, 0, 4, 0, 0, 0, 0, 0]); // SETTINGS, none
    let host = host(revision);
    // GET, http, / of the static table, and `:authority` in full (RFC 7541, §6).
    let mut head = vec![0x82, 0x86, 0x84, 0x01];
    head.push(u8::try_from(host.len()).map_err(|_| "a long host".to_owned())?);
    head.extend(host.as_bytes());
    let length = u8::try_from(head.len()).map_err(|_| "a long head".to_owned())?;
    for stream in 0..streams {
        sent.extend([0, 0, length, 1, 0b101]); // HEADERS with END_HEADERS and END_STREAM
        sent.extend((2 * stream + 1).to_be_bytes());
        sent.extend(&head);
    }
    let asked = || -> std::io::Result<TcpStream> {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.write_all(&sent)?;
        Ok(stream)
    };
    asked().map_err(|error| format!("a caller by HTTP/2: {error}"))
}
