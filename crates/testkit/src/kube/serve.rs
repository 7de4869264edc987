//! Life of a request: take it apart, record it, spoil it if a script says so, ask whether its
//! sender may, do it, answer.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::answer::{Answer, json_answer, text_answer};
use super::call::Call;
use super::deletes::{self, Deletion};
use super::discovery::{self, AUTHORIZATION};
use super::faults::Fault;
use super::kinds::{Kind, REVIEWS};
use super::lists;
use super::object::{number, text};
use super::patch::{Format, json_patch, merge, strategic};
use super::refusal::Refusal;
use super::scale::{scale_of, with_scale};
use super::shared::Shared;
use super::store::{Key, Store};
use super::view::View;
use super::watches::{self, Spoilt};
use super::write::{self, Part, Writer};

/// The most that a request may carry, as with a real server.
const LARGEST: usize = 3 * 1024 * 1024;

/// Answers a request; an error closes the connection without an answer.
pub(super) async fn serve(
    shared: Arc<Shared>,
    request: Request<Incoming>,
) -> io::Result<Response<Answer>> {
    let (parts, body) = request.into_parts();
    let body = match Limited::new(body, LARGEST).collect().await {
        Ok(body) => body.to_bytes(),
        Err(_) => {
            let message = format!("Request entity too large: limit is {LARGEST}");
            return Ok(Refusal::new(413, "RequestEntityTooLarge", message).answer());
        }
    };
    let document = read_document(&body);
    let call = Call::of(&parts, document.clone().unwrap_or_default());
    shared.record(&call);
    let mut spoilt = Spoilt::default();
    match shared.fault_for(&call) {
        None => {}
        Some(Fault::Status(code)) => return Ok(Refusal::scripted(code, None).answer()),
        Some(Fault::RetryAfter(code, seconds)) => {
            return Ok(Refusal::scripted(code, Some(seconds)).answer());
        }
        Some(Fault::Delay(time)) => sleep(time).await,
        Some(Fault::Hang) => std::future::pending().await,
        Some(Fault::RefuseConnections) => return Err(io::Error::other("refused by script")),
        Some(Fault::LoseAnswer) => {
            // Done as asked; what came of it is what gets lost.
            if let Some(real) = &shared.real {
                let _ = real.pass(&shared, &call, &parts, body).await;
            } else {
                let _ = answer(&shared, &call, &parts.headers, document, spoilt);
            }
            return Err(io::Error::other("lost by script"));
        }
        Some(Fault::CutWatchAfter(events)) => spoilt.cut_after = Some(events),
        Some(Fault::SlowWatch(pause)) => spoilt.slow = Some(pause),
        Some(Fault::HalfOpen) => spoilt.half_open = true,
        Some(Fault::WatchError(code)) => {
            let status = Refusal::scripted(code, None).status();
            let event = json!({ "type": "ERROR", "object": status });
            return Ok(json_answer(StatusCode::OK, &event));
        }
    }
    if let Some(real) = &shared.real {
        return real.pass(&shared, &call, &parts, body).await;
    }
    let answer = answer(&shared, &call, &parts.headers, document, spoilt);
    Ok(answer.unwrap_or_else(|refusal| refusal.answer()))
}

/// JSON or YAML; `None` for an empty body, an error for what is neither.
fn read_document(body: &Bytes) -> Result<Value, Refusal> {
    if body.is_empty() {
        return Ok(Value::Null);
    }
    if let Ok(document) = serde_json::from_slice(body) {
        return Ok(document);
    }
    let text = std::str::from_utf8(body).ok();
    let document = text.and_then(|text| serde_saphyr::from_str::<Value>(text).ok());
    document
        .filter(|document| document.is_object() || document.is_array())
        .ok_or_else(|| {
            let why =
                "couldn't get version/kind; json parse error: the body is neither JSON nor YAML";
            Refusal::bad_request(why)
        })
}

fn answer(
    shared: &Arc<Shared>,
    call: &Call,
    headers: &HeaderMap,
    document: Result<Value, Refusal>,
    spoilt: Spoilt,
) -> Result<Response<Answer>, Refusal> {
    shared.authorize(call)?;
    if call.resource.is_empty() {
        return about_the_server(shared, call);
    }
    if call.group == AUTHORIZATION {
        return review(shared, call, document?);
    }
    let kind = shared
        .store()
        .kind_at(&call.group, &call.version, &call.resource);
    let Some(kind) = kind.filter(|kind| kind.namespaced || call.namespace.is_empty()) else {
        return Ok(text_answer(StatusCode::NOT_FOUND, "404 page not found\n"));
    };
    let view = View::of(headers).ok_or_else(|| {
        let message = "only the following media types are accepted: application/json";
        Refusal::new(406, "NotAcceptable", message)
    })?;
    if call.verb == "watch" {
        return watches::watch(shared, kind, call, view, spoilt);
    }
    let (code, object) = shared.change(|store| act(store, kind, call, document, view))?;
    Ok(json_answer(code, &object))
}

