use super::*;

fn faults(text: &str) -> Vec<(usize, usize, String, Fault)> {
    let faults = parse(text).faults.into_iter();
    faults
        .map(|fault| (fault.document, fault.line, fault.path, fault.fault))
        .collect()
}

fn map_of(node: &Node) -> Vec<(&str, String)> {
    let Value::Map(entries) = &node.value else {
        panic!("not a mapping: {node:?}");
    };
    entries
        .iter()
        .map(|(key, node)| (key.text.as_str(), node.shown()))
        .collect()
}

#[test]
fn documents_are_counted_and_empty_ones_left_out() {
    let stream = parse("a: 1\n---\n---\n# nothing\n---\nb: 2\n");
    let numbers: Vec<usize> = stream.documents.iter().map(|doc| doc.number).collect();
    assert_eq!(numbers, [1, 4]);
    assert!(parse("").documents.is_empty());
    assert!(parse("---\n...\n---\n").documents.is_empty());
}

#[test]
fn a_broken_document_does_not_hide_the_next() {
    let stream = parse("a: [1, 2\n---\nb: 2\n");
    assert_eq!(stream.faults.len(), 1);
    assert_eq!(stream.faults[0].document, 1);
    assert_eq!(stream.documents.len(), 1);
    assert_eq!(stream.documents[0].number, 2);
    assert_eq!(map_of(&stream.documents[0].root), [("b", "2".to_owned())]);
}

#[test]
fn a_key_given_twice_is_named_with_its_path() {
    let want = Fault::Twice { first_line: 3 };
    assert_eq!(
        faults("a:\n  - b: 1\n    c: 2\n    d: 3\n    c: 4\n"),
        [(1, 5, "a[0].c".to_owned(), want)]
    );
}

#[test]
fn aliases_and_merges_are_followed() {
    let stream = parse("base: &b {x: 1, y: 2}\nmine:\n  <<: *b\n  y: 3\nsame: *b\n");
    assert!(stream.faults.is_empty(), "{:?}", stream.faults);
    let Value::Map(entries) = &stream.documents[0].root.value else {
        panic!("not a mapping");
    };
    let of = |name| {
        let entry = entries.iter().find(|(key, _)| key.text == name);
        map_of(&entry.unwrap().1)
    };
    assert_eq!(of("mine"), [("y", "3".to_owned()), ("x", "1".to_owned())]);
    assert_eq!(of("same"), [("x", "1".to_owned()), ("y", "2".to_owned())]);
}

#[test]
fn an_alias_to_what_it_is_inside_of_is_refused() {
    let stream = parse("a: &a [1, *a]\n");
    assert!(stream.documents.is_empty());
    let [fault] = stream.faults.as_slice() else {
        panic!("{:?}", stream.faults);
    };
    let what = "an alias stands inside the very value it names".to_owned();
    assert_eq!(fault.fault, Fault::Syntax(what));
}

#[test]
fn a_billion_laughs_are_refused_before_they_are_laughed() {
    let mut text = "a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n".to_owned();
    for level in 1..30 {
        let before = format!("*a{}", level - 1);
        let nine = vec![before; 9].join(", ");
        text.push_str(&format!("a{level}: &a{level} [{nine}]\n"));
    }
    let stream = parse(&text);
    assert!(stream.documents.is_empty());
    let [fault] = stream.faults.as_slice() else {
        panic!("{:?}", stream.faults);
    };
    let what = "with its aliases followed, it has more than 500000 values".to_owned();
    assert_eq!(fault.fault, Fault::Syntax(what));
}

#[test]
fn what_is_too_deep_or_too_long_is_refused() {
    let deep = [
        "[".repeat(100_000),
        "{a: ".repeat(100_000),
        "- ".repeat(100_000),
        (0..500).map(|n| format!("{}a:\n", " ".repeat(n))).collect(),
    ];
    for text in deep {
        let stream = parse(&text);
        assert!(!stream.faults.is_empty());
        assert!(stream.documents.is_empty());
    }
    let long = format!("a: {}\n", "x".repeat(MAX_BYTES));
    let what = "it is 4194308 bytes long, and no more than 4194304 are read".to_owned();
    assert_eq!(faults(&long), [(1, 1, String::new(), Fault::Syntax(what))]);
}

#[test]
fn a_tag_that_yaml_does_not_know_is_refused() {
    let what = "the tag !secret means nothing here".to_owned();
    assert_eq!(
        faults("a: !secret x\n"),
        [(1, 1, String::new(), Fault::Syntax(what))]
    );
    let stream = parse("a: !!str 5\nb: !!int \"5\"\n");
    let shown = map_of(&stream.documents[0].root);
    assert_eq!(shown, [("a", "\"5\"".to_owned()), ("b", "5".to_owned())]);
}

#[test]
fn a_collection_is_no_key() {
    let what = "a list cannot be a key".to_owned();
    assert_eq!(
        faults("? [a]\n: b\n"),
        [(1, 1, String::new(), Fault::Syntax(what))]
    );
}
