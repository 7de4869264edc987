//! Synthetic traffic: `NAME` or `NAME:key=value,...`.

use std::time::Duration;

use penstock_runtime::vars::go::duration;

use super::{MOST_RPS, MOST_SECONDS, Micros, SECOND, Spacing, Stretch, Traffic, Volume, micros};
use crate::simulate::chance::Time;

/// One shape, as it is told to users.
struct Form {
    name: &'static str,
    /// Keys, each with its default; times as parts of the whole are in words.
    keys: &'static [(&'static str, &'static str)],
}

/// What there is. An empty default is worked out from the length.
const FORMS: [Form; 7] = [
    Form {
        name: "steady",
        keys: &[("rps", "50")],
    },
    Form {
        name: "step",
        keys: &[("from", "50"), ("to", "75"), ("at", "")],
    },
    Form {
        name: "ramp",
        keys: &[("from", "10"), ("to", "100"), ("at", ""), ("over", "")],
    },
    Form {
        name: "spike",
        keys: &[
            ("base", "10"),
            ("peak", "200"),
            ("at", ""),
            ("lasts", "10s"),
        ],
    },
    Form {
        name: "sine",
        keys: &[("low", "10"), ("high", "100"), ("period", "")],
    },
    Form {
        name: "poisson",
        keys: &[("rps", "50")],
    },
    Form {
        name: "on-off",
        keys: &[("rps", "100"), ("on", "30s"), ("off", "90s")],
    },
];

/// The keys and values that were given, and what is wrong with them.
struct Given<'a> {
    text: &'a str,
    form: &'static Form,
    pairs: Vec<(&'a str, &'a str)>,
    mistakes: Vec<String>,
}

/// The traffic of a shape that lasts for `length`. Each request takes `work`.
///
/// # Errors
///
/// One sentence for each mistake.
pub(crate) fn read(text: &str, length: Duration, work: Time) -> Result<Traffic, Vec<String>> {
    let (name, keys) = text.split_once(':').unwrap_or((text, ""));
    let Some(form) = FORMS.iter().find(|form| form.name == name) else {
        let names: Vec<&str> = FORMS.iter().map(|form| form.name).collect();
        return Err(vec![format!(
            "--shape {text}: there is no shape {name:?}; the shapes are {}",
            names.join(", ")
        )]);
    };
    let mut given = Given::new(text, form, keys);
    let seconds = length.as_secs().max(1);
    let part = |of: u64| Duration::from_secs((seconds / of).max(1));
    let rate: Box<dyn Fn(f64) -> f64> = match name {
        "step" => {
            let (from, to, at) = (
                given.rps("from"),
                given.rps("to"),
                given.time("at", part(3)),
            );
            Box::new(move |t| if t < at { from } else { to })
        }
        "ramp" => {
            let (from, to) = (given.rps("from"), given.rps("to"));
            let (at, over) = (given.time("at", part(6)), given.time("over", part(2)));
            Box::new(move |t| from + (to - from) * ((t - at) / over.max(1.0)).clamp(0.0, 1.0))
        }
        "spike" => {
            let (base, peak) = (given.rps("base"), given.rps("peak"));
            let (at, lasts) = (given.time("at", part(3)), given.time("lasts", part(60)));
            Box::new(move |t| {
                if t >= at && t < at + lasts {
                    peak
                } else {
                    base
                }
            })
        }
        "sine" => {
            let (low, high) = (given.rps("low"), given.rps("high"));
            let period = given.time("period", part(2)).max(1.0);
            let (middle, swing) = ((low + high) / 2.0, (high - low) / 2.0);
            Box::new(move |t| middle - swing * (std::f64::consts::TAU * t / period).cos())
        }
        "on-off" => {
            let rps = given.rps("rps");
            let (on, off) = (given.time("on", part(20)), given.time("off", part(10)));
            Box::new(move |t| {
                let place = t % (on + off).max(1.0);
                if place < on { rps } else { 0.0 }
            })
        }
        _ => {
            let rps = given.rps("rps");
            Box::new(move |_| rps)
        }
    };
    if !given.mistakes.is_empty() {
        return Err(given.mistakes);
    }
    let stretches = stretches(seconds.min(MOST_SECONDS), rate, work);
    Ok(Traffic {
        name: text.to_owned(),
        stretches,
        spacing: if name == "poisson" {
            Spacing::Random
        } else {
            Spacing::Even
        },
    })
}

/// One stretch for each run of seconds with the same rate.
fn stretches(seconds: u64, rate: impl Fn(f64) -> f64, work: Time) -> Vec<Stretch> {
    let mut stretches: Vec<Stretch> = Vec::new();
    for second in 0..seconds {
        // A second has the rate of its middle: a slope is then right on average.
        let volume = Volume::Rate(rate(second as f64 + 0.5));
        let until: Micros = (second + 1) * SECOND;
        match stretches.last_mut() {
            Some(last) if last.volume == volume => last.until = until,
            _ => stretches.push(Stretch {
                until,
                volume,
                work,
            }),
        }
    }
    stretches
}

