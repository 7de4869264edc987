//! Serving one HTTP/1 connection: read a head, let it be answered, write the answer, again.
//!
//! All of it is one task, and the answer is made within it. Nothing is written to the caller
//! from elsewhere, so interim answers cannot get between others.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use http::{Method, Response, StatusCode, Version};
use http_body::Body as _;
use tokio::io::AsyncWrite;
use tokio::time::{Instant, timeout};

use super::encode::{self, Persistence};
use super::head::{BadHead, RequestHead};
use super::intake::Shared;
use super::outbox::{Encoder, Outbox};
use super::rest::Rest;
use crate::body::{Body, Guard};
use crate::caller::Caller;
use crate::connection::Open;
use crate::incoming::Incoming;
use crate::nearby::Wire;
use crate::patience::{self, HEAD_LIMIT, LINGER, TAKE_LIMIT};
use crate::refusal::malformed;
use crate::serve::Answer;
use crate::tunnel::{self, Terms};

/// What comes after an answer.
enum Next<G> {
    Request,
    /// Another protocol; the answer's body has the other side of it.
    Switch(Box<Body<G>>),
    /// The end; `unread`: something of the caller's may still come.
    Close {
        unread: bool,
    },
    /// The end at once: the caller has left, or must see that the answer is not whole.
    Cut,
}

/// What the answer to a request depends on.
struct Asked {
    method: Method,
    version: Version,
    keep: bool,
}

/// Serves until the caller closes, or `open` is to close and no request is open. `first` was
/// read already.
pub(crate) async fn serve<A: Answer>(
    wire: Wire,
    first: BytesMut,
    caller: Arc<Caller>,
    answer: &Arc<A>,
    open: &Open,
) {
    let intake = Shared::new(wire, first, Arc::clone(&caller));
    let mut rest = Rest::default();
    loop {
        let Some(head) = next_head(&intake, open, &mut rest).await else {
            return;
        };
        // All of these boxed, so that an idle connection does not carry the room for them.
        let next = match head {
            Ok(head) => Box::pin(exchange(head, &intake, &caller, answer, open)).await,
            Err(bad) => Box::pin(refuse(&intake, bad, A::NAME)).await,
        };
        match next {
            Next::Request => {
                rest.after(caller.was_refused(), || Box::pin(Arc::clone(answer).room()))
            }
            Next::Close { unread } => return Box::pin(close(&intake, unread)).await,
            Next::Switch(body) => return Box::pin(switch::<A>(intake, body, open)).await,
            Next::Cut => return,
        }
    }
}

/// The next request, not read before the end of `rest`. `None`: there is none.
async fn next_head(
    intake: &Shared,
    open: &Open,
    rest: &mut Rest,
) -> Option<Result<RequestHead, BadHead>> {
    let mut since = None;
    poll_fn(|cx| {
        if !open.is_closing() {
            ready!(rest.poll_over(cx));
        }
        let mut intake = intake.lock();
        if let Poll::Ready(head) = intake.poll_head(cx) {
            return Poll::Ready(head);
        }
        let over = if intake.is_idle() {
            // What has come already is still served, and what may be on its way. In a pipe nothing
            // is: who writes to it looks first whether it is open, on the thread that closes it.
            let is_pipe = intake.wire.socket().is_none();
            open.is_closing() && (is_pipe || patience::is_over(open.farewell()))
        } else {
            let since = *since.get_or_insert_with(Instant::now);
            patience::is_over(since + HEAD_LIMIT)
        };
        if over {
            Poll::Ready(None)
        } else {
            Poll::Pending
        }
    })
    .await
}

/// Lets a request be answered, and writes the answer. (No `async fn`: that would hold the head
/// twice, as its argument and where it is used.)
fn exchange<A: Answer>(
    head: RequestHead,
    intake: &Shared,
    caller: &Arc<Caller>,
    answer: &Arc<A>,
    open: &Open,
) -> impl Future<Output = Next<A::Guard>> + Send {
    let mut asked = Asked {
        method: head.request.method().clone(),
        version: head.request.version(),
        keep: head.keep,
    };
    let body = match intake.begin(&head) {
        Some(body) => Incoming::from(body),
        None => Incoming::empty(),
    };
    let request = head.request.map(|()| body);
    async move {
        let answered = {
            let mut answering = pin!(Arc::clone(answer).answer(request, Arc::clone(caller)));
            poll_fn(|cx| {
                if let Poll::Ready(answered) = answering.as_mut().poll(cx) {
                    return Poll::Ready(Some(answered));
                }
                intake.lock().poll_meanwhile(cx).map(|()| None)
            })
            .await
        };
        let Some(mut answered) = answered else {
            return Next::Cut;
        };
        if intake.lock().is_bad() {
            answered = malformed(StatusCode::BAD_REQUEST, "the body is malformed", A::NAME);
        }
        asked.keep &= !caller.is_last();
        give(intake, asked, answered, open).await
    }
}

