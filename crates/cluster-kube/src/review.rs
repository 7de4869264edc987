//! What this process may do, by the word of the API server.

use std::time::Duration;

use http::Request;
use http::header::CONTENT_TYPE;
use kube::Client;
use serde::Deserialize;
use serde_json::json;

/// Longest time that the question may take.
const LIMIT: Duration = Duration::from_secs(5);
/// Times that it is asked, if there is no answer.
const TIMES: u32 = 5;

#[derive(Deserialize)]
struct Review {
    status: Status,
}

#[derive(Deserialize)]
struct Status {
    #[serde(default)]
    allowed: bool,
}

/// Whether objects of this group and plural may be listed and watched, in one namespace or in all.
/// Without any answer: no.
pub(crate) async fn may_watch(
    client: &Client,
    (group, plural): (&str, &str),
    namespace: Option<&str>,
) -> bool {
    for verb in ["list", "watch"] {
        if !may(client, verb, (group, plural), namespace).await {
            return false;
        }
    }
    true
}

async fn may(
    client: &Client,
    verb: &str,
    (group, plural): (&str, &str),
    namespace: Option<&str>,
) -> bool {
    let question = json!({
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": { "resourceAttributes": {
            "verb": verb,
            "group": group,
            "resource": plural,
            "namespace": namespace.unwrap_or_default(),
        } },
    });
    for attempt in 1..=TIMES {
        let request = Request::post("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews")
            .header(CONTENT_TYPE, "application/json")
            .body(question.to_string().into_bytes());
        let Ok(request) = request else {
            return false;
        };
        let answer = tokio::time::timeout(LIMIT, client.request::<Review>(request)).await;
        match answer {
            Ok(Ok(review)) => return review.status.allowed,
            // Whoever may not even ask may not do it either.
            Ok(Err(kube::Error::Api(status))) if status.code < 429 => return false,
            Ok(Err(_)) | Err(_) => {}
        }
        tokio::time::sleep(Duration::from_millis(100) * 2_u32.pow(attempt)).await;
    }
    false
}