impl<'a> Given<'a> {
    fn new(text: &'a str, form: &'static Form, keys: &'a str) -> Self {
        let mut this = Self {
            text,
            form,
            pairs: Vec::new(),
            mistakes: Vec::new(),
        };
        for pair in keys.split(',').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            if !form.keys.iter().any(|(known, _)| *known == key) {
                let known: Vec<&str> = form.keys.iter().map(|(known, _)| *known).collect();
                this.wrong(format!(
                    "{} has no {key:?}; it has {}",
                    form.name,
                    known.join(", ")
                ));
            } else if this.pairs.iter().any(|(before, _)| *before == key) {
                this.wrong(format!("{key} is given twice; keep one"));
            } else {
                this.pairs.push((key, value));
            }
        }
        this
    }

    fn wrong(&mut self, what: String) {
        let text = self.text;
        self.mistakes.push(format!("--shape {text}: {what}"));
    }

    fn find(&self, key: &str) -> Option<&'a str> {
        let mut pairs = self.pairs.iter();
        pairs
            .find(|(name, _)| *name == key)
            .map(|(_, value)| *value)
    }

    /// A rate.
    fn rps(&mut self, key: &str) -> f64 {
        let default = self.form.keys.iter().find(|(name, _)| *name == key);
        let text = self.find(key).or(default.map(|(_, value)| *value));
        let text = text.unwrap_or_default();
        match text.parse() {
            Ok(rps) if (0.0..=MOST_RPS).contains(&rps) => rps,
            _ => {
                self.wrong(format!(
                    "{key}={text} is not a number of requests per second from 0 to 1000000"
                ));
                0.0
            }
        }
    }

    /// A time in seconds; `default` where the form's own is empty.
    fn time(&mut self, key: &str, default: Duration) -> f64 {
        let own = self.form.keys.iter().find(|(name, _)| *name == key);
        let own = own
            .and_then(|(_, value)| duration(value))
            .unwrap_or(default);
        let Some(text) = self.find(key) else {
            return own.as_secs_f64();
        };
        match duration(text) {
            Some(time) if micros(time) <= MOST_SECONDS * SECOND => time.as_secs_f64(),
            _ => {
                self.wrong(format!("{key}={text} is not a time such as 90s or 5m"));
                0.0
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORK: Time = Time::Fixed(Duration::from_millis(100));
    const LENGTH: Duration = Duration::from_secs(600);

    /// Requests per second in each second.
    fn rates(text: &str) -> Vec<f64> {
        let traffic = read(text, LENGTH, WORK).unwrap();
        let mut rates = Vec::new();
        for (from, stretch) in traffic.with_beginnings() {
            let seconds = ((stretch.until - from) / SECOND) as usize;
            rates.extend(std::iter::repeat_n(stretch.rps(1), seconds));
        }
        assert_eq!(rates.len(), 600, "{text}");
        rates
    }

    #[test]
    fn every_shape_is_what_it_is_called() {
        assert_eq!(rates("steady:rps=3"), [3.0; 600]);
        assert_eq!(rates("poisson"), [50.0; 600]);
        let step = rates("step:from=2,to=4,at=10s");
        assert_eq!((step[9], step[10], step[599]), (2.0, 4.0, 4.0));
        let step = rates("step");
        assert_eq!((step[199], step[200]), (50.0, 75.0));
        let ramp = rates("ramp:from=0,to=100,at=0s,over=100s");
        assert_eq!((ramp[0], ramp[49], ramp[200]), (0.5, 49.5, 100.0));
        let spike = rates("spike:at=100s,lasts=5s");
        assert_eq!(
            (spike[99], spike[100], spike[104], spike[105]),
            (10.0, 200.0, 200.0, 10.0)
        );
        let sine = rates("sine:low=0,high=100,period=100s");
        assert!(sine[0] < 1.0 && sine[50] > 99.0 && sine[100] < 1.0);
        let on_off = rates("on-off:rps=9,on=10s,off=20s");
        assert_eq!((on_off[9], on_off[10], on_off[30]), (9.0, 0.0, 9.0));
    }

    #[test]
    fn only_poisson_is_random_by_itself() {
        for form in &FORMS {
            let spacing = read(form.name, LENGTH, WORK).unwrap().spacing;
            assert_eq!(spacing == Spacing::Random, form.name == "poisson");
        }
    }

    #[test]
    fn all_mistakes_of_a_shape_are_said_at_once() {
        let said = |text| read(text, LENGTH, WORK).unwrap_err();
        assert_eq!(
            said("square"),
            [
                "--shape square: there is no shape \"square\"; the shapes are steady, step, ramp, \
              spike, sine, poisson, on-off"
            ]
        );
        let text = "step:form=1,to=x,at=5,to=3";
        let want = [
            "step has no \"form\"; it has from, to, at",
            "to is given twice; keep one",
            "to=x is not a number of requests per second from 0 to 1000000",
            "at=5 is not a time such as 90s or 5m",
        ]
        .map(|what| format!("--shape {text}: {what}"));
        assert_eq!(said(text), want);
    }
}
