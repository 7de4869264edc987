//! A request to the API, taken apart as authorisation sees it.

use http::request::Parts;
use http::{HeaderMap, Method, header};
use serde_json::Value;
use tokio::time::Instant;

/// One request that the server was sent.
#[derive(Clone, Debug)]
pub struct Call {
    /// As RBAC names it: `get`, `list`, `watch`, `create`, `update`, `patch`, `delete` or
    /// `deletecollection`.
    pub verb: &'static str,
    /// The method of the request.
    pub method: Method,
    /// The path, without the query.
    pub path: String,
    /// The query, as it was sent.
    pub query: String,
    /// The API group; empty for the core, and for a path that is no resource's.
    pub group: String,
    /// The version of the group.
    pub version: String,
    /// The plural of the kind; empty for a path that is no resource's.
    pub resource: String,
    /// `scale` or `status`, or empty.
    pub subresource: String,
    /// Empty for all namespaces, and outside them.
    pub namespace: String,
    /// Empty for a list.
    pub name: String,
    /// The header `user-agent`.
    pub user_agent: String,
    /// The bearer token; empty if there is none.
    pub token: String,
    /// The media type of the body, without parameters.
    pub media: String,
    /// The body, if it is JSON or YAML, else null.
    pub body: Value,
    /// When all of it had come.
    pub at: Instant,
}

impl Call {
    /// Takes a request apart.
    pub(super) fn of(parts: &Parts, body: Value) -> Self {
        let path = parts.uri.path();
        let query = parts.uri.query().unwrap_or_default();
        let mut call = Self {
            verb: "get",
            method: parts.method.clone(),
            path: path.to_owned(),
            query: query.to_owned(),
            group: String::new(),
            version: String::new(),
            resource: String::new(),
            subresource: String::new(),
            namespace: String::new(),
            name: String::new(),
            user_agent: text(&parts.headers, header::USER_AGENT),
            token: bearer(&parts.headers),
            media: media(&parts.headers),
            body,
            at: Instant::now(),
        };
        call.find_resource();
        call.verb = call.find_verb();
        call
    }

    fn find_resource(&mut self) {
        let segments: Vec<String> = self
            .path
            .split('/')
            .filter(|segment| !segment.is_empty())
            .map(decoded)
            .collect();
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let rest = match segments.as_slice() {
            ["api", version, rest @ ..] => {
                self.version = (*version).to_owned();
                rest
            }
            ["apis", group, version, rest @ ..] => {
                self.group = (*group).to_owned();
                self.version = (*version).to_owned();
                rest
            }
            _ => return,
        };
        let rest = match rest {
            // A namespace itself is within nothing here.
            ["namespaces", namespace, resource, rest @ ..]
                if !matches!(*resource, "status" | "finalize") =>
            {
                self.namespace = (*namespace).to_owned();
                self.resource = (*resource).to_owned();
                rest
            }
            [resource, rest @ ..] => {
                self.resource = (*resource).to_owned();
                rest
            }
            [] => return,
        };
        if let [name, rest @ ..] = rest {
            self.name = (*name).to_owned();
            self.subresource = rest.join("/");
        }
    }

    fn find_verb(&self) -> &'static str {
        let one = !self.name.is_empty();
        match self.method.as_str() {
            "POST" => "create",
            "PUT" => "update",
            "PATCH" => "patch",
            "DELETE" if one || self.resource.is_empty() => "delete",
            "DELETE" => "deletecollection",
            _ if one || self.resource.is_empty() => "get",
            _ if self.flag("watch") => "watch",
            _ => "list",
        }
    }

    /// A parameter of the query, decoded; empty if it is not there.
    pub fn parameter(&self, name: &str) -> String {
        self.query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .find(|(key, _)| *key == name)
            .map(|(_, value)| decoded(&value.replace('+', " ")))
            .unwrap_or_default()
    }

    /// Whether a parameter is set and true.
    pub(super) fn flag(&self, name: &str) -> bool {
        matches!(self.parameter(name).as_str(), "true" | "1" | "True" | "t")
    }

    /// `deployments/scale`, as RBAC names it.
    pub fn resource_path(&self) -> String {
        match self.subresource.as_str() {
            "" => self.resource.clone(),
            sub => format!("{}/{sub}", self.resource),
        }
    }
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> String {
    let value = headers.get(name).and_then(|value| value.to_str().ok());
    value.unwrap_or_default().to_owned()
}

fn bearer(headers: &HeaderMap) -> String {
    let value = text(headers, header::AUTHORIZATION);
    value.strip_prefix("Bearer ").unwrap_or_default().to_owned()
}

fn media(headers: &HeaderMap) -> String {
    let whole = text(headers, header::CONTENT_TYPE);
    let media = whole.split(';').next().unwrap_or_default();
    media.trim().to_ascii_lowercase()
}

/// Without its percent signs; what is not an escape stays.
fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut plain = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escape = text.get(at + 1..at + 3).filter(|_| bytes[at] == b'%');
        match escape.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                plain.push(byte);
                at += 3;
            }
            None => {
                plain.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&plain).into_owned()
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn call(method: &str, uri: &str) -> Call {
        let request = Request::builder().method(method).uri(uri).body(()).unwrap();
        Call::of(&request.into_parts().0, Value::Null)
    }

    #[test]
    fn paths_are_taken_apart_as_authorisation_sees_them() {
        let table = [
            // method, uri, verb, group, resource, namespace, name
            (
                "GET",
                "/api/v1/namespaces",
                "list",
                "",
                "namespaces",
                "",
                "",
            ),
            (
                "GET",
                "/api/v1/namespaces/a",
                "get",
                "",
                "namespaces",
                "",
                "a",
            ),
            (
                "PUT",
                "/api/v1/namespaces/a/status",
                "update",
                "",
                "namespaces/status",
                "",
                "a",
            ),
            (
                "GET",
                "/api/v1/namespaces/a/pods",
                "list",
                "",
                "pods",
                "a",
                "",
            ),
            (
                "GET",
                "/api/v1/pods?watch=true",
                "watch",
                "",
                "pods",
                "",
                "",
            ),
            (
                "DELETE",
                "/api/v1/namespaces/a/pods",
                "deletecollection",
                "",
                "pods",
                "a",
                "",
            ),
            (
                "PATCH",
                "/apis/apps/v1/namespaces/a/deployments/b/scale",
                "patch",
                "apps",
                "deployments/scale",
                "a",
                "b",
            ),
            (
                "POST",
                "/apis/coordination.k8s.io/v1/namespaces/a/leases",
                "create",
                "coordination.k8s.io",
                "leases",
                "a",
                "",
            ),
            ("GET", "/apis/apps/v1", "get", "apps", "", "", ""),
            ("GET", "/healthz", "get", "", "", "", ""),
        ];
        for (method, uri, verb, group, resource, namespace, name) in table {
            let call = call(method, uri);
            let got = (
                call.verb,
                &*call.group,
                &*call.resource_path(),
                &*call.namespace,
                &*call.name,
            );
            assert_eq!(
                got,
                (verb, group, resource, namespace, name),
                "{method} {uri}"
            );
        }
    }

    #[test]
    fn parameters_are_decoded() {
        let call = call(
            "GET",
            "/api/v1/pods?labelSelector=a%3Db%2Cc+in+%28d%29&limit=5&x=%zz",
        );
        assert_eq!(call.parameter("labelSelector"), "a=b,c in (d)");
        assert_eq!(call.parameter("limit"), "5");
        assert_eq!(call.parameter("x"), "%zz");
        assert_eq!(call.parameter("absent"), "");
    }
}
