//! What is spoken: versions, cipher suites, curves.

use std::sync::Arc;

use rustls::crypto::ring::kx_group::{SECP256R1, SECP384R1, X25519};
use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::version::{TLS12, TLS13};
use rustls::{SupportedCipherSuite, SupportedProtocolVersion};

use super::provider;

/// Choices as they are written; empty is the default of each.
#[derive(Clone, Copy, Debug, Default)]
pub struct Written<'a> {
    /// `1.2` or `1.3`, which is the default.
    pub min_version: &'a str,
    /// `1.2` or `1.3`; the newest by default.
    pub max_version: &'a str,
    /// Names of suites of up to TLS 1.2, in their order, with commas between them; by default all
    /// that are good.
    pub cipher_suites: &'a str,
    /// Names of curves, in their order, with commas between them; by default all that are good.
    pub curve_preferences: &'a str,
}

/// A choice that cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{which}={text:?} is not {wanted}")]
pub struct BadChoice {
    /// Which, as the end of a variable's name: `MIN_VERSION`.
    pub which: &'static str,
    /// What is written there, or the part of it that is wrong.
    pub text: String,
    /// What would be right.
    pub wanted: String,
}

/// What is spoken.
#[derive(Clone, Debug)]
pub struct Choices {
    versions: Vec<&'static SupportedProtocolVersion>,
    provider: Arc<CryptoProvider>,
    left_out: Vec<String>,
}

impl Default for Choices {
    /// The newest version, and all that is good.
    fn default() -> Self {
        Self {
            versions: vec![&TLS13],
            provider: provider(),
            left_out: Vec::new(),
        }
    }
}

impl Choices {
    /// Chooses as `written`.
    ///
    /// # Errors
    ///
    /// All [`BadChoice`]s together.
    pub fn read(written: Written<'_>) -> Result<Self, Vec<BadChoice>> {
        let mut bad = Vec::new();
        let mut left_out = Vec::new();
        let min = version("MIN_VERSION", written.min_version, &mut bad).unwrap_or(Version::Three);
        let max = version("MAX_VERSION", written.max_version, &mut bad).unwrap_or(Version::Three);
        if min > max {
            bad.push(BadChoice {
                which: "MAX_VERSION",
                text: written.max_version.to_owned(),
                wanted: "at least MIN_VERSION, which is 1.3 unless it is set".to_owned(),
            });
        }
        let mut chosen = Arc::unwrap_or_clone(provider());
        let suites = names(written.cipher_suites);
        let old = suites_by(&suites, &chosen.cipher_suites, &mut bad, &mut left_out);
        if max == Version::Two && old.is_empty() && bad.is_empty() {
            bad.push(BadChoice {
                which: "CIPHER_SUITES",
                text: written.cipher_suites.to_owned(),
                wanted: format!("one that TLS 1.2 has here: {}", SUITES.join(", ")),
            });
        }
        chosen
            .cipher_suites
            .retain(|suite| suite.version() == &TLS13);
        chosen.cipher_suites.extend(old);
        let curves = names(written.curve_preferences);
        if !curves.is_empty() {
            chosen.kx_groups = curves_by(&curves, &mut bad, &mut left_out);
            if chosen.kx_groups.is_empty() && bad.is_empty() {
                bad.push(BadChoice {
                    which: "CURVE_PREFERENCES",
                    text: written.curve_preferences.to_owned(),
                    wanted: "one that is known here: X25519, P-256, P-384".to_owned(),
                });
            }
        }
        if !bad.is_empty() {
            return Err(bad);
        }
        let all = [(Version::Two, &TLS12), (Version::Three, &TLS13)];
        let within = all
            .into_iter()
            .filter(|(version, _)| (min..=max).contains(version));
        Ok(Self {
            versions: within.map(|(_, version)| version).collect(),
            provider: Arc::new(chosen),
            left_out,
        })
    }

    /// Suites and curves that were asked for but are not known here: worth a warning.
    pub fn left_out(&self) -> &[String] {
        &self.left_out
    }

    pub(super) fn versions(&self) -> &[&'static SupportedProtocolVersion] {
        &self.versions
    }

