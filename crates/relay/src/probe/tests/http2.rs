//! Finding HTTP/2 out, with servers that speak both protocols on one port, or one of them.

use http::Version;

use super::*;

/// Starts a server that answers over HTTP/2 and over HTTP/1.1 with these statuses; `None` hangs
/// up. Requests are noted as `2 /path mine`, with the value of `x-own` if there is one.
async fn server(two: Option<u16>, one: Option<u16>) -> Server {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let addr = listener.local_addr().unwrap();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&asked);
    let mut serving = JoinSet::new();
    serving.spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let mut first = [0];
            let _ = stream.peek(&mut first).await;
            // The preface of HTTP/2 is the only request whose method begins like this.
            let is_two = first == *b"P";
            let Some(status) = (if is_two { two } else { one }) else {
                continue;
            };
            let seen = Arc::clone(&seen);
            let answer = service_fn(move |request: Request<Incoming>| {
                seen.lock().unwrap().push(note(&request));
                let answer = Response::builder().status(status);
                async { answer.body(Full::<Bytes>::default()) }
            });
            let stream = TokioIo::new(stream);
            if is_two {
                let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                let _ = server.serve_connection(stream, answer).await;
            } else {
                let server = hyper::server::conn::http1::Builder::new();
                let _ = server.serve_connection(stream, answer).await;
            }
        }
    });
    Server {
        addr,
        asked,
        _serving: serving,
    }
}

fn note(request: &Request<Incoming>) -> String {
    let version = if request.version() == Version::HTTP_2 {
        2
    } else {
        1
    };
    let agent = request.headers().get("user-agent").unwrap();
    assert_eq!(agent, "kube-probe//");
    let own = request
        .headers()
        .get("x-own")
        .map(|own| own.to_str().unwrap());
    format!("{version} {} {}", request.uri(), own.unwrap_or("-"))
}

#[tokio::test]
async fn case_82_http2_decides_where_it_answers_and_http1_where_not() {
    let table: [(&str, _, _, bool, &[&str]); 7] = [
        ("h2c alone", Some(200), None, true, &["2 -", "2 mine"]),
        ("h1 alone", None, Some(200), true, &["1 -"]),
        ("both", Some(200), Some(200), true, &["2 -", "2 mine"]),
        ("h2c is ill", Some(503), Some(200), true, &["2 -", "1 -"]),
        ("h1 alone and ill", None, Some(503), false, &["1 -"]),
        ("both are ill", Some(500), Some(500), false, &["2 -", "1 -"]),
        ("neither", None, None, false, &[]),
    ];
    for (case, two, one, passes, want) in table {
        let server = server(two, one).await;
        let check = Check::Http(HttpGet {
            headers: vec![("X-Own".to_owned(), "mine".to_owned())],
            detects_http2: true,
            ..get("/health?a=b")
        });
        let outcome = ask(server.addr, &check).await;
        assert_eq!(outcome.is_ok(), passes, "{case}: {outcome:?}");
        let asked = server.asked.lock().unwrap().clone();
        let brief = |line: &String| {
            let words: Vec<&str> = line.split(' ').collect();
            assert!(words[1].ends_with("/health?a=b"), "{line}");
            format!("{} {}", words[0], words[2])
        };
        let asked: Vec<String> = asked.iter().map(brief).collect();
        assert_eq!(asked, want, "{case}");
    }
}

#[tokio::test]
async fn without_detection_only_http1_is_asked_with_the_probes_headers() {
    let server = server(Some(200), Some(200)).await;
    ask(server.addr, &http("/")).await.unwrap();
    assert_eq!(*server.asked.lock().unwrap(), ["1 / -"]);
}
