//! What the resolver of a pod knows.

/// The domain of the cluster as the resolver searches it: what follows `svc.` in a `search` line of
/// `/etc/resolv.conf`. `None` outside of a cluster.
pub fn cluster_domain(resolv_conf: &str) -> Option<String> {
    let lines = resolv_conf.lines();
    let searches = lines.filter_map(|line| {
        let (word, rest) = line.trim().split_once(char::is_whitespace)?;
        (word == "search").then_some(rest)
    });
    searches
        .flat_map(str::split_whitespace)
        .find_map(|entry| entry.strip_prefix("svc."))
        .map(|domain| domain.trim_end_matches('.').to_owned())
        .filter(|domain| !domain.is_empty())
}

#[cfg(test)]
mod tests {
    use super::cluster_domain;

    #[test]
    fn the_domain_is_what_follows_svc_in_a_search_line() {
        for (text, want) in [
            ("", None),
            ("search example.com\n", None),
            ("# search svc.a\nsearch svc.\n", None),
            (
                "nameserver 10.0.0.2\nsearch ns.svc.a.b svc.a.b. a.b\n",
                Some("a.b"),
            ),
        ] {
            assert_eq!(cluster_domain(text).as_deref(), want, "{text}");
        }
    }
}
