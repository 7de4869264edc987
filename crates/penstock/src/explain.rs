//! `penstock explain`: asks a running `penstock up`.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Limit for the answer; it is made from what is in memory.
const LIMIT: Duration = Duration::from_secs(5);
/// Bytes of an answer: a service with some thousand revisions.
const MOST: u64 = 16 << 20;

/// Why there is no explanation.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Nobody, or nobody of ours, answers there.
    #[error("no penstock up answers at {admin}: {source}; see --admin")]
    Nobody {
        /// Who was asked.
        admin: SocketAddr,
        /// What went wrong.
        source: io::Error,
    },
    /// It knows no such service; in its words.
    #[error("{0}")]
    Unknown(String),
}

/// Asks the `penstock up` whose admin listener is at `admin` about `name` (`NAMESPACE/NAME`).
///
/// # Errors
///
/// [`Error`]: nobody answers, or the name means nothing there.
pub(crate) fn ask(admin: SocketAddr, name: &str) -> Result<String, Error> {
    let nobody = |source| Error::Nobody { admin, source };
    let answer = exchange(admin, name).map_err(nobody)?;
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .ok_or_else(|| nobody(io::ErrorKind::InvalidData.into()))?;
    match head.split(' ').nth(1) {
        Some("200") => Ok(body.to_owned()),
        Some("404") => Err(Error::Unknown(body.trim_end().to_owned())),
        _ => Err(nobody(io::ErrorKind::InvalidData.into())),
    }
}

fn exchange(admin: SocketAddr, name: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&admin, LIMIT)?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.set_write_timeout(Some(LIMIT))?;
    // HTTP/1.0: the answer ends with the connection.
    write!(
        stream,
        "GET /explain/{name} HTTP/1.0\r\nHost: {admin}\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.take(MOST).read_to_string(&mut answer)?;
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    /// Answers one question with `answer`, and says what was asked.
    fn asked(answer: &'static str) -> (Result<String, Error>, String) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let admin = listener.local_addr().unwrap();
        let serving = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut head = [0; 1024];
            let read = stream.read(&mut head).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
            String::from_utf8_lossy(&head[..read]).into_owned()
        });
        (ask(admin, "default/hello"), serving.join().unwrap())
    }

    #[test]
    fn the_words_of_a_running_one_are_handed_on() {
        let (words, question) = asked("HTTP/1.1 200 OK\r\n\r\nhello: 3 pods wanted\n");
        assert_eq!(words.unwrap(), "hello: 3 pods wanted\n");
        assert!(question.starts_with("GET /explain/default/hello HTTP/1.0\r\n"));
    }

    #[test]
    fn a_name_that_is_unknown_there_is_told_from_nobody_there() {
        let (unknown, _) = asked("HTTP/1.1 404 Not Found\r\n\r\nno revision or service x\n");
        assert_eq!(unknown.unwrap_err().to_string(), "no revision or service x");
        let gone = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let admin = gone.local_addr().unwrap();
        drop(gone);
        let error = ask(admin, "default/hello").unwrap_err().to_string();
        assert!(error.starts_with(&format!("no penstock up answers at {admin}")));
    }
}