fn about_the_server(shared: &Shared, call: &Call) -> Result<Response<Answer>, Refusal> {
    if !matches!(call.method, Method::GET | Method::HEAD) {
        return Err(Refusal::not_allowed());
    }
    if matches!(&*call.path, "/healthz" | "/livez" | "/readyz") {
        return Ok(text_answer(StatusCode::OK, "ok"));
    }
    match discovery::document(&shared.store(), &call.path) {
        Some(document) => Ok(json_answer(StatusCode::OK, &document)),
        None => Ok(text_answer(StatusCode::NOT_FOUND, "404 page not found\n")),
    }
}

/// Answers what its sender may do; nothing is kept.
fn review(shared: &Shared, call: &Call, mut review: Value) -> Result<Response<Answer>, Refusal> {
    if !REVIEWS.contains(&&*call.resource) {
        return Err(Refusal::no_such_resource());
    }
    if call.method != Method::POST {
        return Err(Refusal::not_allowed());
    }
    if !review.is_object() {
        return Err(Refusal::bad_request("the review is no object"));
    }
    let rules = shared.rules_of(call);
    review["status"] = if call.resource == REVIEWS[0] {
        let asked = |field: &str| text(&review, &format!("/spec/resourceAttributes/{field}"));
        let resource = match asked("subresource") {
            "" => asked("resource").to_owned(),
            sub => format!("{}/{sub}", asked("resource")),
        };
        let allowed = rules.is_none_or(|rules| {
            rules.allows(
                asked("verb"),
                asked("group"),
                &resource,
                asked("namespace"),
                asked("name"),
            )
        });
        json!({ "allowed": allowed })
    } else {
        let namespace = text(&review, "/spec/namespace");
        match rules {
            Some(rules) => rules.told(namespace),
            None => json!({
                "resourceRules": [{ "verbs": ["*"], "apiGroups": ["*"], "resources": ["*"] }],
                "nonResourceRules": [{ "verbs": ["*"], "nonResourceURLs": ["*"] }],
                "incomplete": false,
            }),
        }
    };
    Ok(json_answer(StatusCode::CREATED, &review))
}

fn act(
    store: &mut Store,
    kind: &'static Kind,
    call: &Call,
    document: Result<Value, Refusal>,
    view: View,
) -> Result<(StatusCode, Value), Refusal> {
    let part = match call.subresource.as_str() {
        "" => Part::Main,
        "status" if kind.status => Part::Status,
        "scale" if kind.scale => Part::Scale,
        _ => return Err(Refusal::no_such_resource()),
    };
    let key = Key {
        kind,
        namespace: call.namespace.clone(),
        name: call.name.clone(),
    };
    let shown = |object: &Value| match part {
        Part::Scale => scale_of(object),
        Part::Main | Part::Status => view.one(object),
    };
    match (&call.method, call.name.is_empty()) {
        (&Method::GET | &Method::HEAD, true) => {
            Ok((StatusCode::OK, lists::list(store, kind, call, view)?))
        }
        (&Method::GET | &Method::HEAD, false) => {
            let object = store.object(&key);
            let object = object.ok_or_else(|| Refusal::not_found(kind, &key.name))?;
            Ok((StatusCode::OK, shown(object)))
        }
        (&Method::POST, true) => {
            if kind.namespaced && call.namespace.is_empty() {
                return Err(Refusal::not_allowed());
            }
            check_media(call)?;
            let made = write::create(store, kind, &call.namespace, document?, &writer(call))?;
            let name = text(&made, "/metadata/name").to_owned();
            deletes::bury(store, &Key { name, ..key });
            Ok((StatusCode::CREATED, shown(&made)))
        }
        (&Method::PUT, false) => {
            check_media(call)?;
            let new = document?;
            let new = match part {
                Part::Scale => scaled(store, &key, &new)?,
                Part::Main | Part::Status => new,
            };
            let object = write::update(store, &key, part, new, &writer(call))?;
            Ok((StatusCode::OK, shown(&object)))
        }
        (&Method::PATCH, false) => {
            let (object, made) = patch(store, &key, part, call, document)?;
            let code = if made {
                deletes::bury(store, &key);
                StatusCode::CREATED
            } else {
                StatusCode::OK
            };
            Ok((code, shown(&object)))
        }
        (&Method::DELETE, one) if part == Part::Main => {
            let how = deletion(call, &document?);
            if one {
                delete_all(store, kind, call, &how, view)
            } else {
                let (object, gone) = deletes::delete(store, &key, &how)?;
                let answer = if gone {
                    deleted(&key, &object)
                } else {
                    view.one(&object)
                };
                Ok((StatusCode::OK, answer))
            }
        }
        _ => Err(Refusal::not_allowed()),
    }
}

