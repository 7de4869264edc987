//! The number of pods: one PATCH of the subresource `scale`, and nothing else.
//!
//! A first request waits for it, so it is one request without any before it. The number is written
//! by the same JSON patch for all kinds (spec/autoscaler.md §7, "Scale", step 4).

use std::fmt;
use std::time::Duration;

use http::Request;
use http::header::CONTENT_TYPE;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Client;
use serde::Deserialize;

use crate::Key;
use crate::object::Version;

/// Longest time that one request may take.
const LIMIT: Duration = Duration::from_secs(5);
/// Under this name the server notes who set the number.
pub(crate) const MANAGER: &str = "penstock";

/// What is scaled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// Such as `apps/v1`.
    pub(crate) api_version: String,
    /// Such as `deployments`.
    pub(crate) plural: String,
    pub(crate) key: Key,
}

/// What has come of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Scaled {
    /// The version of the object with the new number.
    pub(crate) version: Version,
}

/// Why the number is not written.
#[derive(Debug)]
pub(crate) enum Unscaled {
    /// There is no such object.
    Absent,
    /// In the words of the server, or of the way to it.
    Failed(Box<kube::Error>),
    /// No answer within [`LIMIT`].
    TimedOut,
}

impl fmt::Display for Unscaled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("it is not there"),
            Self::Failed(error) => f.write_str(&crate::reflect::chain(error.as_ref())),
            Self::TimedOut => write!(f, "no answer from the API server within {LIMIT:?}"),
        }
    }
}

#[derive(Deserialize)]
struct Answer {
    metadata: ObjectMeta,
}

/// Asks for `pods` pods.
pub(crate) async fn patch(client: &Client, target: &Target, pods: u32) -> Result<Scaled, Unscaled> {
    let Target {
        api_version,
        plural,
        key: Key { namespace, name },
    } = target;
    let root = if api_version.contains('/') {
        "apis"
    } else {
        "api"
    };
    let path = format!(
        "/{root}/{api_version}/namespaces/{namespace}/{plural}/{name}/scale?fieldManager={MANAGER}"
    );
    let patch = format!(r#"[{{"op":"add","path":"/spec/replicas","value":{pods}}}]"#);
    let request = Request::patch(path)
        .header(CONTENT_TYPE, "application/json-patch+json")
        .body(patch.into_bytes());
    let request =
        request.map_err(|error| Unscaled::Failed(Box::new(kube::Error::HttpError(error))))?;
    let answer = tokio::time::timeout(LIMIT, client.request::<Answer>(request));
    match answer.await {
        Ok(Ok(answer)) => Ok(Scaled {
            version: Version::of(&answer.metadata),
        }),
        Ok(Err(kube::Error::Api(status))) if status.code == 404 => Err(Unscaled::Absent),
        Ok(Err(error)) => Err(Unscaled::Failed(Box::new(error))),
        Err(_) => Err(Unscaled::TimedOut),
    }
}
