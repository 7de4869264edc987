//! Which command stands for an image: what `--image` says, then the built-in samples.

use std::path::PathBuf;
use std::str::FromStr;

/// The images that are built in, by the last part of their path, and the samples they stand for.
const BUILT_IN: [(&str, &str); 2] = [("helloworld-go", "hello"), ("autoscale-go", "autoscale")];

/// Variables of the runtime contract. In a command of `--image` they may be written as a shell
/// would have them.
const CONTRACT: [&str; 4] = ["PORT", "K_SERVICE", "K_CONFIGURATION", "K_REVISION"];

/// Commands for images.
#[derive(Clone, Debug)]
pub(crate) struct Images {
    rules: Vec<Rule>,
    /// This program, which has the samples.
    program: PathBuf,
}

/// `NAME=COMMAND`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    name: String,
    /// Words, in which `$(VAR)` is expanded by whoever starts them.
    command: Vec<String>,
}

impl Images {
    pub(crate) fn new(rules: Vec<Rule>, program: PathBuf) -> Self {
        Self { rules, program }
    }

    /// A sentence for each name that is given twice.
    pub(crate) fn twice(&self) -> impl Iterator<Item = String> {
        let named_before = |index: usize, rule: &Rule| {
            let mut before = self.rules[..index].iter();
            before.any(|other| other.name == rule.name)
        };
        let rules = self.rules.iter().enumerate();
        let twice = rules.filter(move |(index, rule)| named_before(*index, rule));
        twice.map(|(_, rule)| format!("--image {} is given twice; keep one", rule.name))
    }

    /// What runs for `image`. Of several rules that fit, the one that says most about it.
    pub(crate) fn command(&self, image: &str) -> Option<Vec<String>> {
        let image = Name::parse(image);
        let fits = self.rules.iter().filter_map(|rule| {
            let name = Name::parse(&rule.name);
            name.covers(&image).then(|| (name.weight(), rule))
        });
        if let Some((_, rule)) = fits.max_by_key(|(weight, _)| *weight) {
            return Some(rule.command.clone());
        }
        let last = image.last();
        let (_, sample) = BUILT_IN.iter().find(|(name, _)| *name == last)?;
        let program = self.program.to_string_lossy().into_owned();
        Some(vec![program, "sample".to_owned(), (*sample).to_owned()])
    }

    /// What to do about an image without a command: a phrase that completes "it must be ...".
    pub(crate) fn expected(image: &str) -> String {
        let name = Name::parse(image).last();
        format!(
            "an image whose command is known: add --image {name}=COMMAND, \
             or write command beside it (built in are helloworld-go and autoscale-go)"
        )
    }
}

impl FromStr for Rule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some((name, command)) = text.split_once('=') else {
            return Err("it must be NAME=COMMAND".to_owned());
        };
        let name = name.trim();
        if name.is_empty() || name.contains(char::is_whitespace) {
            return Err("it must be NAME=COMMAND, with the name of an image".to_owned());
        }
        let words = shell_words::split(command)
            .map_err(|_| "a quote in its command is not closed".to_owned())?;
        if words.first().is_none_or(String::is_empty) {
            return Err("it names no command: write NAME=COMMAND".to_owned());
        }
        Ok(Self {
            name: name.to_owned(),
            command: words.iter().map(|word| as_manifest(word)).collect(),
        })
    }
}

/// Writes `$PORT` as a manifest does, `$(PORT)`; any other `$` is the command's own affair.
fn as_manifest(word: &str) -> String {
    let mut out = String::with_capacity(word.len());
    let mut rest = word;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let name = |braces: bool| -> &str {
            let inner = if braces { &rest[1..] } else { rest };
            let end = inner.find(|c: char| c != '_' && !c.is_ascii_alphanumeric());
            &inner[..end.unwrap_or(inner.len())]
        };
        let braces = rest.starts_with('{');
        let known = CONTRACT.contains(&name(braces));
        let length = name(braces).len();
        if braces && known && rest[1 + length..].starts_with('}') {
            out.push_str(&format!("$({})", name(true)));
            rest = &rest[length + 2..];
        } else if !braces && known {
            out.push_str(&format!("$({})", name(false)));
            rest = &rest[length..];
        } else if rest.starts_with('(') {
            out.push('$');
        } else {
            out.push_str("$$");
        }
    }
    out.push_str(rest);
    out
}

/// An image's name, taken apart: `[REGISTRY/]PATH[:TAG][@DIGEST]`.
#[derive(Clone, Copy, Debug)]
struct Name<'a> {
    path: &'a str,
    tag: Option<&'a str>,
    digest: Option<&'a str>,
}

impl<'a> Name<'a> {
    fn parse(text: &'a str) -> Self {
        let (text, digest) = match text.split_once('@') {
            Some((text, digest)) => (text, Some(digest)),
            None => (text, None),
        };
        // A colon before a slash is a registry's port.
        let tag_at = text.rfind(':').filter(|at| !text[*at..].contains('/'));
        let (path, tag) = match tag_at {
            Some(at) => (&text[..at], Some(&text[at + 1..])),
            None => (text, None),
        };
        Self { path, tag, digest }
    }

