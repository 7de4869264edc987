use std::io::{self, Write};
use std::sync::mpsc;
use std::time::{Duration, UNIX_EPOCH};

use ::http::{HeaderMap, HeaderValue};
use proptest::prelude::*;

use super::*;

const W3C: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// What a request with these `traceparent` lines came with, as it would be handed on.
fn read(lines: &[&str]) -> Option<String> {
    let mut headers = HeaderMap::new();
    for line in lines {
        headers.append("traceparent", HeaderValue::from_str(line).unwrap());
    }
    Context::of(&headers).map(|context| context.to_string())
}

#[test]
fn what_counts_as_a_trace_that_goes_on() {
    let no_trace = "00-00000000000000000000000000000000-b7ad6b7169203331-01";
    let no_span = "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01";
    let table = [
        // what it shows, the header, how it is handed on
        ("as written", W3C.to_owned(), true),
        ("a later version", W3C.replacen("00", "cc", 1), true),
        (
            "more of it",
            format!("{}-what", W3C.replacen("00", "cc", 1)),
            true,
        ),
        ("other flags are not ours", W3C.replace("-01", "-0f"), true),
        ("more of this version", format!("{W3C}-what"), false),
        (
            "more without a dash",
            format!("{}.", W3C.replacen("00", "cc", 1)),
            false,
        ),
        ("no version", W3C.replacen("00", "ff", 1), false),
        ("capitals", W3C.to_uppercase(), false),
        ("no trace", no_trace.to_owned(), false),
        ("no span", no_span.to_owned(), false),
        ("other dashes", W3C.replace('-', "_"), false),
        ("a word", "invalid".to_owned(), false),
        ("too short", "00".to_owned(), false),
        ("nothing", String::new(), false),
    ];
    for (case, header, want) in table {
        let want = want.then_some(W3C);
        assert_eq!(read(&[&header]).as_deref(), want, "{case}: {header}");
    }
    assert_eq!(read(&[]), None);
    assert_eq!(read(&[W3C, W3C]), None, "which of two would it be?");
    let unsampled = W3C.replace("-01", "-00");
    assert_eq!(read(&[&unsampled]), Some(unsampled));
}

proptest! {
    #[test]
    fn whatever_is_sent_is_a_trace_or_is_none(text in "[ -~]{0,70}") {
        let _ = read(&[&text]);
    }

    #[test]
    fn what_is_put_is_what_is_read(sampled: bool) {
        let context = Context::root().sampled(sampled);
        let mut headers = HeaderMap::new();
        context.put(&mut headers, true);
        prop_assert_eq!(Context::of(&headers), Some(context));
    }
}

#[test]
fn a_new_trace_takes_out_what_was_noted_of_the_old_one() {
    for (goes_on, kept) in [(true, true), (false, false)] {
        let mut headers = HeaderMap::new();
        headers.append("traceparent", HeaderValue::from_static("a"));
        headers.append("traceparent", HeaderValue::from_static("b"));
        headers.append("tracestate", HeaderValue::from_static("a=b"));
        let context = Context::root();
        context.put(&mut headers, goes_on);
        let lines: Vec<_> = headers.get_all("traceparent").iter().collect();
        assert_eq!(lines, [context.to_string().as_str()]);
        assert_eq!(headers.contains_key("tracestate"), kept);
    }
}

#[test]
fn no_two_spans_have_the_same_number() {
    let mut numbers: Vec<u64> = (0..2)
        .map(|_| std::thread::spawn(|| (0..1000).map(|_| Context::root().span()).collect()))
        .flat_map(|thread| thread.join().unwrap_or_else(|_| Vec::new()))
        .collect();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len(), 2000);
    assert!(!numbers.contains(&0));
}

/// How many of a thousand traces are told, if their callers had decided so.
fn told(sampler: Sampler, caller: Option<bool>) -> u32 {
    let contexts = (0..1000).map(|_| Context::root());
    let taken = contexts.filter(|context| sampler.takes(context, caller));
    u32::try_from(taken.count()).unwrap()
}

#[test]
fn a_rate_tells_all_none_or_as_the_caller_decided_and_else_a_share() {
    let table = [
        // rate; told without a caller's decision, at most and at least; with one for it and against
        (1.0, 1000..=1000, 1000, 1000),
        (7.0, 1000..=1000, 1000, 1000),
        (0.0, 0..=0, 0, 0),
        (-1.0, 0..=0, 0, 0),
        (f64::NAN, 0..=0, 0, 0),
        // Ten standard deviations to either side.
        (0.25, 113..=387, 1000, 0),
    ];
    for (rate, free, decided_for, against) in table {
        let sampler = Sampler::of_rate(rate);
        assert!(free.contains(&told(sampler, None)), "{rate}");
        assert_eq!(told(sampler, Some(true)), decided_for, "{rate}");
        assert_eq!(told(sampler, Some(false)), against, "{rate}");
    }
}

