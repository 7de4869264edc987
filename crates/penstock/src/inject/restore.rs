//! A workload as it was before: from what `inject` kept in the annotation of its pod template.

use super::Mistake;
use super::document::Value;
use super::sidecar::NAME;
use super::workload::INJECTED;

/// Takes the queue-proxy out of `workload` and puts back what it replaced. `None` if there was
/// one; a note if there was none.
///
/// # Errors
///
/// The annotation does not read.
pub(super) fn uninject(workload: &mut Value) -> Result<Option<String>, Vec<Mistake>> {
    let annotation = ["spec", "template", "metadata", "annotations", INJECTED];
    let Some(kept) = workload.at(&annotation) else {
        return Ok(Some("is left as it is: nothing was injected".to_owned()));
    };
    let kept = kept.as_str().unwrap_or_default();
    let before: Value = serde_json::from_str(kept).map_err(|error| {
        vec![Mistake::at(
            format!("spec.template.metadata.annotations[{INJECTED}]"),
            format!("{kept:?} is not what inject wrote there: {error}"),
        )]
    })?;
    let metadata = workload.make(&["spec", "template", "metadata"]);
    for key in ["labels", "annotations"] {
        metadata.make(&[key]).set(INJECTED, None);
        metadata.prune(key);
    }
    workload.make(&["spec", "template"]).prune("metadata");
    let spec = workload.make(&["spec", "template", "spec"]);
    if let Some(grace) = before.get("grace") {
        spec.set("terminationGracePeriodSeconds", some(grace));
    }
    if let Some(containers) = spec.get_mut("containers").and_then(Value::as_list_mut) {
        containers.retain(|container| container.text("name") != Some(NAME));
        for container in containers {
            let named = container.text("name").unwrap_or_default().to_owned();
            let Some(was) = before.at(&["containers", &named]) else {
                continue;
            };
            if let Some(probe) = was.get("readinessProbe") {
                container.set("readinessProbe", some(probe));
            }
            if let Some(hook) = was.get("preStop") {
                container.make(&["lifecycle"]).set("preStop", some(hook));
                container.prune("lifecycle");
            }
        }
    }
    Ok(None)
}

/// What was there, `null` for nothing.
fn some(kept: &Value) -> Option<Value> {
    (*kept != Value::Null).then(|| kept.clone())
}
