//! One document: what it is, and what it asks for.

use super::fields::{Field, Object, Report};
use super::metadata::{self, Metadata};
use super::{AnnotationRules, template, traffic};
use crate::{Configuration, Fault, Manifests, ObjectKey, Route, TrafficTarget};

/// The API group of everything that is read here.
const GROUP: &str = "serving.knative.dev/";

/// Versions of the API, as far as they differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    /// `v1alpha1`: what `v1` has, and the older spellings.
    V1Alpha1,
    /// `v1` and `v1beta1`, which are alike.
    V1,
}

/// Reads a document into `manifests`.
pub(super) fn read(
    root: &Field<'_>,
    rules: AnnotationRules<'_>,
    manifests: &mut Manifests,
    report: &mut Report,
) {
    let Some(mut object) = root.object(report) else {
        return;
    };
    let api = "serving.knative.dev/v1";
    let (version, kind) = (
        object.need("apiVersion", api, report),
        object.need("kind", "Service, Configuration or Route", report),
    );
    let (Some(version), Some(kind)) = (version, kind) else {
        return;
    };
    let (Some(text), Some(kind_text)) = (version.string(report), kind.string(report)) else {
        return;
    };
    if text == "v1" && kind_text == "List" {
        let items = object.take("items").and_then(|items| items.list(report));
        for item in items.unwrap_or_default() {
            read(&item, rules, manifests, report);
        }
        return;
    }
    let of_knative = text.strip_prefix(GROUP);
    let known = matches!(kind_text.as_str(), "Service" | "Configuration" | "Route");
    let Some(short) = of_knative.filter(|_| known) else {
        let kind = format!("{kind_text} of {text}");
        report.warning(root.line, &root.path, Fault::Skipped { kind });
        return;
    };
    let version_read = match short {
        "v1" | "v1beta1" => Version::V1,
        "v1alpha1" => Version::V1Alpha1,
        _ => {
            version.wrong(format!("{GROUP}v1, v1beta1 or v1alpha1"), report);
            return;
        }
    };
    let reader = Reader {
        version: version_read,
        rules,
    };
    let metadata = metadata::of_object(&mut object, report);
    object.accept(&["status"]);
    let spec = object.need("spec", "a mapping", report);
    let spec = spec.and_then(|spec| spec.object(report));
    object.finish(report);
    let Some(spec) = spec else {
        return;
    };
    match kind_text.as_str() {
        "Configuration" => reader.configuration(metadata, spec, manifests, report),
        "Route" => reader.route(metadata, spec, manifests, report),
        _ => reader.service(metadata, spec, manifests, report),
    }
}

/// What the readers of all kinds need.
struct Reader<'c> {
    version: Version,
    rules: AnnotationRules<'c>,
}

impl Reader<'_> {
    fn service(
        &self,
        metadata: Metadata,
        mut spec: Object<'_>,
        manifests: &mut Manifests,
        report: &mut Report,
    ) {
        let line = spec.line;
        let older = ["runLatest", "release", "manual", "pinned"]
            .map(|mode| (mode, spec.take(mode)))
            .into_iter()
            .filter_map(|(mode, field)| Some((mode, field?)));
        let older: Vec<(&str, Field<'_>)> = older.collect();
        for (mode, field) in &older {
            if self.version == Version::V1 {
                field.unsupported("it is the form of v1alpha1: write spec.template", report);
            } else if *mode != "runLatest" {
                let instead = "write spec.template and spec.traffic, as v1 does";
                field.unsupported(instead, report);
            }
        }
        if let Some((mode, field)) = older.first() {
            if self.version == Version::V1Alpha1 && *mode == "runLatest" {
                self.run_latest(&metadata, field, line, manifests, report);
            }
            spec.accept(&["template", "traffic"]);
            spec.finish(report);
            return;
        }
        let template = self.template(&metadata, &mut spec, report);
        let traffic = traffic::of_service(&mut spec, self.version, &metadata.key, report);
        spec.finish(report);
        let service = Some(metadata.key.name.clone());
        let place = report.place(metadata.line);
        if let Some((template, image_at)) = template {
            manifests.configurations.push(Configuration {
                key: metadata.key.clone(),
                service: service.clone(),
                template,
                place: place.clone(),
                image_at,
            });
        }
        manifests.routes.push(Route {
            key: metadata.key,
            service,
            traffic,
            place,
        });
    }

    /// `spec.runLatest.configuration`: all traffic to the latest, as `v1` without `traffic`.
    fn run_latest(
        &self,
        metadata: &Metadata,
        run_latest: &Field<'_>,
        line: usize,
        manifests: &mut Manifests,
        report: &mut Report,
    ) {
        let Some(mut run_latest) = run_latest.object(report) else {
            return;
        };
        let configuration = run_latest.need("configuration", "a mapping", report);
        run_latest.finish(report);
        let Some(mut spec) = configuration.and_then(|spec| spec.object(report)) else {
            return;
        };
        let template = self.template(metadata, &mut spec, report);
        spec.ignore(&["build", "generation"], report);
        spec.finish(report);
        let Some((template, image_at)) = template else {
            return;
        };
        let service = Some(metadata.key.name.clone());
        let place = report.place(metadata.line);
        manifests.configurations.push(Configuration {
            key: metadata.key.clone(),
            service: service.clone(),
            template,
            place: place.clone(),
            image_at,
        });
        manifests.routes.push(Route {
            key: metadata.key.clone(),
            service,
            traffic: vec![TrafficTarget::all_to_latest(
                &metadata.key.name,
                report.place(line),
            )],
            place,
        });
    }

    fn configuration(
        &self,
        metadata: Metadata,
        mut spec: Object<'_>,
        manifests: &mut Manifests,
        report: &mut Report,
    ) {
        let template = self.template(&metadata, &mut spec, report);
        if self.version == Version::V1Alpha1 {
            spec.ignore(&["build", "generation"], report);
        }
        spec.finish(report);
        if let Some((template, image_at)) = template {
            manifests.configurations.push(Configuration {
                key: metadata.key,
                service: None,
                template,
                place: report.place(metadata.line),
                image_at,
            });
        }
    }

    fn route(
        &self,
        metadata: Metadata,
        mut spec: Object<'_>,
        manifests: &mut Manifests,
        report: &mut Report,
    ) {
        let traffic = traffic::of_route(&mut spec, self.version, &metadata.key, report);
        spec.finish(report);
        manifests.routes.push(Route {
            key: metadata.key,
            service: None,
            traffic,
            place: report.place(metadata.line),
        });
    }

    /// `template`, or in `v1alpha1` also `revisionTemplate`.
    fn template(
        &self,
        metadata: &Metadata,
        spec: &mut Object<'_>,
        report: &mut Report,
    ) -> Option<(crate::RevisionTemplate, Option<crate::Mark>)> {
        let older = match self.version {
            Version::V1Alpha1 => spec.take("revisionTemplate"),
            Version::V1 => None,
        };
        let field = match older {
            Some(older) => older,
            None => spec.need("template", "a revision template", report)?,
        };
        let ObjectKey { name, .. } = &metadata.key;
        template::read(&field, self.version, name, self.rules, report)
    }
}

impl TrafficTarget {
    /// What no `traffic` at all says.
    pub(super) fn all_to_latest(configuration: &str, place: crate::Place) -> Self {
        Self {
            upon: crate::Upon::Latest(configuration.to_owned()),
            percent: 100,
            tag: None,
            place,
            path: "spec".to_owned(),
        }
    }
}
