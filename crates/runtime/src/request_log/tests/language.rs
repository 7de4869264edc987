//! What a template may say, and what comes of it: values, targets, actions, formats, mistakes.

use super::*;

#[test]
fn values_look_as_go_prints_them() {
    check(&[
        ("{{.Response}}", "{200 341 0.00081605}"),
        ("{{.Revision}}", "{rev ns svc cfg pn ip}"),
        (
            "{{.Request.Header}}",
            "map[Accept:[text/html */*] Cookie:[a=1; b=\"2\"] User-Agent:[curl/8 \"<x>\"]]",
        ),
        ("{{.Request.Trailer}} {{.Request.Close}}", "map[] false"),
        ("{{.Request.Header.Accept}}", "[text/html */*]"),
        ("{{.Request.Header.Nope}}", "<no value>"),
        ("{{index .Request.Header \"Nope\"}}", "[]"),
        ("{{index .Request.Header \"Accept\" 1}}", "*/*"),
        ("{{.Request.Header.Get \"accept\"}}", "text/html"),
        ("{{.Request.Header.Get \"X-None\"}}|", "|"),
        (
            "{{.Request.Header.Get \"host\"}}{{.Request.Host}}",
            "shop.example:8080",
        ),
        (
            "{{.Request.URL}} {{.Request.URL.Path}}",
            "/a%20b?x=1&x=2 /a b",
        ),
        (
            "{{.Request.URL.RawQuery}} {{.Request.URL.Query}}",
            "x=1&x=2 map[x:[1 2]]",
        ),
        (
            "{{.Request.URL.Query.Get \"x\"}}{{.Request.FormValue \"y\"}}",
            "1",
        ),
        ("{{.Request.URL.Host}}{{.Request.URL.Scheme}}.", "."),
        (
            "{{(.Request.Cookie \"b\").Value}} {{.Request.Cookies}}",
            "2 [a=1 b=2]",
        ),
        (
            "{{.Request.Proto}} {{.Request.ProtoMajor}}{{.Request.ProtoAtLeast 1 1}}",
            "HTTP/1.1 1true",
        ),
        (
            "{{1}} {{0x1f}} {{-3}} {{'a'}} {{1_000}} {{0b11}} {{010}}",
            "1 31 -3 97 1000 3 8",
        ),
        (
            "{{1.5}} {{1e6}} {{999999.5}} {{6.5317e-05}} {{0.0001}} {{1e21}} {{.5}}",
            "1.5 1e+06 999999.5 6.5317e-05 0.0001 1e+21 0.5",
        ),
        (
            "{{true}} {{print nil}} {{`raw \\n`}} {{\"\\u00e9\\x41\\n\"}}.",
            "true <nil> raw \\n éA\n.",
        ),
    ]);
}

#[test]
fn targets_in_their_forms() {
    let table = [
        (
            "http://other.example:81/p?q",
            Version::HTTP_11,
            "http://other.example:81/p?q http://other.example:81/p?q other.example 81",
        ),
        ("http://other.example/p", Version::HTTP_2, "/p /p  "),
        ("*", Version::HTTP_11, "* *  "),
        ("/a\"b|c", Version::HTTP_11, "/a\"b|c /a%22b%7Cc  "),
    ];
    for (uri, version, want) in table {
        let mut request = request();
        request.uri = uri.parse().unwrap();
        request.version = version;
        let template = "{{.Request.RequestURI}} {{.Request.URL}} {{.Request.URL.Hostname}} {{.Request.URL.Port}}";
        assert_eq!(of(template, &request), format!("{want}\n"), "{uri}");
    }
}

