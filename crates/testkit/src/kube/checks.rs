//! What the server refuses to keep: shapes, names, labels, sizes. A small part of the real
//! one's rules: those that somebody who writes objects by hand is likely to break.

use serde_json::{Value, json};

use super::kinds::Kind;
use super::object::{list, text};
use super::refusal::{Cause, Refusal};

/// What etcd holds in one value.
const LARGEST: usize = 1_500_000;
/// All annotations of an object, keys and values.
const ANNOTATIONS: usize = 256 * 1024;

/// Checks a new object, with its defaults set.
pub(super) fn check_new(kind: &Kind, object: &Value) -> Result<(), Refusal> {
    check_types(kind, object)?;
    let mut causes = Vec::new();
    check_name(kind, text(object, "/metadata/name"), &mut causes);
    check_shape(kind, object, &mut causes);
    done(kind, object, &causes)
}

/// Checks what an object has become.
pub(super) fn check_update(kind: &Kind, old: &Value, new: &Value) -> Result<(), Refusal> {
    check_types(kind, new)?;
    let mut causes = Vec::new();
    check_shape(kind, new, &mut causes);
    for field in immutable(kind) {
        let pointer = format!("/{}", field.replace('.', "/"));
        let (was, is) = (old.pointer(&pointer), new.pointer(&pointer));
        if was != is {
            let is = is.cloned().unwrap_or_default();
            causes.push(Cause::invalid(*field, &is, "field is immutable"));
        }
    }
    if !text(old, "/metadata/deletionTimestamp").is_empty() {
        let old = list(old, "/metadata/finalizers");
        let new = list(new, "/metadata/finalizers");
        if new.iter().any(|finalizer| !old.contains(finalizer)) {
            let why = "no new finalizers can be added if the object is being deleted";
            causes.push(Cause::forbidden("metadata.finalizers", why));
        }
    }
    done(kind, new, &causes)
}

fn done(kind: &Kind, object: &Value, causes: &[Cause]) -> Result<(), Refusal> {
    if !causes.is_empty() {
        let name = text(object, "/metadata/name");
        return Err(Refusal::invalid(kind, name, causes));
    }
    let size = object.to_string().len();
    if size > LARGEST {
        let message = format!("Request entity too large: limit is {LARGEST}");
        return Err(Refusal::new(413, "RequestEntityTooLarge", message));
    }
    Ok(())
}

fn immutable(kind: &Kind) -> &'static [&'static str] {
    match (kind.group, kind.plural) {
        ("apps", _) => &["spec.selector"],
        ("discovery.k8s.io", "endpointslices") => &["addressType"],
        _ => &[],
    }
}

/// Values of the wrong type never get as far as the checks: they cannot be read.
fn check_types(kind: &Kind, object: &Value) -> Result<(), Refusal> {
    let unreadable = |field: &str, is: &Value, wants: &str| {
        let why = format!(
            "{0} in version \"{1}\" cannot be handled as a {0}: json: cannot unmarshal {2} into Go struct field {0}.{field} of type {wants}",
            kind.kind,
            kind.version,
            type_name(is),
        );
        Err(Refusal::bad_request(why))
    };
    for field in ["spec", "status"] {
        match object.get(field) {
            None | Some(Value::Null | Value::Object(_)) => {}
            Some(odd) => return unreadable(field, odd, "object"),
        }
    }
    for field in ["labels", "annotations"] {
        let Some(map) = object["metadata"].get(field) else {
            continue;
        };
        let Some(pairs) = map.as_object() else {
            if map.is_null() {
                continue;
            }
            return unreadable(&format!("metadata.{field}"), map, "map[string]string");
        };
        if let Some(odd) = pairs.values().find(|value| !value.is_string()) {
            return unreadable(&format!("metadata.{field}"), odd, "string");
        }
    }
    for (field, wants) in [
        ("finalizers", "[]string"),
        ("ownerReferences", "[]v1.OwnerReference"),
    ] {
        match object["metadata"].get(field) {
            None | Some(Value::Null | Value::Array(_)) => {}
            Some(odd) => return unreadable(&format!("metadata.{field}"), odd, wants),
        }
    }
    for (group, field, wants) in TYPES {
        let pointer = format!("/{}", field.replace('.', "/"));
        let Some(value) = object.pointer(&pointer) else {
            continue;
        };
        let fits = match *wants {
            "int32" => value.as_i64().is_some_and(|it| i32::try_from(it).is_ok()),
            "string" => value.is_string(),
            "map[string]string" => value
                .as_object()
                .is_some_and(|map| map.values().all(Value::is_string)),
            _ => value.is_array(),
        };
        if kind.group == *group && !kind.custom && !fits && !value.is_null() {
            return unreadable(field, value, wants);
        }
    }
    Ok(())
}

