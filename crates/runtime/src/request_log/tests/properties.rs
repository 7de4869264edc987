//! What holds of any template, text and number.

use proptest::prelude::*;

use super::*;

/// Pieces that make templates which are often right.
fn scraps() -> impl Strategy<Value = String> {
    let scrap = prop::sample::select(vec![
        "{{",
        "}}",
        "{{-",
        "-}}",
        " ",
        "if",
        "else",
        "end",
        "range",
        "with",
        "define",
        "\"x\"",
        "template",
        "block",
        "break",
        "continue",
        "$x",
        ":=",
        "=",
        ",",
        "|",
        "(",
        ")",
        ".",
        ".A",
        ".Request",
        ".Header",
        ".Response",
        ".Latency",
        ".Get",
        "index",
        "slice",
        "printf",
        "js",
        "len",
        "and",
        "eq",
        "lt",
        "1",
        "-2",
        "1.5",
        "'a'",
        "`r`",
        "\"%s %[5].3v\"",
        "nil",
        "true",
        "/*",
        "*/",
        "\n",
        "é",
        "{{end}}",
        "{{if .}}",
        "{{range .Request.Header}}",
        "{{.}}",
    ]);
    prop::collection::vec(scrap, 0..30).prop_map(|scraps| scraps.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_template_panics(template in prop_oneof![scraps(), ".*"]) {
        if let Ok(template) = Template::compile(&template) {
            let request = request();
            let mut line = Vec::new();
            template.render(&entry(&request), &mut line);
            prop_assert!(line.len() <= 2 << 20);
        }
    }

    #[test]
    fn text_without_actions_is_itself(text in "[^{]*") {
        let mut line = Vec::new();
        Template::compile(&text).unwrap().render(&entry(&request()), &mut line);
        let end = if text.ends_with('\n') { "" } else { "\n" };
        prop_assert_eq!(String::from_utf8(line).unwrap(), text + end);
    }

    #[test]
    fn floats_are_printed_in_digits_that_give_them_back(number: f64) {
        prop_assume!(number.is_finite());
        let mut text = Vec::new();
        printf::shortest(number, &mut text);
        let text = String::from_utf8(text).unwrap();
        prop_assert_eq!(text.parse::<f64>().unwrap().to_bits(), number.to_bits());
    }

    #[test]
    fn what_js_makes_stays_inside_its_quotes(text: Vec<u8>) {
        let mut out = Vec::new();
        escape::js(&text, &mut out);
        let mut escaped = false;
        for byte in out {
            prop_assert!(escaped || !matches!(byte, b'"' | b'\'' | b'<' | b'\n'));
            escaped = !escaped && byte == b'\\';
        }
        prop_assert!(!escaped);
    }
}