    pub(super) fn provider(&self) -> &Arc<CryptoProvider> {
        &self.provider
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Version {
    Two,
    Three,
}

fn version(which: &'static str, text: &str, bad: &mut Vec<BadChoice>) -> Option<Version> {
    match text {
        "" => None,
        "1.2" => Some(Version::Two),
        "1.3" => Some(Version::Three),
        _ => {
            bad.push(BadChoice {
                which,
                text: text.to_owned(),
                wanted: "1.2 or 1.3".to_owned(),
            });
            None
        }
    }
}

/// The parts between commas that are not blank.
fn names(list: &str) -> Vec<&str> {
    let names = list.split(',').map(str::trim);
    names.filter(|name| !name.is_empty()).collect()
}

/// The suites of TLS 1.2 that are spoken here, by their names at IANA.
const SUITES: [&str; 6] = [
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
];

/// Suites of TLS 1.3, which cannot be chosen among, and suites that the peer's library has.
const OTHER_SUITES: [&str; 19] = [
    "TLS_AES_128_GCM_SHA256",
    "TLS_AES_256_GCM_SHA384",
    "TLS_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_RC4_128_SHA",
    "TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_RC4_128_SHA",
    "TLS_RSA_WITH_3DES_EDE_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA256",
    "TLS_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_RSA_WITH_AES_256_CBC_SHA",
    "TLS_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_RSA_WITH_RC4_128_SHA",
];

/// The suites of TLS 1.2 among `known` that are wanted; all if nobody says which.
fn suites_by(
    wanted: &[&str],
    known: &[SupportedCipherSuite],
    bad: &mut Vec<BadChoice>,
    left_out: &mut Vec<String>,
) -> Vec<SupportedCipherSuite> {
    let old = || known.iter().filter(|suite| suite.version() == &TLS12);
    if wanted.is_empty() {
        return old().copied().collect();
    }
    let mut chosen = Vec::new();
    for name in wanted {
        let named = |suite: &&SupportedCipherSuite| suite.suite().as_str() == Some(*name);
        if let Some(suite) = old().find(named) {
            chosen.push(*suite);
        } else if !OTHER_SUITES.contains(name) {
            bad.push(BadChoice {
                which: "CIPHER_SUITES",
                text: (*name).to_owned(),
                wanted: format!("the name of a suite, such as {}", SUITES[0]),
            });
        } else if !name.contains("_WITH_") {
            // Of TLS 1.3: always spoken there.
        } else {
            left_out.push((*name).to_owned());
        }
    }
    chosen
}

fn curves_by(
    wanted: &[&str],
    bad: &mut Vec<BadChoice>,
    left_out: &mut Vec<String>,
) -> Vec<&'static dyn SupportedKxGroup> {
    let mut chosen = Vec::new();
    for name in wanted {
        match *name {
            "X25519" => chosen.push(X25519),
            "P-256" | "CurveP256" => chosen.push(SECP256R1),
            "P-384" | "CurveP384" => chosen.push(SECP384R1),
            "P-521" | "CurveP521" | "X25519MLKEM768" => left_out.push((*name).to_owned()),
            _ => bad.push(BadChoice {
                which: "CURVE_PREFERENCES",
                text: (*name).to_owned(),
                wanted: "X25519, X25519MLKEM768, P-256, P-384 or P-521".to_owned(),
            }),
        }
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(written: Written<'_>) -> (usize, usize, Vec<String>, Vec<String>) {
        let choices = Choices::read(written).unwrap();
        let old = choices.provider.cipher_suites.iter();
        let old = old.filter(|suite| suite.version() == &TLS12).count();
        let curves = choices.provider.kx_groups.iter();
        let curves = curves.map(|curve| format!("{:?}", curve.name())).collect();
        (choices.versions.len(), old, curves, choices.left_out)
    }

    fn mistakes(written: Written<'_>) -> Vec<String> {
        let bad = Choices::read(written).unwrap_err();
        bad.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_default_is_the_newest_version_and_all_good_algorithms() {
        let (versions, old, curves, left_out) = chosen(Written::default());
        assert_eq!((versions, old), (1, SUITES.len()));
        assert_eq!(curves, ["X25519", "secp256r1", "secp384r1"]);
        assert!(left_out.is_empty());
    }

    #[test]
    fn names_choose_and_what_is_unknown_here_is_left_out() {
        let written = Written {
            min_version: "1.2",
            max_version: "1.3",
            cipher_suites: "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, ,TLS_AES_128_GCM_SHA256,\
                            TLS_RSA_WITH_AES_128_CBC_SHA",
            curve_preferences: "X25519MLKEM768,CurveP384, P-256,P-521",
        };
        let (versions, old, curves, left_out) = chosen(written);
        assert_eq!((versions, old), (2, 1));
        assert_eq!(curves, ["secp384r1", "secp256r1"]);
        let want = ["TLS_RSA_WITH_AES_128_CBC_SHA", "X25519MLKEM768", "P-521"];
        assert_eq!(left_out, want);
    }

    #[test]
    fn every_suite_that_is_promised_is_there() {
        let all = SUITES.join(",");
        let written = Written {
            cipher_suites: &all,
            ..Written::default()
        };
        assert_eq!(chosen(written).1, SUITES.len());
    }

    #[test]
    fn case_135_all_bad_choices_are_told_with_what_would_be_right() {
        let written = Written {
            min_version: "1.1",
            max_version: "TLS1.3",
            cipher_suites: "AES",
            curve_preferences: "P256",
        };
        let want = [
            "MIN_VERSION=\"1.1\" is not 1.2 or 1.3",
            "MAX_VERSION=\"TLS1.3\" is not 1.2 or 1.3",
            "CIPHER_SUITES=\"AES\" is not the name of a suite, such as \
             TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
            "CURVE_PREFERENCES=\"P256\" is not X25519, X25519MLKEM768, P-256, P-384 or P-521",
        ];
        assert_eq!(mistakes(written), want);
    }

    #[test]
    fn choices_that_leave_nothing_are_told() {
        let turned = Written {
            max_version: "1.2",
            ..Written::default()
        };
        let want = "MAX_VERSION=\"1.2\" is not at least MIN_VERSION, which is 1.3 unless it is set";
        assert_eq!(mistakes(turned), [want]);
        let nothing = Written {
            min_version: "1.2",
            max_version: "1.2",
            cipher_suites: "TLS_RSA_WITH_RC4_128_SHA",
            curve_preferences: "P-521",
        };
        let told = mistakes(nothing);
        assert!(
            told[0].starts_with(
                "CIPHER_SUITES=\"TLS_RSA_WITH_RC4_128_SHA\" is not one that TLS 1.2 has here: TLS_ECDHE_"
            ),
            "{told:?}"
        );
        let nothing = Written {
            curve_preferences: "P-521",
            ..Written::default()
        };
        let want =
            "CURVE_PREFERENCES=\"P-521\" is not one that is known here: X25519, P-256, P-384";
        assert_eq!(mistakes(nothing), [want]);
    }
}
