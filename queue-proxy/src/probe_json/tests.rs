//! Every shape that probes can have, right and wrong.

use penstock_types::probe::HttpGet;
use proptest::prelude::*;
use serde_json::Value;
use serde_json::json;

use super::*;

const ONE: Flags = Flags {
    several: false,
    detects_http2: false,
};
const SEVERAL: Flags = Flags {
    several: true,
    detects_http2: false,
};

/// A probe that says nothing of times.
fn bare(check: Check) -> Probe {
    Probe {
        check,
        initial_delay: Duration::ZERO,
        period: None,
        timeout: Duration::ZERO,
        success_threshold: 1,
        failure_threshold: 0,
    }
}

fn tcp(port: u16) -> Check {
    Check::Tcp {
        host: None,
        port: Some(port),
    }
}

fn mistakes(text: &str, flags: Flags) -> String {
    read(text, flags).unwrap_err().to_string()
}

#[test]
fn case_61_one_object_is_one_probe_and_a_list_is_all_in_order() {
    let text = r#"{"httpGet":{"path":"/health?a=b","port":8080,"host":"127.0.0.1","scheme":"HTTPS",
        "httpHeaders":[{"name":"X-A","value":"1"},{"name":"X-A","value":"2"}]},
        "initialDelaySeconds":1,"timeoutSeconds":2,"periodSeconds":3,"successThreshold":4,
        "failureThreshold":5,"terminationGracePeriodSeconds":6,"unknown":[{}]}"#;
    let header = |value: &str| ("X-A".to_owned(), value.to_owned());
    let want = Probe {
        check: Check::Http(HttpGet {
            host: Some("127.0.0.1".to_owned()),
            port: Some(8080),
            path: "/health?a=b".to_owned(),
            tls: true,
            headers: vec![header("1"), header("2")],
            detects_http2: false,
            leaves_host: true,
        }),
        initial_delay: Duration::from_secs(1),
        period: Some(Duration::from_secs(3)),
        timeout: Duration::from_secs(2),
        success_threshold: 4,
        failure_threshold: 5,
    };
    assert_eq!(read(text, ONE).unwrap()[0], want);
    let list = format!(r#"[{text},{{"tcpSocket":{{"port":1}}}}]"#);
    assert_eq!(read(&list, SEVERAL).unwrap(), [want, bare(tcp(1))]);
}

