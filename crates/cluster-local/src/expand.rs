//! `$(VAR)` in commands, arguments and values, as Kubernetes expands it.

/// Replaces each `$(NAME)` that `value_of` knows; one that it does not know stays as written.
///
/// `$$` is a plain `$`, so `$$(NAME)` comes out as `$(NAME)`. Anything else after a `$` is
/// left alone. What was put in is not expanded again.
pub(crate) fn expand<'v>(text: &str, value_of: impl Fn(&str) -> Option<&'v str>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
            continue;
        }
        let name = rest
            .strip_prefix('(')
            .and_then(|inner| Some(&inner[..inner.find(')')?]));
        match name {
            Some(name) => {
                match value_of(name) {
                    Some(value) => out.push_str(value),
                    None => {
                        out.push_str("$(");
                        out.push_str(name);
                        out.push(')');
                    }
                }
                rest = &rest[name.len() + 2..];
            }
            None => out.push('$'),
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expands_as_kubernetes_does() {
        let table = [
            ("$(A)", "1"),
            ("x$(A)y$(B)z", "x1y$(A)z"),
            ("$(MISSING)", "$(MISSING)"),
            ("$$(A)", "$(A)"),
            ("$$$(A)", "$1"),
            ("$$$$(A)", "$$(A)"),
            ("$A ${A}", "$A ${A}"),
            ("$(A", "$(A"),
            ("$(A$(A)", "$(A$(A)"),
            ("$()", "$()"),
            ("costs 5$", "costs 5$"),
            ("$(Ä)", "ö"),
            ("", ""),
        ];
        for (text, want) in table {
            let got = expand(text, |name| match name {
                "A" => Some("1"),
                "B" => Some("$(A)"),
                "Ä" => Some("ö"),
                _ => None,
            });
            assert_eq!(got, want, "{text}");
        }
    }
}