#[test]
fn samplers_have_the_names_of_open_telemetry() {
    let table = [
        ("always_on", "", Some((1000, 1000))),
        ("always_off", "", Some((0, 0))),
        ("traceidratio", "0", Some((0, 0))),
        ("traceidratio", "", Some((1000, 1000))),
        ("traceidratio", "2", Some((1000, 1000))),
        ("parentbased_always_on", "", Some((1000, 0))),
        ("parentbased_always_off", "", Some((0, 0))),
        ("parentbased_traceidratio", "1", Some((1000, 0))),
        ("xray", "", None),
        ("", "", None),
    ];
    for (name, argument, want) in table {
        let sampler = Sampler::named(name, argument);
        let got = sampler.map(|it| (told(it, None), told(it, Some(false))));
        assert_eq!(got, want, "{name} {argument}");
    }
}

/// The same share of the same traces as everybody who decides by the trace's number: its lower 63
/// bits are compared.
#[test]
fn a_share_is_of_the_lower_bits_of_the_traces_number() {
    let with = |low: &str| {
        let mut headers = HeaderMap::new();
        let value = format!("00-ffffffffffffffff{low}-b7ad6b7169203331-00");
        headers.append("traceparent", HeaderValue::from_str(&value).unwrap());
        Context::of(&headers).unwrap()
    };
    let half = Sampler::named("traceidratio", "0.5").unwrap();
    assert!(half.takes(&with("3fffffffffffffff"), None));
    assert!(half.takes(&with("bfffffffffffffff"), None));
    assert!(!half.takes(&with("4000000000000000"), None));
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
fn a_span_is_one_line_of_json() {
    let (sender, lines) = mpsc::channel();
    let sink = Lines::to(Told(sender)).unwrap();
    let resource = [("service.name", "sh\"op"), ("kn.service.name", "")];
    let tracer = Tracer::to_lines(Sampler::ALWAYS, sink, &resource);
    let came_with = {
        let mut headers = HeaderMap::new();
        headers.append("traceparent", HeaderValue::from_static(W3C));
        Context::of(&headers).unwrap()
    };
    let context = tracer.begin(Some(&came_with));
    assert!(context.is_sampled());
    let begun = UNIX_EPOCH + Duration::from_micros(1_795_253_905_000_001);
    tracer.tell(Span {
        name: "GET".into(),
        kind: Kind::Server,
        scope: "a/scope",
        context,
        parent: Some(came_with),
        from_afar: true,
        begun,
        ended: begun + Duration::from_millis(1500),
        attributes: vec![
            ("url.path", Value::of_others(b"/a\"b\n\xff")),
            ("server.port", 8080_u16.into()),
            ("long", Value::of_others(&[b'x'; 5000])),
        ],
        failed: true,
    });
    let line = String::from_utf8(lines.recv().unwrap()).unwrap();
    let span = format!("{:016x}", context.span());
    let long = "x".repeat(1024);
    let want = format!(
        r#"{{"Name":"GET","SpanContext":{{"TraceID":"0af7651916cd43dd8448eb211c80319c","SpanID":"{span}","TraceFlags":"01","Remote":false}},"Parent":{{"TraceID":"0af7651916cd43dd8448eb211c80319c","SpanID":"b7ad6b7169203331","TraceFlags":"01","Remote":true}},"SpanKind":2,"StartTime":"2026-11-21T09:38:25.000001Z","EndTime":"2026-11-21T09:38:26.500001Z","Attributes":[{{"Key":"url.path","Value":{{"Type":"STRING","Value":"/a\"b\n�"}}}},{{"Key":"server.port","Value":{{"Type":"INT64","Value":8080}}}},{{"Key":"long","Value":{{"Type":"STRING","Value":"{long}"}}}}],"Status":{{"Code":"Error"}},"Resource":[{{"Key":"service.name","Value":{{"Type":"STRING","Value":"sh\"op"}}}}],"InstrumentationScope":{{"Name":"a/scope"}}}}"#,
    );
    // What stands for itself in the text above is escaped in JSON.
    let want = want
        .replace("/a\"b\n", r#"/a\"b\n"#)
        .replace("sh\"op", r#"sh\"op"#);
    assert_eq!(line, want + "\n");
}