#[test]
fn cases_63_67_and_79_each_kind_of_probe_is_read() {
    let grpc = |port, service: &str| Check::Grpc {
        port,
        service: service.to_owned(),
    };
    let words = |words: &[&str]| Check::Exec {
        command: words.iter().map(|&word| word.to_owned()).collect(),
    };
    let http = Check::Http(HttpGet {
        leaves_host: true,
        ..HttpGet::default()
    });
    let table = [
        ("{}", Check::Nothing),
        (r#"{"tcpSocket":{"port":"8080"}}"#, tcp(8080)),
        (r#"{"TCPSOCKET":{"PORT":8080}}"#, tcp(8080)),
        (r#"{"tcpSocket":{"port":0}}"#, tcp(0)),
        (r#"{"tcpSocket":{}}"#, Check::OWN_PORT),
        (
            r#"{"grpc":{"port":1,"service":"a.B"}}"#,
            grpc(Some(1), "a.B"),
        ),
        (r#"{"grpc":{"port":1,"service":null}}"#, grpc(Some(1), "")),
        (r#"{"exec":{"command":["a","b"]}}"#, words(&["a", "b"])),
        (r#"{"exec":{}}"#, words(&[])),
        (r#"{"httpGet":{}}"#, http.clone()),
        (r#"{"httpGet":{"scheme":"http"},"exec":null}"#, http),
    ];
    for (text, want) in table {
        assert_eq!(read(text, ONE).unwrap(), [bare(want)], "{text}");
    }
    for (text, flags) in [("", ONE), ("", SEVERAL), ("[]", SEVERAL)] {
        assert_eq!(read(text, flags).unwrap(), [], "{text}");
    }
}

#[test]
fn a_path_is_made_fit_to_be_sent() {
    let table = [
        ("health?foo=bar", "health?foo=bar"),
        ("/a b", "/a%20b"),
        ("/ü", "/%C3%BC"),
        ("/a#part", "/a"),
        ("/%zz//..", "/%zz//.."),
        ("/a\nb", "/a%0Ab"),
    ];
    for (path, want) in table {
        assert_eq!(sendable(path), want);
    }
}

#[test]
fn http2_is_looked_for_only_where_the_flag_says_so() {
    let flags = Flags {
        detects_http2: true,
        ..ONE
    };
    let probes = read(r#"{"httpGet":{}}"#, flags).unwrap();
    assert!(matches!(&probes[0].check, Check::Http(get) if get.detects_http2));
}

#[test]
fn case_62_wrong_shapes_are_told_with_what_would_be_right() {
    let one = "which is an object (a list of them needs ENABLE_MULTI_CONTAINER_PROBES)";
    let list = "a list of probes, since ENABLE_MULTI_CONTAINER_PROBES is on";
    let name = "SERVING_READINESS_PROBE";
    let table = [
        ("\"a\"", ONE, format!("{name}=\"a\" is not a probe, {one}")),
        ("7", ONE, format!("{name}=\"7\" is not a probe, {one}")),
        (
            "null",
            ONE,
            format!("{name}=\"null\" is not a probe, {one}"),
        ),
        (
            "[{}]",
            ONE,
            format!("{name}=\"[{{}}]\" is not a probe, {one}"),
        ),
        ("[]", ONE, format!("{name}=\"[]\" is not a probe, {one}")),
        ("{}", SEVERAL, format!("{name}=\"{{}}\" is not {list}")),
        ("null", SEVERAL, format!("{name}=\"null\" is not {list}")),
        (
            "[{},null,[]]",
            SEVERAL,
            format!(
                "{name}[1]=\"null\" is not a probe, which is an object\n\
                 {name}[2]=\"[]\" is not a probe, which is an object"
            ),
        ),
        (
            " ",
            ONE,
            format!("{name}=\" \" is not JSON: EOF while parsing a value at line 1 column 1"),
        ),
        (
            "{}x",
            ONE,
            format!("{name}=\"{{}}x\" is not JSON: trailing characters at line 1 column 3"),
        ),
    ];
    for (text, flags, want) in table {
        assert_eq!(mistakes(text, flags), want, "{text}");
    }
}

#[test]
fn each_wrong_field_is_told_with_the_way_to_it() {
    let port = "a port from 0 to 65535, as a number or a string of digits";
    let number = "a whole number from 0 to 2147483647";
    let table = [
        (
            r#"{"tcpSocket":1}"#,
            "tcpSocket=\"1\" is not where to connect, which is an object",
        ),
        (
            r#"{"httpGet":[]}"#,
            "httpGet=\"[]\" is not how to ask over HTTP, which is an object",
        ),
        (
            r#"{"grpc":""}"#,
            "grpc=\"\" is not how to ask over gRPC, which is an object",
        ),
        (
            r#"{"exec":"ls"}"#,
            "exec=\"ls\" is not what to run, which is an object",
        ),
        (
            r#"{"tcpSocket":{"port":"http"}}"#,
            &format!("tcpSocket.port=\"http\" is not {port}"),
        ),
        (
            r#"{"tcpSocket":{"port":65536}}"#,
            &format!("tcpSocket.port=\"65536\" is not {port}"),
        ),
        (
            r#"{"grpc":{"port":-1}}"#,
            &format!("grpc.port=\"-1\" is not {port}"),
        ),
        (
            r#"{"httpGet":{"port":80.0}}"#,
            &format!("httpGet.port=\"80.0\" is not {port}"),
        ),
        (
            r#"{"tcpSocket":{"host":1}}"#,
            "tcpSocket.host=\"1\" is not a string",
        ),
        (
            r#"{"httpGet":{"path":{}}}"#,
            "httpGet.path=\"{}\" is not a string",
        ),
        (
            r#"{"httpGet":{"scheme":"FTP"}}"#,
            "httpGet.scheme=\"FTP\" is not HTTP or HTTPS",
        ),
        (
            r#"{"httpGet":{"httpHeaders":{}}}"#,
            "httpGet.httpHeaders=\"{}\" is not a list of headers, each with name and value",
        ),
        (
            r#"{"httpGet":{"httpHeaders":[{"name":"A"},null]}}"#,
            "httpGet.httpHeaders[1]=\"null\" is not a header, which is an object with name and value",
        ),
        (
            r#"{"httpGet":{"httpHeaders":[{"value":"A"}]}}"#,
            "httpGet.httpHeaders[0].name is not set; it has to be the name of a header",
        ),
        (
            r#"{"httpGet":{"httpHeaders":[{"name":"a b"}]}}"#,
            "httpGet.httpHeaders[0].name=\"a b\" is not the name of a header: letters, digits and -",
        ),
        (
            r#"{"httpGet":{"httpHeaders":[{"name":"A","value":"a\nb"}]}}"#,
            "httpGet.httpHeaders[0].value=\"a\\nb\" is not the value of a header: one line without \
             control characters",
        ),
        (
            r#"{"exec":{"command":"ls"}}"#,
            "exec.command=\"ls\" is not a list of strings: the program and its arguments",
        ),
        (
            r#"{"exec":{"command":[1]}}"#,
            "exec.command[0]=\"1\" is not a string",
        ),
        (
            r#"{"periodSeconds":-1}"#,
            &format!("periodSeconds=\"-1\" is not {number}"),
        ),
        (
            r#"{"timeoutSeconds":"1"}"#,
            &format!("timeoutSeconds=\"1\" is not {number}"),
        ),
        (
            r#"{"successThreshold":1.5}"#,
            &format!("successThreshold=\"1.5\" is not {number}"),
        ),
        (
            r#"{"initialDelaySeconds":2147483648}"#,
            &format!("initialDelaySeconds=\"2147483648\" is not {number}"),
        ),
        (
            r#"{"failureThreshold":[]}"#,
            &format!("failureThreshold=\"[]\" is not {number}"),
        ),
        (
            r#"{"terminationGracePeriodSeconds":true}"#,
            &format!("terminationGracePeriodSeconds=\"true\" is not {number}"),
        ),
        (
            r#"{"httpGet":{},"exec":{}}"#,
            "exec=\"{}\" is not alone: httpGet stands beside it",
        ),
    ];
    for (text, want) in table {
        let want = format!("SERVING_READINESS_PROBE.{want}");
        assert_eq!(mistakes(text, ONE), want, "{text}");
    }
}

#[test]
fn all_mistakes_are_told_together_and_long_values_shortened() {
    let long = "x".repeat(100);
    let text =
        json!([{"tcpSocket": {"port": long}, "periodSeconds": "a"}, {"grpc": {"port": "b"}}]);
    let told = mistakes(&text.to_string(), SEVERAL);
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(lines.len(), 3, "{told}");
    let start = format!(
        "SERVING_READINESS_PROBE[0].tcpSocket.port=\"{}...\"",
        "x".repeat(60)
    );
    assert!(lines[0].starts_with(&start), "{told}");
    assert!(
        lines[1].starts_with("SERVING_READINESS_PROBE[0].periodSeconds="),
        "{told}"
    );
    assert!(
        lines[2].starts_with("SERVING_READINESS_PROBE[1].grpc.port="),
        "{told}"
    );
}

/// JSON that looks like probes here and there.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,8}".prop_map(Value::from),
    ];
    let key = prop::sample::select(vec![
        "httpGet",
        "tcpSocket",
        "grpc",
        "exec",
        "port",
        "host",
        "path",
        "scheme",
        "httpHeaders",
        "name",
        "value",
        "service",
        "command",
        "periodSeconds",
        "timeoutSeconds",
    ]);
    leaf.prop_recursive(4, 32, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(key.clone().prop_map(str::to_owned), inner, 0..5)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn any_text_is_read_or_told_to_be_wrong(text in "\\PC*", several: bool) {
        let flags = Flags { several, detects_http2: false };
        if let Err(bad) = read(&text, flags) {
            prop_assert!(!bad.0.is_empty());
        }
    }

    #[test]
    fn any_json_is_read_or_told_to_be_wrong(json in any_json(), several: bool) {
        let flags = Flags { several, detects_http2: false };
        match read(&json.to_string(), flags) {
            Ok(probes) if several => prop_assert_eq!(probes.len(), json.as_array().unwrap().len()),
            Ok(probes) => prop_assert_eq!(probes.len(), 1),
            Err(bad) => prop_assert!(!bad.0.is_empty()),
        }
    }

    #[test]
    fn what_is_written_is_read(
        port in any::<Option<u16>>(),
        host in "[a-z.]{1,20}",
        path in "/[!-~&&[^\"<>\\\\^`{|}#]]{0,20}",
        period in 0..=i32::MAX,
        threshold in 1..=i32::MAX,
    ) {
        let json = json!({
            "httpGet": {"port": port, "host": host, "path": path},
            "periodSeconds": period,
            "successThreshold": threshold,
        });
        let seconds = u64::try_from(period).unwrap();
        let get = HttpGet { host: Some(host), port, path, leaves_host: true, ..HttpGet::default() };
        let want = Probe {
            period: (period > 0).then(|| Duration::from_secs(seconds)),
            success_threshold: u32::try_from(threshold).unwrap(),
            ..bare(Check::Http(get))
        };
        prop_assert_eq!(read(&json.to_string(), ONE).unwrap(), [want]);
    }
}