/// An answer on its way to the caller.
struct Giving<'a, G> {
    intake: &'a Shared,
    /// Until all of it is in `out`: nothing of it, nor what it holds, waits for the caller then.
    body: Option<Body<G>>,
    encoder: Encoder,
    out: Outbox,
    /// Nothing more is put into `out`.
    over: bool,
    /// When it has to be taken.
    due: Instant,
}

/// Writes an answer.
async fn give<G: Guard>(
    intake: &Shared,
    asked: Asked,
    answered: Response<Body<G>>,
    open: &Open,
) -> Next<G> {
    let (mut giving, keep, switches) = begin(intake, &asked, answered, open);
    if poll_fn(|cx| giving.poll(cx)).await.is_none() {
        if giving.encoder == Encoder::ToTheEnd
            && let Some(stream) = intake.lock().wire.socket()
        {
            // A plain end would make what the caller has the whole. Should it fail, it does.
            let _ = stream.set_zero_linger();
        }
        return Next::Cut;
    }
    if switches && let Some(body) = giving.body.take() {
        return Next::Switch(Box::new(body));
    }
    drop(giving);
    let read = poll_fn(|cx| Poll::Ready(intake.lock().end_request(cx))).await;
    if keep && read {
        Next::Request
    } else {
        Next::Close { unread: !read }
    }
}

/// An answer with its head ready to be written; whether another request may follow, and whether
/// another protocol does.
fn begin<'a, G: Guard>(
    intake: &'a Shared,
    asked: &Asked,
    answered: Response<Body<G>>,
    open: &Open,
) -> (Giving<'a, G>, bool, bool) {
    let (parts, body) = answered.into_parts();
    let switches = parts.status == StatusCode::SWITCHING_PROTOCOLS;
    let is_head = asked.method == Method::HEAD;
    let is_connected = asked.method == Method::CONNECT && parts.status.is_success();
    let bare = is_head
        || is_connected
        || switches
        || parts.status == StatusCode::NO_CONTENT
        || parts.status == StatusCode::NOT_MODIFIED;
    let length = body.size_hint().exact();
    let encoder = match length {
        Some(length) => Encoder::Length(length),
        None if asked.version == Version::HTTP_10 => Encoder::ToTheEnd,
        None => Encoder::Chunked,
    };
    let framing = if is_head {
        // Of what is made here the length is known, of an upstream's its head tells it.
        length.filter(|length| *length > 0).map(Encoder::Length)
    } else {
        (!bare).then_some(encoder)
    };
    let keep = asked.keep
        && framing != Some(Encoder::ToTheEnd)
        && !is_connected
        && !open.is_closing()
        && !intake.lock().is_unwanted();
    let persistence = match (keep || switches, asked.version) {
        (true, Version::HTTP_10) => Persistence::Kept,
        (true, _) => Persistence::Usual,
        (false, _) => Persistence::Closes,
    };
    let mut out = Outbox::default();
    encode::answer(out.head(), asked.version, &parts, framing, persistence);
    let giving = Giving {
        intake,
        over: bare,
        due: body.due().unwrap_or_else(|| Instant::now() + TAKE_LIMIT),
        body: (!bare || switches).then_some(body),
        encoder,
        out,
    };
    (giving, keep, switches)
}

impl<G: Guard> Giving<'_, G> {
    /// Ready once all of it is written; `None` if the caller left, or must see that it is not
    /// whole.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<()>> {
        loop {
            let mut waits = false;
            if !self.over && self.out.has_room() {
                match self.poll_body(cx) {
                    Poll::Ready(Some(())) => {}
                    Poll::Ready(None) => return Poll::Ready(None),
                    Poll::Pending => waits = true,
                }
            }
            let mut intake = self.intake.lock();
            if !self.out.is_empty() {
                match intake.poll_flush(&mut self.out, cx) {
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(_)) => return Poll::Ready(None),
                    Poll::Pending if patience::is_over(self.due) => {
                        return Poll::Ready(None);
                    }
                    Poll::Pending => waits = true,
                }
            }
            if waits {
                return intake.poll_meanwhile(cx).map(|()| None);
            }
            if self.over {
                return Poll::Ready(Some(()));
            }
        }
    }

    /// Moves a piece of the body to `out`.
    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Option<()>> {
        let Some(body) = &mut self.body else {
            self.over = true;
            return Poll::Ready(Some(()));
        };
        let put = match ready!(Pin::new(&mut *body).poll_frame(cx)) {
            None => {
                self.over = true;
                self.encoder.end(&mut self.out, None)
            }
            Some(Err(_)) => return Poll::Ready(None),
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => {
                    self.over = body.is_end_stream();
                    self.encoder.data(&mut self.out, data, self.over)
                }
                Err(frame) => {
                    self.over = true;
                    self.encoder.end(&mut self.out, frame.trailers_ref())
                }
            },
        };
        if self.over {
            self.body = None;
        }
        Poll::Ready(put.ok())
    }
}

