//! What holds for any text.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;

/// A Service as somebody would write it, from the parts that vary.
#[derive(Clone, Debug)]
struct Written {
    name: String,
    namespace: Option<String>,
    concurrency: Option<u32>,
    timeout: Option<u32>,
    env: Vec<(String, String)>,
    args: Vec<String>,
    port: Option<u16>,
    h2c: bool,
}

fn written() -> impl Strategy<Value = Written> {
    let label = || "[a-z]([-a-z0-9]{0,20}[a-z0-9])?";
    let variable = ("V[A-Z_]{0,8}", any::<String>());
    let port = (1024_u16..8000).prop_filter("a free one", |port| *port != 8008);
    let parts = (
        label(),
        option::of(label()),
        option::of(0_u32..=1000),
        option::of(1_u32..=600),
        vec(variable, 0..4),
        vec(any::<String>(), 0..4),
        option::of(port),
        any::<bool>(),
    );
    parts.prop_map(
        |(name, namespace, concurrency, timeout, env, args, port, h2c)| Written {
            name,
            namespace,
            concurrency,
            timeout,
            env,
            args,
            port,
            h2c,
        },
    )
}

impl Written {
    fn render(&self) -> String {
        let line = |key: &str, value: Option<String>| {
            value.map_or_else(String::new, |value| format!("{key}: {value}\n"))
        };
        let number = |number: Option<u32>| number.map(|number| number.to_string());
        let env: String = self
            .env
            .iter()
            .map(|(name, value)| format!("{{name: {name}, value: {}}}, ", quoted(value)))
            .collect();
        let args: Vec<String> = self.args.iter().map(|arg| quoted(arg)).collect();
        let port = self.port.map(|port| format!("containerPort: {port}, "));
        let protocol = if self.h2c { "h2c" } else { "http1" };
        format!(
            "apiVersion: serving.knative.dev/v1\nkind: Service\nmetadata:\n  name: {:?}\n{}\
             spec:\n  template:\n    spec:\n{}{}      containers:\n      - image: x\n        \
             args: [{}]\n        env: [{env}]\n        ports: [{{{}name: {protocol}}}]\n",
            self.name,
            line(
                "  namespace",
                self.namespace.as_ref().map(|name| format!("{name:?}"))
            ),
            line("      containerConcurrency", number(self.concurrency)),
            line("      timeoutSeconds", number(self.timeout)),
            args.join(", "),
            port.unwrap_or_default(),
        )
    }
}

/// Any text as YAML's double-quoted form.
fn quoted(text: &str) -> String {
    let escaped: String = text
        .chars()
        .map(|letter| format!("\\U{:08x}", u32::from(letter)))
        .collect();
    format!("\"{escaped}\"")
}

proptest! {
    #[test]
    fn no_text_at_all_panics(text in any::<String>()) {
        let _ = read_one(&text);
    }

    #[test]
    fn no_text_that_looks_like_yaml_panics(
        text in "([ \\t]{0,4}([a-c]|<<|- |\\? |\\*a|&a |!!str |!x |\\||>|\\[|\\]|\\{|\\}|,|: |:|\"|'|#|---\\n|\\.\\.\\.|%|\\n|1|~){1,6}\\n?){0,30}"
    ) {
        let _ = read_one(&text);
    }

    #[test]
    fn no_damaged_manifest_panics(at in 0_usize..600, with in "[\\x00-\\x7f]{0,3}", cut in 0_usize..40) {
        let text = include_str!("../../../../../deploy/examples/canary.yaml");
        let start = at.min(text.len());
        let end = (start + cut).min(text.len());
        let _ = read_one(&format!("{}{with}{}", &text[..start], &text[end..]));
    }

    #[test]
    fn what_is_rendered_is_read_back(written in written()) {
        let text = written.render();
        let manifests = read_one(&text).unwrap_or_else(|refused| panic!("{refused}\n{text}"));
        prop_assert!(manifests.warnings.is_empty(), "{:?}", manifests.warnings);
        let configuration = &manifests.configurations[0];
        prop_assert_eq!(&configuration.key.name, &written.name);
        let namespace = written.namespace.as_deref().unwrap_or("default");
        prop_assert_eq!(&configuration.key.namespace, namespace);
        let template = &configuration.template;
        prop_assert_eq!(template.slots.as_concurrency(), written.concurrency.unwrap_or(0));
        let whole = u64::from(written.timeout.unwrap_or(300));
        prop_assert_eq!(template.timeouts.whole, Duration::from_secs(whole));
        let container = &template.container;
        prop_assert_eq!(&container.env, &written.env);
        prop_assert_eq!(&container.args, &written.args);
        prop_assert_eq!(container.port, written.port);
        prop_assert_eq!(container.protocol == Protocol::H2c, written.h2c);
    }
}