#[test]
fn actions_do_what_those_of_go_do() {
    check(&[
        (
            "{{if eq .Request.Method \"GET\" \"HEAD\"}}r{{else}}w{{end}}",
            "r",
        ),
        (
            "{{if .TraceID}}a{{else if gt .Response.Code 199}}b{{else}}c{{end}}",
            "b",
        ),
        ("{{if not .TraceID}}none{{end}}", "none"),
        (
            "{{with .Request}}{{.Method}} {{$.Response.Code}}{{end}}{{.Revision.Name}}",
            "GET 200rev",
        ),
        (
            "{{with .TraceID}}x{{else with .Revision.Name}}{{.}}{{else}}z{{end}}",
            "rev",
        ),
        ("{{with $x := .Revision.Name}}{{$x}}{{.}}{{end}}", "revrev"),
        (
            "{{range .Request.Header.Accept}}<{{.}}>{{end}}",
            "<text/html><*/*>",
        ),
        (
            "{{range $i, $e := .Request.Header.Accept}}{{$i}}={{$e}};{{end}}",
            "0=text/html;1=*/*;",
        ),
        (
            "{{range $k, $v := .Request.URL.Query}}{{$k}}:{{len $v}}{{end}}",
            "x:2",
        ),
        (
            "{{range .Request.Header.Nope}}x{{else}}empty{{end}}",
            "empty",
        ),
        ("{{range 3}}{{.}}{{end}}", "012"),
        (
            "{{range $i := 9}}{{if eq $i 2}}{{continue}}{{end}}{{with $i}}{{if ge . 4}}{{break}}{{end}}{{end}}{{$i}}{{end}}!",
            "013!",
        ),
        ("{{$x := 1}}{{if true}}{{$x = 2}}{{end}}{{$x}}", "2"),
        ("{{$x := 1}}{{if true}}{{$x := 2}}{{$x}}{{end}}{{$x}}", "21"),
        (
            "{{define \"p\"}}<{{.}}>{{end}}{{template \"p\" .Revision.Name}}{{template \"p\"}}",
            "<rev><<nil>>",
        ),
        ("{{block \"b\" .Response}}{{.Code}}{{end}}", "200"),
        ("a {{- 1 -}} b", "a1b"),
        ("a {{/* nothing */}} b{{- /* nor here */ -}} c", "a  bc"),
        ("{{.Response.Code | printf \"%d-%d\" 7}}", "7-200"),
        ("{{\"x\" | .Request.Header.Get | printf \"[%s]\"}}", "[]"),
        ("{{(index .Request.Header \"Accept\") | len}}", "2"),
        (
            "{{and 1 0 (index \"\" 9)}}{{or 0 \"a\" (index \"\" 9)}}{{1 | and 2}}",
            "0a1",
        ),
        (
            "{{ne 1 2}}{{le 1 1}}{{ge 1.5 2.5}}{{lt \"a\" \"b\"}}",
            "truetruefalsetrue",
        ),
        (
            "{{slice \"abcdef\" 1 3}}{{index \"abc\" 1}}{{len \"é\"}}",
            "bc982",
        ),
        (
            "{{html \"<a href='x'>&\"}}",
            "&lt;a href=&#39;x&#39;&gt;&amp;",
        ),
        ("{{urlquery \"a b&é/~\"}}", "a+b%26%C3%A9%2F~"),
        (
            "{{js \"\\\\'\\\"<>&=\\n\\x7fé\\u00a0e\\u0301\"}}",
            "\\\\\\'\\\"\\u003C\\u003E\\u0026\\u003D\\u000A\x7f\u{e9}\\u00A0e\u{301}",
        ),
        ("{{print 1 2 \"a\" \"b\" 3 true nil}}", "1 2ab3 true <nil>"),
        ("{{println 1 \"a\"}}.", "1 a\n."),
        ("{{js 1 2}}", "1 2"),
        ("{{ .Response.Code|print }}", "200"),
        ("}} { {", "}} { {"),
    ]);
}