/// Joins the connection with the upstream's. `body` goes on holding its guard.
async fn switch<A: Answer>(intake: Shared, mut body: Box<Body<A::Guard>>, open: &Open) {
    if let (Some((link, deadlines)), Some(caller)) = (body.take_link(), intake.into_wire()) {
        let leaving = (A::TAKES_LEAVE && link.is_websocket()).then_some(|| open.is_closing());
        let terms = Terms {
            deadlines,
            leaving,
            passed: |bytes| body.tunnelled(bytes),
        };
        tunnel::run(caller, link.into_wire(), terms).await;
    }
}

/// Answers what is no request.
async fn refuse<G>(intake: &Shared, bad: BadHead, proxy: &str) -> Next<G> {
    let answer: Response<Body<()>> = malformed(bad.status(), &bad.to_string(), proxy);
    let (parts, body) = answer.into_parts();
    let length = body.size_hint().exact().map(Encoder::Length);
    let mut out = Outbox::default();
    encode::answer(
        out.head(),
        Version::HTTP_11,
        &parts,
        length,
        Persistence::Closes,
    );
    let mut giving = Giving {
        intake,
        body: Some(body),
        encoder: Encoder::ToTheEnd,
        out,
        over: false,
        due: Instant::now() + LINGER,
    };
    match poll_fn(|cx| giving.poll(cx)).await {
        Some(()) => Next::Close { unread: true },
        None => Next::Cut,
    }
}

/// Ends the connection. A socket that is closed with bytes unread is reset, and a reset takes the
/// answer away from a caller that is still sending. So the rest is read, for a while.
async fn close(intake: &Shared, unread: bool) {
    let shut = poll_fn(|cx| Pin::new(&mut intake.lock().wire).poll_shutdown(cx)).await;
    if shut.is_ok() && unread {
        let _ = timeout(LINGER, poll_fn(|cx| intake.lock().poll_away(cx))).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use http::Request;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
    use tokio::sync::Notify;
    use tokio::time::sleep;

    use crate::connection::serve_connection;
    use crate::h1::rest::REST;

    /// Answers everything itself, at length.
    struct Talkative;

    impl Answer for Talkative {
        type Guard = ();

        async fn answer(
            self: Arc<Self>,
            _: Request<Incoming>,
            _: Arc<Caller>,
        ) -> Response<Body<()>> {
            Response::new(Body::text("much"))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_of_our_own_that_nobody_takes_has_sixty_seconds() {
        let start = Instant::now();
        // Room for the request, and not for the answer.
        let (mut ours, theirs) = duplex(32);
        let (answer, open) = (Arc::new(Talkative), Open::default());
        ours.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            .await
            .unwrap();
        let addr = (Ipv4Addr::LOCALHOST, 0).into();
        serve_connection(Wire::Pipe(theirs), addr, &answer, &open).await;
        assert_eq!(start.elapsed(), TAKE_LIMIT);
    }

    /// Has room for those whose target is `/room`. What others hear of room is said by the test.
    #[derive(Default)]
    struct Refusing {
        room: Notify,
    }

    impl Answer for Refusing {
        type Guard = ();

        async fn room(self: Arc<Self>) {
            self.room.notified().await;
        }

        async fn answer(
            self: Arc<Self>,
            request: Request<Incoming>,
            caller: Arc<Caller>,
        ) -> Response<Body<()>> {
            if request.uri().path() != "/room" {
                caller.turn_away();
            }
            Response::new(Body::text(""))
        }
    }

    /// The time that each of these requests takes.
    async fn times(answer: &Arc<Refusing>, targets: &[&str]) -> Vec<Duration> {
        let (mut ours, theirs) = duplex(1024);
        let mut times = Vec::new();
        let asking = async {
            for target in targets {
                let start = Instant::now();
                let head = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
                ours.write_all(head.as_bytes()).await.unwrap();
                let mut read = Vec::new();
                while !read.ends_with(b"\r\n\r\n") {
                    assert!(ours.read_buf(&mut read).await.unwrap() > 0);
                }
                times.push(start.elapsed());
            }
            drop(ours);
        };
        let open = Open::default();
        let addr = (Ipv4Addr::LOCALHOST, 0).into();
        let serving = serve_connection(Wire::Pipe(theirs), addr, answer, &open);
        tokio::join!(asking, serving);
        times
    }

    /// A timer's own unit is a millisecond.
    fn about(time: Duration, want: Duration) -> bool {
        time >= want && time <= want + Duration::from_millis(1)
    }

    #[tokio::test(start_paused = true)]
    async fn who_asks_again_at_once_after_a_second_refusal_waits_a_little() {
        let none = Duration::ZERO;
        let targets = ["/", "/", "/", "/", "/room", "/room", "/", "/"];
        let asked = times(&Arc::default(), &targets).await;
        let want = [none, none, REST, REST, REST, none, none, none];
        for (time, want) in asked.into_iter().zip(want) {
            assert!(about(time, want), "{time:?} {want:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_rests_is_read_once_there_is_room() {
        let answer = Arc::<Refusing>::default();
        let soon = REST / 4;
        let making_room = async {
            sleep(soon).await;
            answer.room.notify_one();
        };
        let (asked, ()) = tokio::join!(times(&answer, &["/", "/", "/room"]), making_room);
        assert!(about(asked[2], soon), "{asked:?}");
    }
}
