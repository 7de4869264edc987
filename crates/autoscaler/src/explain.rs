//! Why a revision has as many pods as it has, in plain words.

use std::fmt::{self, Write as _};

use crate::policy::PolicyKind;
use crate::state::{Decided, Inputs, RevisionState, Rules};

/// Part of the wanted pods by which a load has to be above them for `demand` to follow at once.
const BAND: f64 = penstock_scaling::demand::BAND;

impl RevisionState {
    /// Why this number of pods, why not zero, and what would change it: a few lines for a person.
    pub fn explain(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = self.write(&mut text);
        text
    }

    fn write(&self, text: &mut String) -> fmt::Result {
        let Self {
            revision, wanted, ..
        } = self;
        let Some(latest) = &self.latest else {
            return writeln!(text, "{revision}: {wanted} wanted; nothing was decided yet");
        };
        let inputs = &latest.inputs;
        writeln!(
            text,
            "{revision}: {}, {} ready (policy {}, {})",
            pods(*wanted, "wanted"),
            inputs.ready,
            self.policy,
            latest.mode
        )?;
        writeln!(text, "  why {wanted}: {}", latest.why)?;
        if let Some(by) = &inputs.held_by {
            writeln!(
                text,
                "  held by: {by}; the load asks for {}",
                Short(inputs.needed)
            )?;
        }
        if *wanted > 0 {
            writeln!(text, "  why not 0: {}", self.why_not_zero(latest))?;
        }
        for change in self.changes(inputs) {
            writeln!(text, "  would change it: {change}")?;
        }
        writeln!(
            text,
            "  figures: {} over {} s, {} of late, {} a pod ({})",
            Short(inputs.stable),
            Short(self.rules.stable_window),
            Short(inputs.panic),
            Short(inputs.target),
            self.rules.unit
        )?;
        for Decided {
            unix_seconds,
            from,
            to,
            why,
            ..
        } in self.decisions.iter().rev()
        {
            writeln!(text, "  at {unix_seconds}: {from} -> {to}, {why}")?;
        }
        Ok(())
    }

    fn why_not_zero(&self, latest: &Decided) -> String {
        let Rules {
            min_scale,
            scale_to_zero,
            stable_window,
            retention,
            ..
        } = self.rules;
        if min_scale > 0 {
            return format!("min-scale is {min_scale}");
        }
        if !scale_to_zero {
            return "enable-scale-to-zero is false".to_owned();
        }
        if latest.mode == "silent" {
            return "no report says that there is no load, and silence is not zero".to_owned();
        }
        let needed = Short(stable_window + retention);
        if latest.inputs.stable > 0.0 || latest.inputs.panic > 0.0 {
            format!("there was load in the last {} s", Short(stable_window))
        } else {
            format!("the last pod goes after {needed} s without a request")
        }
    }

    /// What would bring another number.
    fn changes(&self, inputs: &Inputs) -> Vec<String> {
        let Rules {
            unit,
            min_scale,
            max_scale,
            scale_to_zero,
            stable_window,
            retention,
            ..
        } = self.rules;
        let (wanted, target) = (f64::from(self.wanted), inputs.target);
        let mut changes = Vec::new();
        match max_scale {
            Some(max) if self.wanted >= max => {
                changes.push(format!("a max-scale above {max}; no load brings more"));
            }
            _ if self.wanted == 0 => changes.push("a request".to_owned()),
            _ if self.policy == PolicyKind::Demand.as_str() => {
                let above = Short(wanted * target * (1.0 + BAND));
                changes.push(format!(
                    "more than {above} {unit}, or a request that finds every slot taken: more pods"
                ));
            }
            _ => {
                let above = Short(wanted * target);
                changes.push(format!(
                    "more than {above} {unit} on average over {} s: more pods",
                    Short(stable_window)
                ));
            }
        }
        let fewest = min_scale.max(u32::from(!scale_to_zero));
        if self.wanted > fewest.max(1) {
            let below = Short((wanted - 1.0) * target);
            changes.push(format!(
                "at most {below} {unit} on average over {} s: fewer pods",
                Short(stable_window)
            ));
        }
        if self.wanted > 0 && fewest == 0 {
            let idle = Short(stable_window + retention);
            changes.push(format!("no request for {idle} s: none"));
        }
        changes
    }
}

fn pods(count: u32, what: &str) -> String {
    format!("{count} pod{} {what}", if count == 1 { "" } else { "s" })
}

/// A figure with at most two decimals, and none if it is whole.
struct Short(f64);

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{:.2}", self.0);
        f.write_str(text.trim_end_matches('0').trim_end_matches('.'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(wanted: u32, rules: Rules) -> RevisionState {
        RevisionState {
            revision: "default/hello-00001".to_owned(),
            wanted,
            policy: "demand",
            latest: Some(Decided {
                unix_seconds: 1,
                from: wanted,
                to: wanted,
                mode: "stable",
                why: "28 on average, 10 a pod".to_owned(),
                inputs: Inputs {
                    ready: wanted,
                    target: 10.0,
                    stable: 28.0,
                    ..Inputs::default()
                },
            }),
            rules: Rules {
                unit: "in flight",
                stable_window: 60.0,
                ..rules
            },
            ..RevisionState::default()
        }
    }

    #[test]
    fn it_says_why_and_why_not_zero_and_what_would_change_it() {
        let rules = Rules {
            scale_to_zero: true,
            ..Rules::default()
        };
        let text = state(3, rules).explain();
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        assert_eq!(
            lines[..6],
            [
                "default/hello-00001: 3 pods wanted, 3 ready (policy demand, stable)",
                "why 3: 28 on average, 10 a pod",
                "why not 0: there was load in the last 60 s",
                "would change it: more than 33 in flight, or a request that finds every slot taken: more pods",
                "would change it: at most 20 in flight on average over 60 s: fewer pods",
                "would change it: no request for 60 s: none",
            ]
        );
    }

    #[test]
    fn a_bound_is_named_where_it_decides() {
        let rules = Rules {
            min_scale: 3,
            max_scale: Some(3),
            scale_to_zero: true,
            ..Rules::default()
        };
        let text = state(3, rules).explain();
        assert!(text.contains("why not 0: min-scale is 3"), "{text}");
        assert!(text.contains("a max-scale above 3"), "{text}");
        assert!(!text.contains("fewer pods"), "{text}");
    }
}