#[test]
fn printf_follows_its_verbs_and_flags() {
    check(&[
        (
            "{{printf \"%5d|%-5d|%05d|%+d|% d|%x|%#X|%b|%o|%c|%q|%U\" 42 42 42 42 42 255 255 5 8 65 65 233}}",
            "   42|42   |00042|+42| 42|ff|0XFF|101|10|A|'A'|U+00E9",
        ),
        (
            "{{printf \"%s|%5s|%-5s|%.2s|%q|%x|%v\" \"abc\" \"abc\" \"abc\" \"éab\" \"a\\\"\\n\" \"hi\" \"v\"}}",
            "abc|  abc|abc  |éa|\"a\\\"\\n\"|6869|v",
        ),
        (
            "{{printf \"%f|%.2f|%8.3f|%e|%g|%.3g|%v|%06.2f\" 1.5 2.345 3.14159 0.00081605 0.00001 1234.5 1e7 -1.5}}",
            "1.500000|2.35|   3.142|8.160500e-04|1e-05|1.23e+03|1e+07|-01.50",
        ),
        (
            "{{printf \"%t %v %T %T %%\" true nil 1 \"a\"}}",
            "true <nil> int string %",
        ),
        (
            "{{printf \"%d %s %z %d\" \"a\" 1 2}}",
            "%!d(string=a) %!s(int=1) %!z(int=2) %!d(MISSING)",
        ),
        ("{{printf \"x\" 1 \"b\"}}", "x%!(EXTRA int=1, string=b)"),
        ("{{printf \"%*d|%\" 4 7}}", "   7|%!(NOVERB)"),
        (
            "{{printf \"%s %v\" .Request.URL .Request.Header.Accept}}",
            "/a%20b?x=1&x=2 [text/html */*]",
        ),
    ]);
    assert_eq!(line("{{printf \"%999999999d\" 1}}"), INVALID);
}

#[test]
fn mistakes_are_placed_and_named() {
    let table = [
        ("{{foo}}", "line 1, column 3: function \"foo\" not defined"),
        (
            "{{call .x}}",
            "line 1, column 3: function \"call\" not defined",
        ),
        ("a\n {{.A", "line 2, column 2: the action is not closed"),
        ("{{if .A}}", "line 1, column 1: {{end}} is missing"),
        ("{{end}}", "line 1, column 1: {{end}} without a beginning"),
        ("{{else}}", "line 1, column 1: {{else}} without {{if}}"),
        (
            "{{if .A}}{{else}}{{else}}{{end}}",
            "line 1, column 18: a second {{else}}",
        ),
        ("{{$x}}", "line 1, column 3: undefined variable \"$x\""),
        ("{{\"abc}}", "line 1, column 3: the string is not closed"),
        ("{{`abc}}", "line 1, column 3: the raw string is not closed"),
        ("{{\"\\z\"}}", "line 1, column 4: this escape is not known"),
        ("{{'ab'}}", "line 1, column 3: the character is not closed"),
        ("{{1x}}", "line 1, column 3: \"1x\" is not a number"),
        (
            "{{.A.}}",
            "line 1, column 5: a space is missing between two values",
        ),
        ("{{(.A}}", "line 1, column 1: the bracket is not closed"),
        ("{{.A | }}", "line 1, column 1: a value is missing behind |"),
        (
            "{{.A | 3}}",
            "line 1, column 8: behind | there has to be a function",
        ),
        (
            "{{3 4}}",
            "line 1, column 3: only a function or a method takes arguments",
        ),
        ("{{nil}}", "line 1, column 3: nil is not a command"),
        ("{{not}}", "line 1, column 3: not takes 1 arguments, not 0"),
        (
            "{{eq 1}}",
            "line 1, column 3: eq takes at least 2 arguments, not 1",
        ),
        ("{{/* a }}", "line 1, column 1: the comment is not closed"),
        (
            "{{break}}",
            "line 1, column 1: {{break}} outside of {{range}}",
        ),
        (
            "{{if true}}{{define \"x\"}}{{end}}{{end}}",
            "line 1, column 12: {{define}} inside of another action",
        ),
        (
            "{{template x}}",
            "line 1, column 12: the name of a template is missing, in quotes",
        ),
        (
            "{{$a, $b := .}}",
            "line 1, column 3: two variables can be set in {{range}} only",
        ),
        ("{{\"a\".B}}", "line 1, column 6: this has no fields"),
        (
            "{{end 1}}",
            "line 1, column 7: unexpected, the action should end here",
        ),
        ("{{\u{1f600}}}", "line 1, column 3: unexpected '\u{1f600}'"),
    ];
    for (template, want) in table {
        let error = Template::compile(template).map(drop).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("request log template, {want}"),
            "{template}"
        );
    }
    let deep = "{{if 1}}".repeat(100) + &"{{end}}".repeat(100);
    assert!(Template::compile(&deep).is_err());
    let brackets = format!("{{{{{}1{}}}}}", "(".repeat(100_000), ")".repeat(100_000));
    assert!(Template::compile(&brackets).is_err());
}