/// Group, field, and the type it has in Go.
const TYPES: &[(&str, &str, &str)] = &[
    ("apps", "spec.replicas", "int32"),
    ("apps", "spec.template.spec.containers", "[]v1.Container"),
    (
        "apps",
        "spec.template.spec.terminationGracePeriodSeconds",
        "int32",
    ),
    ("", "spec.ports", "[]v1.ServicePort"),
    ("", "spec.selector", "map[string]string"),
    ("", "spec.clusterIP", "string"),
    ("", "spec.containers", "[]v1.Container"),
    ("", "spec.terminationGracePeriodSeconds", "int32"),
    ("", "data", "map[string]string"),
    ("", "subsets", "[]v1.EndpointSubset"),
    ("", "message", "string"),
    ("", "reason", "string"),
    ("discovery.k8s.io", "endpoints", "[]v1.Endpoint"),
    ("discovery.k8s.io", "ports", "[]v1.EndpointPort"),
    ("coordination.k8s.io", "spec.holderIdentity", "string"),
    ("coordination.k8s.io", "spec.leaseDurationSeconds", "int32"),
    ("coordination.k8s.io", "spec.leaseTransitions", "int32"),
];

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn check_name(kind: &Kind, name: &str, causes: &mut Vec<Cause>) {
    let field = "metadata.name";
    if name.is_empty() {
        causes.push(Cause::required(field, "name or generateName is required"));
        return;
    }
    let custom_service = kind.custom && kind.plural == "services";
    let fault = match kind.plural {
        "namespaces" => is_label(name).err(),
        "services" if !custom_service => is_service_name(name).err(),
        // Anything that is safe in a path.
        "roles" | "rolebindings" | "clusterroles" | "clusterrolebindings" => name
            .contains(['/', '%'])
            .then(|| "may not contain '/' or '%'".to_owned()),
        _ => is_subdomain(name).err(),
    };
    if let Some(why) = fault {
        causes.push(Cause::invalid(field, &json!(name), &why));
    }
}

/// RFC 1123, a label in lower case.
fn is_label(name: &str) -> Result<(), String> {
    if name.len() > 63 {
        return Err("must be no more than 63 characters".to_owned());
    }
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let ends = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    if name.chars().all(inner) && name.starts_with(ends) && name.ends_with(ends) {
        return Ok(());
    }
    Err("a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character".to_owned())
}

/// RFC 1123, labels parted by dots.
fn is_subdomain(name: &str) -> Result<(), String> {
    if name.len() > 253 {
        return Err("must be no more than 253 characters".to_owned());
    }
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let ends = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let fits =
        |part: &str| part.chars().all(inner) && part.starts_with(ends) && part.ends_with(ends);
    if name.split('.').all(fits) {
        return Ok(());
    }
    Err("a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character".to_owned())
}

/// RFC 1035, a label that begins with a letter.
fn is_service_name(name: &str) -> Result<(), String> {
    is_label(name)?;
    if name.starts_with(|c: char| c.is_ascii_lowercase()) {
        return Ok(());
    }
    Err("a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character".to_owned())
}

