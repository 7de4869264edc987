//! A revision template: the part of a Configuration of which revisions are made.

use std::time::Duration;

use penstock_types::annotation::Annotations;
use penstock_types::{Slots, Timeouts};

use super::fields::{Field, Object, Report};
use super::object::Version;
use super::{AnnotationRules, container, metadata};
use crate::{Mark, RevisionTemplate};

/// Highest `containerConcurrency` (Knative's `container-concurrency-max-limit`).
const MAX_CONCURRENCY: u32 = 1000;
/// Longest request in seconds (Knative's `max-revision-timeout-seconds`).
const MAX_TIMEOUT: u32 = 600;

/// Fields of a pod that mean something in Kubernetes and nothing here.
const IGNORED: [&str; 23] = [
    "affinity",
    "automountServiceAccountToken",
    "dnsConfig",
    "dnsPolicy",
    "enableServiceLinks",
    "hostAliases",
    "hostIPC",
    "hostNetwork",
    "hostPID",
    "hostname",
    "imagePullSecrets",
    "nodeName",
    "nodeSelector",
    "priorityClassName",
    "restartPolicy",
    "runtimeClassName",
    "schedulerName",
    "securityContext",
    "serviceAccountName",
    "shareProcessNamespace",
    "tolerations",
    "topologySpreadConstraints",
    "volumes",
];

/// Reads the template of `configuration`, and where its image was written.
pub(super) fn read(
    field: &Field<'_>,
    version: Version,
    configuration: &str,
    rules: AnnotationRules<'_>,
    report: &mut Report,
) -> Option<(RevisionTemplate, Option<Mark>)> {
    let mut template = field.object(report)?;
    let about = template.take("metadata");
    let about = match about {
        Some(about) => metadata::of_template(&about, configuration, rules, report),
        None => Some((None, Annotations::new())),
    };
    let spec = template.need("spec", "a mapping with containers", report);
    template.finish(report);
    let mut spec = spec?.object(report)?;
    let slots = slots(&mut spec, version, report);
    let timeouts = timeouts(&mut spec, report);
    let container = the_container(&mut spec, version, report);
    if let Some(init) = spec
        .take("initContainers")
        .filter(|init| !init.node.is_empty())
    {
        init.unsupported("start what it does from the container itself", report);
    }
    spec.ignore(&IGNORED, report);
    if version == Version::V1Alpha1 {
        spec.ignore(
            &["servingState", "buildName", "buildRef", "generation"],
            report,
        );
    }
    spec.finish(report);
    let (name, annotations) = about?;
    let container::Read {
        container,
        image_at,
        readiness,
        startup,
        liveness,
    } = container?;
    let template = RevisionTemplate {
        name,
        annotations,
        container,
        slots,
        timeouts,
        readiness,
        startup,
        liveness,
    };
    Some((template, image_at))
}

fn slots(spec: &mut Object<'_>, version: Version, report: &mut Report) -> Slots {
    // Before containerConcurrency there was a choice of two words.
    let model = match version {
        Version::V1Alpha1 => spec.take("concurrencyModel"),
        Version::V1 => None,
    };
    let model = model.and_then(|model| match model.string(report)?.as_str() {
        "Single" => Some(1),
        "Multi" | "" => Some(0),
        _ => {
            model.wrong("Single or Multi", report);
            None
        }
    });
    let limit = spec.integer("containerConcurrency", 0..=MAX_CONCURRENCY, report);
    Slots::from_concurrency(limit.or(model).unwrap_or(0))
}

/// 0 stands for the default: 300 s for the whole, no limit for the other two.
fn timeouts(spec: &mut Object<'_>, report: &mut Report) -> Timeouts {
    let seconds = |seconds: u32| Duration::from_secs(u64::from(seconds));
    let mut timeouts = Timeouts::default();
    let whole = spec.integer("timeoutSeconds", 0..=MAX_TIMEOUT, report);
    if let Some(whole) = whole.filter(|whole| *whole > 0) {
        timeouts.whole = seconds(whole);
    }
    let mut part = |name| {
        let field = spec.take(name)?;
        let part = field
            .integer(0..=MAX_TIMEOUT, report)
            .filter(|part| *part > 0)?;
        if seconds(part) > timeouts.whole {
            let whole = timeouts.whole.as_secs();
            field.wrong(format!("at most timeoutSeconds, which is {whole}"), report);
            return None;
        }
        Some(seconds(part))
    };
    timeouts.response_start = part("responseStartTimeoutSeconds");
    timeouts.idle = part("idleTimeoutSeconds");
    timeouts
}

/// The one container, from `containers` or from the older `container`.
fn the_container(
    spec: &mut Object<'_>,
    version: Version,
    report: &mut Report,
) -> Option<container::Read> {
    if version == Version::V1Alpha1
        && let Some(container) = spec.take("container")
    {
        return container::read(&container, report);
    }
    let field = spec.need("containers", "a list of one container", report)?;
    let containers = field.list(report)?;
    if let [container] = containers.as_slice() {
        return container::read(container, report);
    }
    let count = match containers.len() {
        0 => "empty".to_owned(),
        count => format!("a list of {count} containers"),
    };
    let expected = "a list of exactly one: sidecars are not supported here";
    field.fault_of(count, expected, report);
    None
}
