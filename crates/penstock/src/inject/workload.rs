//! One workload rewritten.

use super::document::Value;
use super::settings::{Settings, shown};
use super::sidecar::{DRAIN_PORT, Front, NAME, PORTS, container};
use super::{Mistake, restore};

/// The label by which a workload asks to be scaled.
const SCALED: &str = "penstock.dev/scale";
/// Label of the pods, by which metrics of queue-proxies are found; annotation of the pod
/// template with what was there before.
pub(super) const INJECTED: &str = "penstock.dev/injected";
/// Time that Kubernetes gives a pod to end, where nobody says, in seconds.
const GRACE: i64 = 30;

/// Puts the queue-proxy into `workload`, if that asks to be scaled. An older one is replaced.
pub(super) fn inject(workload: &mut Value, image: &str) -> Result<Vec<String>, Vec<Mistake>> {
    let label = workload.at(&["metadata", "labels", SCALED]);
    if label.and_then(Value::as_str) != Some("true") {
        return match label {
            Some(value) if value.as_str() != Some("false") => Err(vec![Mistake::at(
                format!("metadata.labels[{SCALED}]"),
                format!(
                    "{} is neither \"true\" nor \"false\", in quotes",
                    shown(value)
                ),
            )]),
            _ => Ok(vec![format!(
                "is left as it is: it has no label {SCALED}: \"true\""
            )]),
        };
    }
    restore::uninject(workload)?;
    let mut mistakes = Vec::new();
    let settings = Settings::read(workload, &mut mistakes);
    let serving = match serving(workload, settings) {
        Ok(serving) => serving,
        Err(found) => {
            mistakes.extend(found);
            return Err(mistakes);
        }
    };
    if !mistakes.is_empty() {
        return Err(mistakes);
    }
    Ok(rewrite(workload, &serving, settings, image))
}

/// The container that serves, and where.
struct Serving {
    index: usize,
    port: i64,
    h2c: bool,
    /// Its readiness probe with ports as numbers, if it is one that the queue-proxy takes over.
    probe: Option<Value>,
}

fn serving(workload: &Value, settings: Settings) -> Result<Serving, Vec<Mistake>> {
    let place = "spec.template.spec.containers";
    let found = workload.at(&["spec", "template", "spec", "containers"]);
    let containers = match found.map(|found| (found, found.as_list())) {
        Some((_, Some(containers))) if !containers.is_empty() => containers,
        Some((found, _)) => {
            let fault = format!("{} is not a list of containers", shown(found));
            return Err(vec![Mistake::at(place, fault)]);
        }
        None => return Err(vec![Mistake::at(place, "there is none")]),
    };
    let mut mistakes = Vec::new();
    // Every port of every container: (container, name, number).
    let mut ports = Vec::new();
    for (index, container) in containers.iter().enumerate() {
        let declared = container.get("ports").and_then(Value::as_list);
        for (nth, port) in declared.into_iter().flatten().enumerate() {
            let place = format!("{place}[{index}].ports[{nth}].containerPort");
            match port.get("containerPort").map(|it| (it, it.as_int())) {
                Some((_, Some(number))) if PORTS.contains(&number) => mistakes.push(Mistake::at(
                    place,
                    format!("{number} is a port of the queue-proxy; choose another one"),
                )),
                Some((_, Some(number))) if (1..=65_535).contains(&number) => {
                    ports.push((index, port.text("name").unwrap_or_default(), number));
                }
                Some((value, _)) => mistakes.push(Mistake::at(
                    place,
                    format!("{} is not a port from 1 to 65535", shown(value)),
                )),
                None => mistakes.push(Mistake::at(place, "it is missing")),
            }
        }
        if container.text("name") == Some(NAME) {
            let fault = "a queue-proxy is there already, and not one of inject's";
            mistakes.push(Mistake::at(format!("{place}[{index}].name"), fault));
        }
    }
    if !mistakes.is_empty() {
        return Err(mistakes);
    }
    let asked = settings.port.map(i64::from);
    let chosen = match (asked, ports.as_slice()) {
        (Some(asked), _) => match ports.iter().find(|(_, _, number)| *number == asked) {
            Some(port) => *port,
            // A port need not be declared; one container leaves no doubt whose it is.
            None if containers.len() == 1 => (0, "", asked),
            None => {
                let fault = format!(
                    "no container declares port {asked} of penstock.dev/port, so it is not known which one serves"
                );
                return Err(vec![Mistake::at(place, fault)]);
            }
        },
        (None, [port]) => *port,
        (None, []) => {
            let fault = "no port is declared, and no annotation penstock.dev/port names one";
            return Err(vec![Mistake::at(place, fault)]);
        }
        (None, several) => match named(several) {
            Some(port) => port,
            None => {
                let numbers: Vec<String> = several.iter().map(|it| it.2.to_string()).collect();
                let fault = format!(
                    "{} ports ({}), and no annotation penstock.dev/port says which one serves",
                    several.len(),
                    numbers.join(", ")
                );
                return Err(vec![Mistake::at(place, fault)]);
            }
        },
    };
    let (index, name, port) = chosen;
    let own: Vec<(&str, i64)> = ports
        .iter()
        .filter(|(of, _, _)| *of == index)
        .map(|(_, name, number)| (*name, *number))
        .collect();
    let at = format!("{place}[{index}].readinessProbe");
    let probe = taken_over(&containers[index], &own, &at).map_err(|mistake| vec![mistake])?;
    Ok(Serving {
        index,
        port,
        h2c: name == "h2c",
        probe,
    })
}