fn check_shape(kind: &Kind, object: &Value, causes: &mut Vec<Cause>) {
    check_labels(object, "metadata.labels", causes);
    check_annotations(object, causes);
    for (at, owner) in list(object, "/metadata/ownerReferences").iter().enumerate() {
        for field in ["apiVersion", "kind", "name", "uid"] {
            if text(owner, &format!("/{field}")).is_empty() {
                let field = format!("metadata.ownerReferences[{at}].{field}");
                causes.push(Cause::required(field, "must not be empty"));
            }
        }
    }
    if kind.custom {
        return;
    }
    match (kind.group, kind.plural) {
        ("apps", "deployments" | "statefulsets") => check_workload(object, causes),
        ("", "services") => check_service(object, causes),
        ("", "pods") => check_containers(object, "spec", causes),
        ("discovery.k8s.io", "endpointslices") => check_slice(object, causes),
        ("coordination.k8s.io", "leases") => {
            for field in ["leaseDurationSeconds", "leaseTransitions"] {
                let value = &object["spec"][field];
                let least = i64::from(field == "leaseDurationSeconds");
                if value.as_i64().is_some_and(|it| it < least) {
                    let why = format!("must be greater than or equal to {least}");
                    causes.push(Cause::invalid(format!("spec.{field}"), value, &why));
                }
            }
        }
        _ => {}
    }
}

fn check_labels(object: &Value, field: &str, causes: &mut Vec<Cause>) {
    let pointer = format!("/{}", field.replace('.', "/"));
    let pairs = object.pointer(&pointer).and_then(Value::as_object);
    for (key, value) in pairs.into_iter().flatten() {
        check_key(key, field, causes);
        let text = value.as_str().unwrap_or_default();
        if text.len() > 63 {
            let why = "must be no more than 63 characters";
            causes.push(Cause::invalid(field, value, why));
        } else if !text.is_empty() && !is_word(text) {
            let why = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character";
            causes.push(Cause::invalid(field, value, why));
        }
    }
}

fn check_annotations(object: &Value, causes: &mut Vec<Cause>) {
    let field = "metadata.annotations";
    let pairs = object
        .pointer("/metadata/annotations")
        .and_then(Value::as_object);
    let mut size = 0;
    for (key, value) in pairs.into_iter().flatten() {
        check_key(&key.to_ascii_lowercase(), field, causes);
        size += key.len() + value.as_str().map_or(0, str::len);
    }
    if size > ANNOTATIONS {
        causes.push(Cause {
            reason: "FieldValueTooLong",
            field: field.to_owned(),
            message: format!("Too long: may not be more than {ANNOTATIONS} bytes"),
        });
    }
}

/// A key is a word, with the name of a domain before it if it wants one.
fn check_key(key: &str, field: &str, causes: &mut Vec<Cause>) {
    let (prefix, word) = match key.split_once('/') {
        Some((prefix, word)) => (Some(prefix), word),
        None => (None, key),
    };
    let fits = prefix.is_none_or(|prefix| is_subdomain(prefix).is_ok())
        && word.len() <= 63
        && is_word(word);
    if !fits {
        let why = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character, and be no more than 63 characters";
        causes.push(Cause::invalid(field, &json!(key), why));
    }
}

fn is_word(text: &str) -> bool {
    let ends = |c: char| c.is_ascii_alphanumeric();
    text.chars().all(|c| ends(c) || "-_.".contains(c))
        && text.starts_with(ends)
        && text.ends_with(ends)
}

fn check_workload(object: &Value, causes: &mut Vec<Cause>) {
    if let Some(replicas) = object.pointer("/spec/replicas")
        && replicas.as_i64().is_some_and(|it| it < 0)
    {
        let why = "must be greater than or equal to 0";
        causes.push(Cause::invalid("spec.replicas", replicas, why));
    }
    let selector = object
        .pointer("/spec/selector/matchLabels")
        .and_then(Value::as_object);
    let expressions = list(object, "/spec/selector/matchExpressions");
    if selector.is_none_or(serde_json::Map::is_empty) && expressions.is_empty() {
        causes.push(Cause::required("spec.selector", ""));
    }
    let labels = &object["spec"]["template"]["metadata"]["labels"];
    let unmatched = |(key, value): (&String, &Value)| labels.get(key) != Some(value);
    if selector.into_iter().flatten().any(unmatched) {
        let why = "`selector` does not match template `labels`";
        causes.push(Cause::invalid("spec.template.metadata.labels", labels, why));
    }
    check_labels(object, "spec.template.metadata.labels", causes);
    check_containers(object, "spec.template.spec", causes);
}

