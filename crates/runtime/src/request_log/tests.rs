//! The request log.
//!
//! - here: the numbered cases of spec/queue-proxy.md §11
//! - `language.rs`: what a template may say, and what comes of it
//! - `properties.rs`: any template, any text, any number

mod language;
mod properties;

use std::io::{self, Write};
use std::sync::mpsc;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Version};

use super::*;

const REVISION: Revision<'static> = Revision {
    name: "rev",
    namespace: "ns",
    service: "svc",
    configuration: "cfg",
    pod_name: "pn",
    pod_ip: "ip",
};

/// `GET /a%20b?x=1&x=2` with a few headers.
fn request() -> Request {
    Request {
        method: Method::GET,
        uri: "/a%20b?x=1&x=2".parse().unwrap(),
        version: Version::HTTP_11,
        headers: headers(&[
            ("user-agent", "curl/8 \"<x>\""),
            ("accept", "text/html"),
            ("accept", "*/*"),
            ("host", "shop.example"),
            ("cookie", "a=1; b=\"2\""),
        ]),
        host: Some(HeaderValue::from_static("shop.example:8080")),
        content_length: Some(0),
        remote: ([10, 0, 0, 7], 4711).into(),
        tls: None,
    }
}

fn headers(list: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for &(name, value) in list {
        let name = HeaderName::try_from(name).unwrap();
        headers.append(name, HeaderValue::try_from(value).unwrap());
    }
    headers
}

fn entry(request: &Request) -> Entry<'_> {
    Entry {
        request,
        response: Response {
            code: 200,
            size: 341,
            latency: Duration::from_nanos(816_050),
        },
        revision: REVISION,
    }
}

fn of(template: &str, request: &Request) -> String {
    let mut line = Vec::new();
    let template = Template::compile(template).unwrap_or_else(|error| panic!("{error}"));
    template.render(&entry(request), &mut line);
    String::from_utf8(line).unwrap()
}

/// The line of a template, without its line break.
fn line(template: &str) -> String {
    let text = of(template, &request());
    text.strip_suffix('\n').unwrap().to_owned()
}

fn check(table: &[(&str, &str)]) {
    for (template, want) in table {
        assert_eq!(line(template), *want, "{template}");
    }
}

const INVALID: &str = "Invalid request log template: method: GET, response code: 200, \
                       latency: 0.00081605, url: /a%20b?x=1&x=2";

#[test]
fn case_116_a_line_ends_with_one_line_break() {
    assert_eq!(of("x", &request()), "x\n");
    assert_eq!(of("x\n", &request()), "x\n");
    assert_eq!(of("x\ny\n\n", &request()), "x\ny\n\n");
}

#[test]
fn case_117_an_empty_action_is_a_mistake() {
    let error = Template::compile("one\ntwo {{}}").unwrap_err();
    assert_eq!(
        error.to_string(),
        "request log template, line 2, column 5: a value is missing"
    );
}

#[test]
fn case_118_fields_of_revision_and_request() {
    let names = "{{.Revision.Name}}, {{.Revision.Namespace}}, {{.Revision.Service}}, \
                 {{.Revision.Configuration}}, {{.Revision.PodName}}, {{.Revision.PodIP}}";
    assert_eq!(line(names), "rev, ns, svc, cfg, pn, ip");
    let mut post = request();
    post.content_length = Some(4);
    assert_eq!(of("{{.Request.ContentLength}}", &post), "4\n");
    post.content_length = None;
    let text = "{{.Request.ContentLength}} {{.Request.TransferEncoding}}";
    assert_eq!(of(text, &post), "-1 [chunked]\n");
}

#[test]
fn case_120_what_cannot_be_carried_out_is_told_in_place_of_the_line() {
    for template in [
        "{{.Request.Something}}",
        "first {{.Nothing}}",
        "{{.Request.Method.Length}}",
        "{{index .Request.Header.Accept 2}}",
        "{{template \"nobody\"}}",
        "{{lt 1 \"a\"}}",
        "{{.Request.Cookie \"none\"}}",
        "{{.Request.TLS.Version}}",
        "{{len 3}}",
        "{{slice \"abc\" 2 1}}",
        "{{.Request.Header.Get}}",
        "{{.Request.URL.Query.Get 1}}",
        "{{range .Response}}{{end}}",
        "{{define \"x\"}}{{template \"x\"}}{{end}}{{template \"x\"}}",
        "{{range 10000000}}{{end}}",
        "{{$x := \"ab\"}}{{range 90}}{{$x = print $x $x}}{{end}}",
    ] {
        assert_eq!(line(template), INVALID, "{template}");
    }
}

