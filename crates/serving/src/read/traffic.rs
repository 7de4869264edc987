//! `traffic`: who gets how much, and under which tag.

use super::fields::{Field, Object, Report};
use super::object::Version;
use crate::{Fault, ObjectKey, TrafficTarget, Upon, name};

/// Whose traffic is read.
#[derive(Clone, Copy)]
struct Of<'a> {
    version: Version,
    key: &'a ObjectKey,
    /// The one configuration whose revisions it is about; a Route names them itself.
    configuration: Option<&'a str>,
}

/// Reads the traffic of a Service; without any, all of it goes to the latest revision.
pub(super) fn of_service(
    spec: &mut Object<'_>,
    version: Version,
    key: &ObjectKey,
    report: &mut Report,
) -> Vec<TrafficTarget> {
    let line = spec.line;
    let traffic = spec
        .take("traffic")
        .filter(|traffic| !traffic.node.is_empty());
    let Some(traffic) = traffic else {
        return vec![TrafficTarget::all_to_latest(&key.name, report.place(line))];
    };
    let of = Of {
        version,
        key,
        configuration: Some(&key.name),
    };
    targets(&traffic, of, report)
}

/// Reads the traffic of a Route.
pub(super) fn of_route(
    spec: &mut Object<'_>,
    version: Version,
    key: &ObjectKey,
    report: &mut Report,
) -> Vec<TrafficTarget> {
    let of = Of {
        version,
        key,
        configuration: None,
    };
    let traffic = spec.need("traffic", "a list of targets", report);
    traffic.map_or_else(Vec::new, |traffic| targets(&traffic, of, report))
}

fn targets(traffic: &Field<'_>, of: Of<'_>, report: &mut Report) -> Vec<TrafficTarget> {
    let Some(items) = traffic.list(report) else {
        return Vec::new();
    };
    let mut targets: Vec<TrafficTarget> = Vec::new();
    let mut sum = Some(0_u32);
    for item in items {
        let (percent, target) = target(&item, of, report);
        // What one unreadable share makes of the sum is no second mistake.
        sum = sum.zip(percent).map(|(sum, percent)| sum + percent);
        let Some(target) = target else {
            continue;
        };
        let same_tag = |other: &&TrafficTarget| other.tag.is_some() && other.tag == target.tag;
        if let Some(first) = targets.iter().find(same_tag) {
            let fault = Fault::Twice {
                first_line: first.place.line,
            };
            report.error(target.place.line, &format!("{}.tag", item.path), fault);
        } else {
            targets.push(target);
        }
    }
    if let Some(sum) = sum.filter(|sum| *sum != 100) {
        traffic.fault_of(format!("{sum} percent in all"), "100 in all", report);
    }
    targets
}

/// One target. Its percent is told even if the rest is wrong; `None` if it is wrong itself.
fn target(
    item: &Field<'_>,
    of: Of<'_>,
    report: &mut Report,
) -> (Option<u32>, Option<TrafficTarget>) {
    let Some(mut target) = item.object(report) else {
        return (None, None);
    };
    let percent = match target.take("percent") {
        None => Some(0),
        Some(percent) => percent.integer(0..=100, report),
    };
    let tag = tag(&mut target, of, report);
    let upon = upon(&mut target, item, of, report);
    if let Some(url) = target.take("url") {
        url.unsupported("it is written by the platform; leave it out", report);
    }
    target.finish(report);
    let read = || {
        Some(TrafficTarget {
            upon: upon?,
            percent: u8::try_from(percent?).ok()?,
            tag: tag?,
            place: report.place(item.line),
            path: item.path.clone(),
        })
    };
    (percent, read())
}

/// The outer `None` is a mistake, the inner one no tag.
fn tag(target: &mut Object<'_>, of: Of<'_>, report: &mut Report) -> Option<Option<String>> {
    let older = match of.version {
        Version::V1Alpha1 => target.take("name"),
        Version::V1 => None,
    };
    let Some(field) = target.take("tag").or(older) else {
        return Some(None);
    };
    let tag = field.string(report)?;
    if tag.is_empty() {
        return Some(None);
    }
    let host = format!("{tag}-{}", of.key.name);
    if !name::is_label(&tag) {
        field.wrong(name::LABEL, report);
        None
    } else if host.len() > name::LONGEST {
        let expected = format!("short enough for {host} to be at most 63 characters");
        field.wrong(expected, report);
        None
    } else {
        Some(Some(tag))
    }
}

fn upon(
    target: &mut Object<'_>,
    item: &Field<'_>,
    of: Of<'_>,
    report: &mut Report,
) -> Option<Upon> {
    let text = |field: &Option<Field<'_>>, report: &mut Report| {
        let text = field.as_ref()?.string(report)?;
        (!text.is_empty()).then_some(text)
    };
    let configuration = target.take("configurationName");
    let named = text(&configuration, report);
    let revision = target.take("revisionName");
    let pinned = text(&revision, report);
    let latest = target.take("latestRevision");
    if let Some(field) = &latest
        && field.boolean(report)? == pinned.is_some()
    {
        let why = match &pinned {
            Some(name) => format!("is true, yet revisionName is {name:?}; keep one of them"),
            None => "is false, yet there is no revisionName; name the revision".to_owned(),
        };
        field.conflict(why, report);
        return None;
    }
    if let (Some(field), Some(_)) = (&configuration, of.configuration.or(pinned.as_deref())) {
        let why = match of.configuration {
            Some(_) => "has no place in a Service, which has one configuration; leave it out",
            None => "stands beside revisionName; keep one of them",
        };
        field.conflict(why, report);
        return None;
    }
    if let Some(pinned) = pinned {
        return Some(Upon::Revision(pinned));
    }
    if let Some(name) = named.as_deref().or(of.configuration) {
        return Some(Upon::Latest(name.to_owned()));
    }
    let expected = "the name of a configuration, or a revisionName beside it".to_owned();
    let path = format!("{}.configurationName", item.path);
    report.error(item.line, &path, Fault::Missing { expected });
    None
}