fn check_containers(object: &Value, at: &str, causes: &mut Vec<Cause>) {
    let containers = list(object, &format!("/{}/containers", at.replace('.', "/")));
    if containers.is_empty() {
        causes.push(Cause::required(format!("{at}.containers"), ""));
    }
    let mut names = Vec::new();
    for (nth, container) in containers.iter().enumerate() {
        let field = format!("{at}.containers[{nth}].name");
        let name = text(container, "/name");
        if name.is_empty() {
            causes.push(Cause::required(field, ""));
        } else if names.contains(&name) {
            causes.push(Cause {
                reason: "FieldValueDuplicate",
                field,
                message: format!("Duplicate value: {name:?}"),
            });
        } else if let Err(why) = is_label(name) {
            causes.push(Cause::invalid(field, &json!(name), &why));
        }
        names.push(name);
        if text(container, "/image").is_empty() {
            causes.push(Cause::required(format!("{at}.containers[{nth}].image"), ""));
        }
        for (port_nth, port) in list(container, "/ports").iter().enumerate() {
            let field = format!("{at}.containers[{nth}].ports[{port_nth}].containerPort");
            check_port(port.get("containerPort"), field, causes);
        }
    }
}

fn check_port(port: Option<&Value>, field: String, causes: &mut Vec<Cause>) {
    match port {
        None => causes.push(Cause::required(field, "")),
        Some(port) if !port.as_i64().is_some_and(|it| (1..=65_535).contains(&it)) => {
            causes.push(Cause::invalid(
                field,
                port,
                "must be between 1 and 65535, inclusive",
            ));
        }
        Some(_) => {}
    }
}

fn check_service(object: &Value, causes: &mut Vec<Cause>) {
    let ports = list(object, "/spec/ports");
    let headless = text(object, "/spec/clusterIP") == "None";
    let external = text(object, "/spec/type") == "ExternalName";
    if ports.is_empty() && !headless && !external {
        causes.push(Cause::required("spec.ports", ""));
    }
    let mut names = Vec::new();
    for (nth, port) in ports.iter().enumerate() {
        check_port(port.get("port"), format!("spec.ports[{nth}].port"), causes);
        let name = text(port, "/name");
        if ports.len() > 1 && name.is_empty() {
            causes.push(Cause::required(format!("spec.ports[{nth}].name"), ""));
        } else if names.contains(&name) {
            causes.push(Cause {
                reason: "FieldValueDuplicate",
                field: format!("spec.ports[{nth}].name"),
                message: format!("Duplicate value: {name:?}"),
            });
        }
        names.push(name);
    }
}

fn check_slice(object: &Value, causes: &mut Vec<Cause>) {
    let family = text(object, "/addressType");
    if family.is_empty() {
        causes.push(Cause::required("addressType", ""));
    }
    for (nth, endpoint) in list(object, "/endpoints").iter().enumerate() {
        let field = format!("endpoints[{nth}].addresses");
        let addresses = list(endpoint, "/addresses");
        if addresses.is_empty() {
            causes.push(Cause::required(&field, "must contain at least 1 item"));
        }
        for address in addresses {
            let parsed = address
                .as_str()
                .unwrap_or_default()
                .parse::<std::net::IpAddr>();
            let fits = match family {
                "IPv4" => parsed.is_ok_and(|it| it.is_ipv4()),
                "IPv6" => parsed.is_ok_and(|it| it.is_ipv6()),
                _ => true,
            };
            if !fits {
                let why = format!("must be a valid {family} address");
                causes.push(Cause::invalid(&field, address, &why));
            }
        }
    }
}