    fn last(&self) -> &'a str {
        self.path.rsplit('/').next().unwrap_or(self.path)
    }

    /// Whether `image` is meant, of which this may leave parts out.
    fn covers(&self, image: &Self) -> bool {
        let path = image.path.strip_suffix(self.path);
        let path = path.is_some_and(|before| before.is_empty() || before.ends_with('/'));
        path && (self.tag.is_none() || self.tag == image.tag)
            && (self.digest.is_none() || self.digest == image.digest)
    }

    /// How much it says.
    fn weight(&self) -> (bool, bool, usize) {
        (self.digest.is_some(), self.tag.is_some(), self.path.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn images(rules: &[&str]) -> Images {
        let rules = rules.iter().map(|rule| rule.parse().unwrap()).collect();
        Images::new(rules, PathBuf::from("/bin/penstock"))
    }

    #[test]
    fn an_image_is_found_with_or_without_registry_tag_and_digest() {
        let table = [
            ("app", "app", true),
            ("app", "registry.test:5000/team/app:v1@sha256:00", true),
            ("team/app", "registry.test:5000/team/app:v1", true),
            ("app:v1", "team/app:v1", true),
            ("app:v1", "team/app:v2", false),
            ("app:v1", "team/app", false),
            ("app@sha256:00", "app:v1@sha256:00", true),
            ("app@sha256:00", "app@sha256:01", false),
            ("app", "team/my-app", false),
            ("team/app", "app", false),
            ("registry.test:5000/app", "registry.test:5000/app:v1", true),
        ];
        for (name, image, found) in table {
            let images = images(&[&format!("{name}=run")]);
            assert_eq!(images.command(image).is_some(), found, "{name} {image}");
        }
    }

    #[test]
    fn the_rule_that_says_most_wins() {
        let images = images(&["app=any", "team/app=team", "app:v2=second"]);
        let run = |image| images.command(image).unwrap();
        assert_eq!(run("x/app"), ["any"]);
        assert_eq!(run("x/team/app:v1"), ["team"]);
        assert_eq!(run("x/team/app:v2"), ["second"]);
    }

    #[test]
    fn the_tutorials_images_are_built_in_and_may_be_replaced() {
        let plain = images(&[]);
        let hello = ["/bin/penstock", "sample", "hello"];
        for image in [
            "helloworld-go",
            "gcr.io/knative-samples/helloworld-go",
            "ghcr.io/knative/helloworld-go:latest",
        ] {
            assert_eq!(plain.command(image).unwrap(), hello, "{image}");
        }
        let autoscale = plain.command("ghcr.io/knative/autoscale-go:latest");
        assert_eq!(autoscale.unwrap(), ["/bin/penstock", "sample", "autoscale"]);
        assert_eq!(plain.command("ghcr.io/knative/helloworld-java"), None);
        let own = images(&["helloworld-go=mine --fast"]);
        assert_eq!(own.command("helloworld-go").unwrap(), ["mine", "--fast"]);
    }

    #[test]
    fn commands_are_split_as_a_shell_would_and_know_their_port() {
        let table: [(&str, &[&str]); 6] = [
            (
                "python3 -m http.server $PORT",
                &["python3", "-m", "http.server", "$(PORT)"],
            ),
            ("run --port=${PORT}", &["run", "--port=$(PORT)"]),
            (
                "run '$(PORT)' \"a b\" c\\ d",
                &["run", "$(PORT)", "a b", "c d"],
            ),
            (
                "sh -c 'echo $$ $PORTS $1'",
                &["sh", "-c", "echo $$$$ $$PORTS $$1"],
            ),
            (
                "sh -c 'cd $HOME; echo ${PORT:-1}'",
                &["sh", "-c", "cd $$HOME; echo $${PORT:-1}"],
            ),
            ("run a=b", &["run", "a=b"]),
        ];
        for (command, words) in table {
            let rule: Rule = format!("app={command}").parse().unwrap();
            assert_eq!(rule.command, words, "{command}");
        }
    }

    #[test]
    fn a_wrong_rule_says_what_would_be_right() {
        let table = [
            ("app", "it must be NAME=COMMAND"),
            ("=run", "it must be NAME=COMMAND, with the name of an image"),
            ("app=", "it names no command: write NAME=COMMAND"),
            ("app=''", "it names no command: write NAME=COMMAND"),
            ("app=sh -c 'x", "a quote in its command is not closed"),
        ];
        for (text, want) in table {
            assert_eq!(text.parse::<Rule>(), Err(want.to_owned()), "{text}");
        }
        let twice: Vec<String> = images(&["app=a", "b=c", "app=b"]).twice().collect();
        assert_eq!(twice, ["--image app is given twice; keep one"]);
    }
}
