use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use super::*;

#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn noon() -> SystemTime {
    UNIX_EPOCH + Duration::new(1_795_265_905, 123_456_789)
}

/// What is written for the events of `events`.
fn logged(format: Format, filter: &str, colour: bool, events: impl FnOnce()) -> String {
    shaped(Shape::of(format, colour), filter, events)
}

fn shaped(shape: Shape, filter: &str, events: impl FnOnce()) -> String {
    let kept = Kept::default();
    let writer = kept.clone();
    let filter = filter.parse().unwrap();
    let subscriber = with_clock(shape, filter, move || writer.clone(), noon);
    tracing::subscriber::with_default(subscriber, events);
    String::from_utf8(kept.0.lock().unwrap().clone()).unwrap()
}

#[derive(Debug, thiserror::Error)]
#[error("the pod did not answer")]
struct Outer(#[source] Inner);

#[derive(Debug, thiserror::Error)]
#[error("connection refused")]
struct Inner;

fn events() {
    let error = Outer(Inner);
    tracing::info!(pods = 3, revision = "default/hello-00001", "scaled");
    tracing::warn!(
        why = "10 > 5",
        ratio = 0.5,
        odd = f64::NAN,
        up = true,
        less = -1,
        list = ?["a b"],
        "level 1 of {}",
        2
    );
    tracing::error!(
        error = &error as &dyn std::error::Error,
        empty = "",
        "failed"
    );
}

#[test]
fn text_is_short_and_quotes_only_what_would_be_ambiguous() {
    assert_eq!(
        logged(Format::Text, "info", false, events),
        "12:58:25.123 INFO  scaled pods=3 revision=default/hello-00001\n\
         12:58:25.123 WARN  level 1 of 2 why=\"10 > 5\" ratio=0.5 odd=NaN up=true less=-1 list=[\"a b\"]\n\
         12:58:25.123 ERROR failed error=\"the pod did not answer: connection refused\" empty=\"\"\n"
    );
}

#[test]
fn json_is_one_flat_object_per_line() {
    let head = r#"{"time":"2026-11-21T12:58:25.123456Z","level":"#;
    let target = r#""target":"penstock_runtime::log::tests","message":"#;
    assert_eq!(
        logged(Format::Json, "info", true, events),
        format!(
            "{head}\"INFO\",{target}\"scaled\",\"pods\":3,\"revision\":\"default/hello-00001\"}}\n\
             {head}\"WARN\",{target}\"level 1 of 2\",\"why\":\"10 > 5\",\"ratio\":0.5,\"odd\":\"NaN\",\
             \"up\":true,\"less\":-1,\"list\":\"[\\\"a b\\\"]\"}}\n\
             {head}\"ERROR\",{target}\"failed\",\
             \"error\":\"the pod did not answer: connection refused\",\"empty\":\"\"}}\n"
        )
    );
}

#[test]
fn the_parts_of_a_line_are_named_as_another_program_named_them() {
    let record = Record {
        time: "timestamp".to_owned(),
        level: "severity".to_owned(),
        words: Words::Severity,
        logger: "logger".to_owned(),
        logger_is: Some("queueproxy".to_owned()),
        caller: String::new(),
        message: "msg".to_owned(),
        constant: vec![("knative.dev/pod".to_owned(), "p\"1".to_owned())],
    };
    let events = || {
        tracing::debug!("quiet");
        tracing::warn!(severity = "none", "loud");
    };
    let lines = shaped(Shape::Json(Arc::new(record)), "debug", events);
    let time = "\"timestamp\":\"2026-11-21T12:58:25.123456Z\"";
    let pod = r#""knative.dev/pod":"p\"1""#;
    assert_eq!(
        lines,
        format!(
            "{{{time},\"severity\":\"DEBUG\",\"logger\":\"queueproxy\",\"msg\":\"quiet\",{pod}}}\n\
             {{{time},\"severity\":\"WARNING\",\"logger\":\"queueproxy\",\"msg\":\"loud\",{pod},\
             \"field_severity\":\"none\"}}\n"
        )
    );
}

#[test]
fn a_part_without_a_name_is_left_out_but_for_the_message() {
    let record = Record {
        time: String::new(),
        level: String::new(),
        logger: String::new(),
        caller: "caller".to_owned(),
        message: String::new(),
        ..Record::default()
    };
    let line = shaped(Shape::Json(Arc::new(record)), "info", || {
        tracing::info!("said")
    });
    let caller = line.strip_prefix("{\"caller\":\"").unwrap();
    let (file, rest) = caller.split_once(':').unwrap();
    assert!(file.ends_with("log/tests.rs"), "{line}");
    assert!(rest.ends_with("\",\"message\":\"said\"}\n"), "{line}");
}

#[test]
fn colours_are_for_terminals() {
    let line = logged(Format::Text, "info", true, || tracing::warn!(a = 1, "hot"));
    assert_eq!(
        line,
        "\x1b[2m12:58:25.123\x1b[0m \x1b[33mWARN \x1b[0m hot \x1b[2ma=\x1b[0m1\n"
    );
}

#[test]
fn nobody_forges_a_line_or_steers_a_terminal() {
    let evil = "x\n12:58:25.123 INFO  all is well\x1b[2J\u{9b}\r\"\\";
    let event = || tracing::info!(host = evil, same = %evil, "{evil}");
    for format in [Format::Text, Format::Json] {
        let line = logged(format, "info", false, event);
        let controls = line.chars().filter(|c| c.is_control()).count();
        assert_eq!(controls, 1, "only the end of the line: {line:?}");
        assert!(line.ends_with('\n'));
    }
}

#[test]
fn a_field_does_not_take_the_place_of_a_part_of_the_line() {
    let event = || tracing::info!(level = "none", time = 0, "kept");
    let line = logged(Format::Json, "info", false, event);
    assert!(
        line.ends_with("\"message\":\"kept\",\"field_level\":\"none\",\"field_time\":0}\n"),
        "{line}"
    );
}

#[test]
fn fields_of_spans_are_on_the_lines_within() {
    let event = || {
        let outer = tracing::info_span!("outer", revision = "default/a");
        let _outer = outer.enter();
        tracing::info_span!("inner", pod = 7).in_scope(|| tracing::info!(n = 1, "hello"));
    };
    assert_eq!(
        logged(Format::Text, "info", false, event),
        "12:58:25.123 INFO  hello n=1 pod=7 revision=default/a\n"
    );
    let line = logged(Format::Json, "info", false, event);
    assert!(
        line.ends_with("\"message\":\"hello\",\"n\":1,\"pod\":7,\"revision\":\"default/a\"}\n"),
        "{line}"
    );
}

#[test]
fn a_filter_has_a_level_for_all_and_levels_for_modules() {
    let events = || {
        tracing::debug!(target: "penstock_gate::line", "gate");
        tracing::debug!(target: "penstock_relay", "relay");
        tracing::info!(target: "penstock_relay", "relay");
        tracing::error!(target: "noise", "noise");
    };
    let table = [
        ("info", 2),
        ("INFO", 2),
        ("debug", 4),
        ("warn,penstock_gate=debug", 2),
        ("penstock_gate=debug", 3),
        (" info , noise = off ", 1),
        ("off", 0),
    ];
    for (filter, want) in table {
        let lines = logged(Format::Text, filter, false, events);
        assert_eq!(lines.lines().count(), want, "{filter:?}: {lines}");
    }
}

#[test]
fn a_filter_that_is_set_later_counts_from_the_next_event_on() {
    let kept = Kept::default();
    let writer = kept.clone();
    let first = "warn".parse().unwrap();
    let (subscriber, live) = live_records(Record::default(), first, move || writer.clone());
    tracing::subscriber::with_default(subscriber, || {
        // The same events each time: where one stands, it must not be remembered as unwanted.
        let events = |round: &str| {
            tracing::debug!("debug {round}");
            tracing::warn!("warn {round}");
        };
        events("at first");
        live.set("debug".parse().unwrap());
        events("with more");
        live.clone().set("off".parse().unwrap());
        events("with none");
        live.set("warn".parse().unwrap());
        events("at last");
    });
    let lines = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
    let told: Vec<&str> = lines
        .lines()
        .filter_map(|line| line.split("\"message\":\"").nth(1)?.split('"').next())
        .collect();
    let want = [
        "warn at first",
        "debug with more",
        "warn with more",
        "warn at last",
    ];
    assert_eq!(told, want, "{lines}");
}

#[test]
fn a_bad_filter_or_format_is_told_exactly() {
    let bad = "info,penstock_gate=loud".parse::<Filter>().unwrap_err();
    assert_eq!(
        bad.to_string(),
        "\"loud\" in the log filter \"info,penstock_gate=loud\" is not a level; \
         levels are off, error, warn, info, debug and trace, alone or as module=level"
    );
    for other in ["", "info,", "penstock_gate", "a=", "5"] {
        assert!(other.parse::<Filter>().is_err(), "{other:?}");
    }
    let bad = "xml".parse::<Format>().unwrap_err();
    assert_eq!(
        bad.to_string(),
        "\"xml\" is not a log format; it is text or json"
    );
}

#[test]
fn a_line_that_cannot_be_written_is_lost_quietly() {
    struct Closed;
    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
    }
    let subscriber = subscriber(Format::Text, Filter::default(), false, || Closed);
    tracing::subscriber::with_default(subscriber, events);
}