#[test]
fn case_122_trace_ids() {
    let w3c = (
        "traceparent",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    );
    let b3 = ("x-b3-traceid", "80f198ee56343ba864fe8b2a57d3eff7");
    let short = ("x-b3-traceid", "64fe8b2a57d3eff7");
    let table: [(&[(&str, &str)], &str); 8] = [
        (&[w3c], "0af7651916cd43dd8448eb211c80319c"),
        (
            &[w3c, ("tracestate", "a=b")],
            "0af7651916cd43dd8448eb211c80319c",
        ),
        (&[b3], "80f198ee56343ba864fe8b2a57d3eff7"),
        (&[short], "64fe8b2a57d3eff7"),
        (&[w3c, b3], "0af7651916cd43dd8448eb211c80319c"),
        (&[], ""),
        (&[("traceparent", "invalid")], ""),
        (&[("traceparent", "00")], ""),
    ];
    for (list, want) in table {
        let mut request = request();
        request.headers = headers(list);
        assert_eq!(
            of("{{.TraceID}}", &request),
            format!("{want}\n"),
            "{list:?}"
        );
    }
}

#[test]
fn case_124_the_stock_template_byte_for_byte() {
    let mut request = request();
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let more = headers(&[("traceparent", trace), ("referer", "http://a/?b='c'")]);
    request.headers.extend(more);
    assert_eq!(
        of(STOCK_TEMPLATE, &request),
        concat!(
            r#"{"httpRequest": {"requestMethod": "GET", "requestUrl": "/a%20b?x\u003D1\u0026x\u003D2", "#,
            r#""requestSize": "0", "status": 200, "responseSize": "341", "#,
            r#""userAgent": "curl/8 \"\u003Cx\u003E\"", "remoteIp": "10.0.0.7:4711", "#,
            r#""serverIp": "ip", "referer": "http://a/?b\u003D\'c\'", "#,
            r#""latency": "0.00081605s", "protocol": "HTTP/1.1"}, "#,
            r#""traceId": "0af7651916cd43dd8448eb211c80319c"}"#,
            "\n"
        )
    );
}

#[test]
fn case_125_tls_or_none() {
    let template = "TLS: {{.Request.TLS}}{{if .Request.TLS}} yes{{end}}";
    assert_eq!(line(template), "TLS: <nil>");
    let mut request = request();
    request.tls = Some(Tls {
        version: 0x0304,
        cipher_suite: 0x1301,
        protocol: "h2".to_owned(),
        server_name: "a".to_owned(),
    });
    assert_eq!(
        of(template, &request),
        "TLS: {772 true false 4865 h2 a} yes\n"
    );
}

/// Tells what is written to it.
struct Told(mpsc::Sender<Vec<u8>>);

impl Write for Told {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let _ = self.0.send(line.to_vec());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn case_121_a_template_replaced_at_run_time_counts_from_the_next_line_on() {
    let (sender, lines) = mpsc::channel();
    let log = RequestLog::new(Lines::to(Told(sender)).unwrap());
    let request = request();
    let entry = entry(&request);
    assert!(!log.is_on());
    log.write(&entry);
    log.replace("one").unwrap();
    assert!(log.is_on());
    log.write(&entry);
    log.replace("two").unwrap();
    log.write(&entry);
    // What is wrong changes nothing.
    assert!(log.replace("{{").is_err());
    log.write(&entry);
    log.replace("").unwrap();
    assert!(!log.is_on());
    log.write(&entry);
    drop(log);
    let all: Vec<_> = lines.iter().collect();
    assert_eq!(all, [&b"one\n"[..], b"two\n", b"two\n"]);
}
