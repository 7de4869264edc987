//! Names: which are valid, and how revisions get theirs.

/// What a name has to be, in a phrase.
pub(crate) const LABEL: &str =
    "at most 63 characters of a-z, 0-9 and -, begin with a letter and not end with -";

/// Longest name.
pub(crate) const LONGEST: usize = 63;

/// What a namespace has to be, in a phrase.
pub(crate) const NAMESPACE: &str =
    "at most 63 characters of a-z, 0-9 and -, and neither begin nor end with -";

/// Whether `name` is a DNS-1035 label, which every name of Knative's objects has to be.
pub(crate) fn is_label(name: &str) -> bool {
    is_namespace(name) && name.as_bytes().first().is_some_and(u8::is_ascii_lowercase)
}

/// Whether `name` is a DNS-1123 label, which a namespace has to be: it may begin with a digit.
pub(crate) fn is_namespace(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=LONGEST).contains(&name.len())
        && !name.starts_with('-')
        && !name.ends_with('-')
        && name.bytes().all(plain)
}

/// `NAME-0000N`. A name too long for that is cut, and told apart by a hash of the whole (FNV-1a;
/// Knative takes MD5 there).
pub(crate) fn generated(configuration: &str, generation: u64) -> String {
    let suffix = format!("-{generation:05}");
    if configuration.len() + suffix.len() <= LONGEST {
        return format!("{configuration}{suffix}");
    }
    let hash = configuration
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
    let room = LONGEST - suffix.len() - 16;
    let head: String = configuration.chars().take(room).collect();
    format!("{head}{hash:016x}{suffix}")
}

/// Of `known`, the name that `written` was probably meant to be: equal but for case, or at most
/// two letters away.
pub(crate) fn near<'a>(written: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // A field's name is short; anything longer than this is not a slip of the finger.
    if written.len() > 40 {
        return None;
    }
    let lower = written.to_lowercase();
    known
        .filter(|known| known.len().abs_diff(lower.len()) <= 2)
        .map(|known| (distance(&lower, &known.to_lowercase()), known))
        .filter(|(far, known)| *far <= 2.min(known.len() / 3))
        .min_by_key(|(far, _)| *far)
        .map(|(_, known)| known)
}

/// Letters to add, drop or change (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, left) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, right) in b.chars().enumerate() {
            let changed = diagonal + usize::from(left != right);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_what_dns_1035_says() {
        let long = "a".repeat(63);
        let longer = "a".repeat(64);
        let table = [
            ("hello", true),
            ("a", true),
            ("a-1", true),
            (long.as_str(), true),
            (longer.as_str(), false),
            ("", false),
            ("1a", false),
            ("-a", false),
            ("a-", false),
            ("Hello", false),
            ("a.b", false),
            ("é", false),
        ];
        for (name, valid) in table {
            assert_eq!(is_label(name), valid, "{name}");
        }
    }

    #[test]
    fn a_namespace_may_begin_with_a_digit() {
        assert!(is_namespace("1a") && is_namespace("default"));
        assert!(!is_namespace("") && !is_namespace("-a") && !is_namespace("A"));
    }

    #[test]
    fn generated_names_count_in_five_digits() {
        assert_eq!(generated("hello", 1), "hello-00001");
        assert_eq!(generated("hello", 123_456), "hello-123456");
    }

    #[test]
    fn long_names_are_cut_and_stay_apart() {
        let one = generated(&format!("{}-one", "a".repeat(59)), 7);
        let two = generated(&format!("{}-two", "a".repeat(59)), 7);
        assert_eq!(one.len(), 63);
        assert!(is_label(&one) && one.ends_with("-00007"));
        assert_ne!(one, two);
    }

    #[test]
    fn a_slip_of_the_finger_is_recognised() {
        let known = || ["containerConcurrency", "timeoutSeconds", "env"].into_iter();
        assert_eq!(
            near("containerConcurency", known()),
            Some("containerConcurrency")
        );
        assert_eq!(near("timeoutseconds", known()), Some("timeoutSeconds"));
        assert_eq!(near("replicas", known()), None);
        assert_eq!(near("x", known()), None);
    }
}
