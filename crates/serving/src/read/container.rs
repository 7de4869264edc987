//! A container: what runs, with what, and on which port.

use penstock_types::Protocol;
use penstock_types::probe::Probe;

use super::fields::{Field, Object, Report};
use super::probe::{self, Port};
use crate::{Container, Mark};

/// A container and its probes.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) container: Container,
    /// Where the image was written.
    pub(super) image_at: Option<Mark>,
    pub(super) readiness: Probe,
    pub(super) startup: Option<Probe>,
    pub(super) liveness: Option<Probe>,
}

/// Fields that mean something in Kubernetes and nothing here.
const IGNORED: [&str; 13] = [
    "imagePullPolicy",
    "lifecycle",
    "resizePolicy",
    "resources",
    "restartPolicy",
    "securityContext",
    "stdin",
    "stdinOnce",
    "terminationMessagePath",
    "terminationMessagePolicy",
    "tty",
    "volumeDevices",
    "volumeMounts",
];

/// Variables that the runtime contract fills in.
const RESERVED_VARIABLES: [&str; 4] = ["PORT", "K_SERVICE", "K_CONFIGURATION", "K_REVISION"];

/// Ports that a queue-proxy takes in the same pod (spec/queue-proxy.md §2).
const RESERVED_PORTS: [u32; 6] = [8008, 8012, 8013, 8022, 9090, 9091];

/// Reads a container.
pub(super) fn read(field: &Field<'_>, report: &mut Report) -> Option<Read> {
    let mut container = field.object(report)?;
    container.accept(&["name"]);
    let command = container.strings("command", report);
    let args = container.strings("args", report);
    let (image, image_at) = image(&mut container, &command, report).unzip();
    let env = env(&mut container, report);
    let working_dir = container.string("workingDir", report);
    let port = port(&mut container, report);
    let declared = port.as_ref();
    let mut probe = |name| container.take(name).map(|field| (field, declared));
    let readiness = probe("readinessProbe");
    let startup = probe("startupProbe");
    let liveness = probe("livenessProbe");
    let readiness = readiness.and_then(|(field, port)| probe::readiness(&field, port, report));
    let startup = startup.and_then(|(field, port)| probe::other(&field, port, report));
    let liveness = liveness.and_then(|(field, port)| probe::other(&field, port, report));
    container.ignore(&IGNORED, report);
    container.finish(report);
    Some(Read {
        container: Container {
            image,
            command,
            args,
            env,
            working_dir,
            port: port.as_ref().and_then(|port| port.number),
            protocol: port.as_ref().map_or(Protocol::Http1, |port| port.protocol),
        },
        image_at,
        readiness: readiness.unwrap_or_else(Probe::tcp_default),
        startup,
        liveness,
    })
}

/// Knative insists on an image; here a command alone says as much.
fn image(
    container: &mut Object<'_>,
    command: &[String],
    report: &mut Report,
) -> Option<(String, Mark)> {
    let field = if command.is_empty() {
        container.need("image", "the image to run, or a command beside it", report)?
    } else {
        container.take("image")?
    };
    let image = field.string(report)?;
    if command.is_empty() && (image.is_empty() || image.contains(char::is_whitespace)) {
        field.wrong("the name of an image", report);
        return None;
    }
    let mark = Mark {
        place: report.place(field.line),
        path: field.path,
    };
    Some((image, mark))
}

fn env(container: &mut Object<'_>, report: &mut Report) -> Vec<(String, String)> {
    if let Some(from) = container
        .take("envFrom")
        .filter(|from| !from.node.is_empty())
    {
        let instead = "no ConfigMap or Secret is read; give each variable a value under env";
        from.unsupported(instead, report);
    }
    let items = container.take("env").and_then(|env| env.list(report));
    let variable = |item: Field<'_>| -> Option<(String, String)> {
        let mut item = item.object(report)?;
        let name = item.need("name", "the name of a variable", report);
        let from = item.take("valueFrom");
        if let Some(from) = &from {
            from.unsupported("give the variable a value", report);
        }
        let value = match item.take("value") {
            Some(value) => value.string(report),
            None => Some(String::new()),
        };
        item.finish(report);
        let field = name?;
        let name = field.string(report)?;
        if RESERVED_VARIABLES.contains(&name.as_str()) {
            let reserved = RESERVED_VARIABLES.join(", ");
            field.wrong(format!("none of {reserved}, which are filled in"), report);
            return None;
        }
        if name.is_empty() || name.contains(['=', '\0']) {
            field.wrong("the name of a variable, without =", report);
            return None;
        }
        Some((name, value?))
    };
    items
        .unwrap_or_default()
        .into_iter()
        .filter_map(variable)
        .collect()
}

fn port(container: &mut Object<'_>, report: &mut Report) -> Option<Port> {
    let field = container.take("ports")?;
    let ports = field.list(report)?;
    let port = match ports.as_slice() {
        [] => return None,
        [port] => port,
        more => {
            let count = format!("a list of {} ports", more.len());
            field.fault_of(count, "a list of at most one", report);
            return None;
        }
    };
    let mut port = port.object(report)?;
    let name = port.take("name");
    let text = name.as_ref().and_then(|name| name.string(report));
    let protocol = match (text.as_deref(), &name) {
        (Some("h2c"), _) => Protocol::H2c,
        (Some("http1" | "") | None, _) => Protocol::Http1,
        (Some(_), Some(name)) => {
            name.wrong("http1 or h2c, or left out", report);
            Protocol::Http1
        }
        (Some(_), None) => Protocol::Http1,
    };
    let number = port.take("containerPort").and_then(|field| {
        let number = field.integer(0..=65535, report)?;
        if RESERVED_PORTS.contains(&number) {
            field.wrong("another: Knative's queue-proxy takes it", report);
            return None;
        }
        // 0 is "not given" in Kubernetes.
        u16::try_from(number).ok().filter(|number| *number > 0)
    });
    if let Some(transport) = port.take("protocol")
        && transport.string(report).is_some_and(|text| text != "TCP")
    {
        transport.wrong("TCP", report);
    }
    port.ignore(&["hostIP", "hostPort"], report);
    port.finish(report);
    Some(Port {
        name: text.filter(|name| !name.is_empty()),
        number,
        protocol,
    })
}