fn check_media(call: &Call) -> Result<(), Refusal> {
    match call.media.as_str() {
        "" | "application/json" | "application/yaml" => Ok(()),
        _ => Err(Refusal::unsupported_media(
            "application/json, application/yaml",
        )),
    }
}

fn writer(call: &Call) -> Writer {
    let manager = call.parameter("fieldManager");
    let agent = call.user_agent.split(['/', ' ']).next().unwrap_or_default();
    Writer {
        manager: match (manager.as_str(), agent) {
            ("", "") => "unknown".to_owned(),
            ("", agent) => agent.to_owned(),
            _ => manager,
        },
        dry_run: call.parameter("dryRun") == "All",
    }
}

/// The object whose replicas a Scale sets.
fn scaled(store: &Store, key: &Key, scale: &Value) -> Result<Value, Refusal> {
    let object = store.object(key);
    let object = object.ok_or_else(|| Refusal::not_found(key.kind, &key.name))?;
    with_scale(object, scale).map_err(Refusal::bad_request)
}

fn patch(
    store: &mut Store,
    key: &Key,
    part: Part,
    call: &Call,
    document: Result<Value, Refusal>,
) -> Result<(Arc<Value>, bool), Refusal> {
    let format = Format::of(&call.media, key.kind.custom)?;
    let patch = document?;
    let writer = writer(call);
    if format == Format::Apply {
        if call.parameter("fieldManager").is_empty() {
            let why = "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch";
            return Err(Refusal::new(422, "Invalid", why));
        }
        let wanted = match part {
            Part::Scale => {
                let replicas = patch.pointer("/spec/replicas").cloned();
                json!({ "spec": { "replicas": replicas.unwrap_or_else(|| 0.into()) } })
            }
            Part::Main | Part::Status => patch,
        };
        let force = call.flag("force");
        return write::apply_to(store, key, part, wanted, force, &writer);
    }
    let object = store.object(key);
    let object = object.ok_or_else(|| Refusal::not_found(key.kind, &key.name))?;
    let mut new = match part {
        Part::Scale => scale_of(object),
        Part::Main | Part::Status => Value::clone(object),
    };
    match format {
        Format::Json => json_patch(&mut new, patch)?,
        _ if !patch.is_object() => {
            return Err(Refusal::bad_request(
                "error decoding patch: it is no object",
            ));
        }
        Format::Strategic => strategic(&mut new, &patch),
        Format::Merge | Format::Apply => merge(&mut new, &patch),
    }
    let new = match part {
        Part::Scale => scaled(store, key, &new)?,
        Part::Main | Part::Status => new,
    };
    let object = write::update(store, key, part, new, &writer)?;
    Ok((object, false))
}

fn deletion(call: &Call, options: &Value) -> Deletion {
    let policy = match text(options, "/propagationPolicy") {
        "" => call.parameter("propagationPolicy"),
        policy => policy.to_owned(),
    };
    let grace = call.parameter("gracePeriodSeconds").parse().ok();
    Deletion {
        grace: number(options, "/gracePeriodSeconds").or(grace),
        orphan: policy == "Orphan",
        uid: text(options, "/preconditions/uid").to_owned(),
        version: text(options, "/preconditions/resourceVersion").to_owned(),
        dry_run: call.parameter("dryRun") == "All"
            || !super::object::list(options, "/dryRun").is_empty(),
    }
}

fn deleted(key: &Key, object: &Value) -> Value {
    json!({
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": {
            "name": key.name,
            "group": key.kind.group,
            "kind": key.kind.plural,
            "uid": object["metadata"]["uid"],
        },
    })
}

fn delete_all(
    store: &mut Store,
    kind: &'static Kind,
    call: &Call,
    how: &Deletion,
    view: View,
) -> Result<(StatusCode, Value), Refusal> {
    let listed = lists::list(store, kind, call, View::Whole)?;
    for object in super::object::list(&listed, "/items") {
        let key = Key {
            kind,
            namespace: text(object, "/metadata/namespace").to_owned(),
            name: text(object, "/metadata/name").to_owned(),
        };
        // One that went with another is gone, as it should be.
        let _ = deletes::delete(store, &key, how);
    }
    let items = super::object::list(&listed, "/items").iter();
    let answer = view.many(&kind.api_version(), kind.kind, &listed["metadata"], items);
    Ok((StatusCode::OK, answer))
}