/// Of several ports the one whose name says that requests are meant.
fn named<'a>(ports: &[(usize, &'a str, i64)]) -> Option<(usize, &'a str, i64)> {
    let named = |name: &str| ports.iter().find(|port| port.1 == name).copied();
    named("http1")
        .or_else(|| named("http"))
        .or_else(|| named("h2c"))
}

/// The readiness probe of `container`, if it goes over the network: with its port as a number.
fn taken_over(
    container: &Value,
    ports: &[(&str, i64)],
    place: &str,
) -> Result<Option<Value>, Mistake> {
    let Some(probe) = container.get("readinessProbe") else {
        return Ok(None);
    };
    let Some(kind) = ["httpGet", "tcpSocket", "grpc"]
        .into_iter()
        .find(|kind| probe.get(kind).is_some())
    else {
        return Ok(None);
    };
    let mut probe = probe.clone();
    if let Some(port) = probe
        .get_mut(kind)
        .and_then(|action| action.get_mut("port"))
        && let Some(named) = port.as_str()
    {
        let number = ports.iter().find(|(name, _)| *name == named);
        let number = number.map(|(_, number)| *number).or(named.parse().ok());
        match number {
            Some(number) => *port = number.into(),
            None => {
                let fault = format!("{named:?} is no port of this container");
                return Err(Mistake::at(format!("{place}.{kind}.port"), fault));
            }
        }
    }
    Ok(Some(probe))
}

/// Does it, and tells what a person might not expect.
fn rewrite(
    workload: &mut Value,
    serving: &Serving,
    settings: Settings,
    image: &str,
) -> Vec<String> {
    let mut notes = Vec::new();
    let name = workload
        .at(&["metadata", "name"])
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned();
    let sidecar = container(
        &Front {
            name: &name,
            port: serving.port,
            h2c: serving.h2c,
            probe: serving.probe.as_ref(),
            settings,
        },
        image,
    );
    let mut before = Value::Map(Vec::new());
    let spec = workload.make(&["spec", "template", "spec"]);
    if let Some(containers) = spec.get_mut("containers").and_then(Value::as_list_mut) {
        for (index, container) in containers.iter_mut().enumerate() {
            let named = container.text("name").unwrap_or_default().to_owned();
            let is_serving = index == serving.index;
            let mut was = Value::Map(Vec::new());
            if is_serving && serving.probe.is_some() {
                was.set("readinessProbe", container.set("readinessProbe", None));
            }
            let hook = container.at(&["lifecycle", "preStop"]).cloned();
            if is_serving || hook.is_none() {
                if hook.is_some() {
                    notes.push(format!(
                        "now waits for the queue-proxy to drain before container {named} is \
                         stopped; its own preStop hook does not run"
                    ));
                }
                *container.make(&["lifecycle", "preStop"]) = wait_for_drain();
                was.set("preStop", Some(hook.unwrap_or(Value::Null)));
            } else {
                notes.push(format!(
                    "keeps the preStop hook of container {named}, which is not made to wait for \
                     the queue-proxy to drain"
                ));
            }
            *before.make(&["containers", &named]) = was;
        }
        containers.push(sidecar);
    }
    let grace = spec.get("terminationGracePeriodSeconds").cloned();
    // A request that was let in has its whole time.
    let timeout = i64::try_from(settings.timeout).unwrap_or(i64::MAX);
    if grace.as_ref().and_then(Value::as_int).unwrap_or(GRACE) < timeout {
        spec.set("terminationGracePeriodSeconds", Some(timeout.into()));
        before.set("grace", Some(grace.unwrap_or(Value::Null)));
    }
    let metadata = workload.make(&["spec", "template", "metadata"]);
    *metadata.make(&["labels", INJECTED]) = "true".into();
    let kept = serde_json::to_string(&before).unwrap_or_default();
    *metadata.make(&["annotations", INJECTED]) = kept.into();
    notes
}

/// The hook that ends when the queue-proxy has nothing left to do (spec/queue-proxy.md §5).
fn wait_for_drain() -> Value {
    Value::map([(
        "httpGet",
        Value::map([
            ("path", "/wait-for-drain".into()),
            ("port", DRAIN_PORT.into()),
        ]),
    )])
}
