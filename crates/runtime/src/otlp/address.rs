//! Where a collector is, as an operator writes it.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use http::Uri;

/// How messages get to a collector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Protobuf over HTTP/1.1.
    Http,
    /// gRPC.
    Grpc,
}

/// What is told to a collector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Figures.
    Metrics,
    /// Spans.
    Traces,
}

/// A collector, and how it is spoken to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collector {
    /// How messages get there.
    pub protocol: Protocol,
    /// Where to, a whole URL; of [`Protocol::Grpc`] its path does not count.
    pub url: String,
    /// Headers beside those of the protocol, such as a token; never logged.
    pub headers: Vec<(String, String)>,
    /// A file in PEM with those who vouch for the collector, beside whom the system trusts.
    pub certificate: Option<PathBuf>,
    /// How long it may take for one message, all attempts together.
    pub patience: Duration,
}

impl Signal {
    /// The path of its own, which OTLP over HTTP adds to a base (OTLP §OTLP/HTTP request).
    fn path(self) -> &'static str {
        match self {
            Self::Metrics => "/v1/metrics",
            Self::Traces => "/v1/traces",
        }
    }
}

impl Collector {
    /// Time for one message, unless somebody says otherwise (OpenTelemetry's default).
    pub const PATIENCE: Duration = Duration::from_secs(10);

    /// The collector on this machine, which is where they are unless somebody says otherwise.
    pub fn nearby(protocol: Protocol, signal: Signal) -> Self {
        let base = match protocol {
            Protocol::Http => "http://localhost:4318",
            Protocol::Grpc => "http://localhost:4317",
        };
        Self {
            protocol,
            url: format!("{base}{}", signal.path()),
            headers: Vec::new(),
            certificate: None,
            patience: Self::PATIENCE,
        }
    }

    /// Its URL, from the one that is written for this signal alone: a path that is empty is the
    /// signal's own, and a name without a scheme is reached by HTTPS (spec/queue-proxy.md §1.1).
    ///
    /// `None`: it is neither a URL of HTTP or HTTPS nor a name, with a port or without.
    pub fn url(written: &str, signal: Signal) -> Option<String> {
        let url = match written.contains("://") {
            true => written.to_owned(),
            false => format!("https://{written}"),
        };
        let uri: Uri = url.parse().ok()?;
        let authority = uri.authority()?;
        let is_named = |host: &str| host.trim_matches(['[', ']']).parse::<IpAddr>().is_err();
        let good = match uri.scheme_str()? {
            "http" | "https" => !authority.as_str().contains('@') && !authority.host().is_empty(),
            _ => false,
        };
        let good = good && !url.contains('#');
        if !good || (url != written && !is_named(authority.host())) {
            return None;
        }
        match uri.path() {
            "/" if uri.query().is_none() => {
                Some(format!("{}{}", url.trim_end_matches('/'), signal.path()))
            }
            _ => Some(url),
        }
    }

    /// Its URL, from one that is written for all signals: the signal's path comes after it.
    ///
    /// `None`: as [`Collector::url`] has it.
    pub fn url_under(written: &str, signal: Signal) -> Option<String> {
        let base = written.trim_end_matches('/');
        Self::url(base, signal)?;
        let scheme = if base.contains("://") { "" } else { "https://" };
        Some(format!("{scheme}{base}{}", signal.path()))
    }
}

/// `name=value` pairs with commas between them, the values with `%xx` for bytes that have no place
/// there. What is none is left out and given apart.
///
/// Source: OpenTelemetry's `OTEL_EXPORTER_OTLP_HEADERS` and `OTEL_RESOURCE_ATTRIBUTES`.
pub fn pairs(text: &str) -> (Vec<(String, String)>, Vec<String>) {
    let mut good = Vec::new();
    let mut bad = Vec::new();
    for pair in text.split(',').filter(|pair| !pair.trim().is_empty()) {
        let read = pair.split_once('=').and_then(|(name, value)| {
            let name = name.trim();
            (!name.is_empty()).then_some((name.to_owned(), decoded(value.trim())?))
        });
        match read {
            Some(read) => good.push(read),
            // The value may be a secret.
            None => bad.push(pair.split('=').next().unwrap_or_default().trim().to_owned()),
        }
    }
    (good, bad)
}

fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let byte = match byte {
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                u8::try_from(digit()? * 16 + digit()?).ok()?
            }
            other => other,
        };
        bytes.push(byte);
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_address_of_a_signal_is_a_url_or_a_name_that_is_reached_by_https() {
        let table = [
            ("http://c:4318", Some("http://c:4318/v1/metrics")),
            ("http://c:4318/", Some("http://c:4318/v1/metrics")),
            ("http://c:4318/own", Some("http://c:4318/own")),
            ("https://c", Some("https://c/v1/metrics")),
            ("http://[::1]:4318", Some("http://[::1]:4318/v1/metrics")),
            (
                "http://10.1.2.3:4318",
                Some("http://10.1.2.3:4318/v1/metrics"),
            ),
            ("collector:4318", Some("https://collector:4318/v1/metrics")),
            ("collector", Some("https://collector/v1/metrics")),
            ("collector:4318/own", Some("https://collector:4318/own")),
            ("10.1.2.3:4318", None),
            ("[::1]:4318", None),
            ("ftp://c", None),
            ("http://", None),
            ("http://user@c", None),
            (":4318", None),
            ("a b", None),
            ("", None),
        ];
        for (written, want) in table {
            let got = Collector::url(written, Signal::Metrics);
            assert_eq!(got.as_deref(), want, "{written:?}");
        }
    }

    #[test]
    fn an_address_of_all_signals_gets_the_path_of_each() {
        let table = [
            ("http://c:4318", Some("http://c:4318/v1/traces")),
            ("http://c/", Some("http://c/v1/traces")),
            ("http://c/base", Some("http://c/base/v1/traces")),
            ("collector:1", Some("https://collector:1/v1/traces")),
            ("10.1.2.3:4318", None),
        ];
        for (written, want) in table {
            let got = Collector::url_under(written, Signal::Traces);
            assert_eq!(got.as_deref(), want, "{written:?}");
        }
    }

    #[test]
    fn pairs_are_decoded_and_what_is_none_is_named_without_its_value() {
        let (good, bad) = pairs("api-key=a%20b%3D, x = y=z ,,plain,=v,e=%zz,f=%e");
        let want = [("api-key", "a b="), ("x", "y=z")];
        let want = want.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(good, want);
        assert_eq!(bad, ["plain", "", "e", "f"]);
    }

    proptest! {
        #[test]
        fn any_value_comes_back_from_its_encoded_form(values in prop::collection::vec(any::<String>(), 0..4)) {
            let encoded = |value: &String| value.bytes().map(|byte| format!("%{byte:02x}")).collect::<String>();
            let text: Vec<String> = values.iter().map(|value| format!("n={}", encoded(value))).collect();
            let (good, bad) = pairs(&text.join(","));
            prop_assert!(bad.is_empty());
            let got: Vec<String> = good.into_iter().map(|(_, value)| value).collect();
            prop_assert_eq!(got, values);
        }

        #[test]
        fn whatever_is_written_is_a_url_that_can_be_reached_or_none(written in "[a-z0-9:/.@\\[\\]%?# -]{0,30}") {
            if let Some(url) = Collector::url(&written, Signal::Metrics) {
                let uri: Uri = url.parse().unwrap();
                prop_assert!(!uri.host().unwrap().is_empty());
                prop_assert!(uri.path().len() > 1 || uri.query().is_some());
            }
        }
    }
}
