//! Objects written: one request each, with a limit of time, in our name.

use std::fmt;
use std::time::Duration;

use http::Request;
use kube::Client;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::reflect::{Complaints, Permission, Shape, chain};
use crate::scale::MANAGER;

/// Longest time that one request may take.
const LIMIT: Duration = Duration::from_secs(10);

/// Writes to the API server. Clones share the connection.
#[derive(Clone)]
pub(crate) struct Writer {
    client: Client,
    complaints: Complaints,
}

#[derive(serde::Deserialize)]
struct List<K> {
    items: Vec<K>,
}

/// Why nothing was written.
#[derive(Debug)]
pub(crate) enum Unwritten {
    /// There is no such object (404), or no such namespace.
    Absent,
    /// It is there already, or has changed meanwhile (409).
    Conflict,
    /// In words: the server's, or those of the way to it.
    Failed(String),
}

impl fmt::Display for Unwritten {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("it is not there"),
            Self::Conflict => f.write_str("it is there already, or has changed meanwhile"),
            Self::Failed(why) => f.write_str(why),
        }
    }
}

impl Writer {
    pub(crate) fn new(client: Client, complaints: Complaints) -> Self {
        Self { client, complaints }
    }

    /// Reads one object, not from a copy.
    pub(crate) async fn get<K: Shape>(&self, namespace: &str, name: &str) -> Result<K, Unwritten> {
        let request = requests::<K>(namespace).get(name, &Default::default());
        self.send::<K, K>("get", request).await
    }

    /// Reads all objects of a namespace that a label selector chooses; meant for a few.
    pub(crate) async fn list<K: Shape>(
        &self,
        namespace: &str,
        labels: &str,
    ) -> Result<Vec<K>, Unwritten> {
        let params = ListParams::default().labels(labels);
        let request = requests::<K>(namespace).list(&params);
        let list = self.send::<K, List<K>>("list", request).await?;
        Ok(list.items)
    }

    pub(crate) async fn create<K: Shape>(
        &self,
        namespace: &str,
        object: &Value,
    ) -> Result<K, Unwritten> {
        let params = PostParams {
            field_manager: Some(MANAGER.to_owned()),
            ..PostParams::default()
        };
        let request = requests::<K>(namespace).create(&params, object.to_string().into_bytes());
        self.send::<K, K>("create", request).await
    }

    /// Changes what the merge patch (RFC 7396) names.
    pub(crate) async fn patch<K: Shape>(
        &self,
        namespace: &str,
        name: &str,
        patch: &Value,
    ) -> Result<K, Unwritten> {
        let params = PatchParams {
            field_manager: Some(MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let request = requests::<K>(namespace).patch(name, &params, &Patch::Merge(patch));
        self.send::<K, K>("patch", request).await
    }

    pub(crate) async fn delete<K: Shape>(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<(), Unwritten> {
        let request = requests::<K>(namespace).delete(name, &DeleteParams::default());
        // The answer is the object, or a status: no matter.
        match self
            .send::<K, serde::de::IgnoredAny>("delete", request)
            .await
        {
            Ok(_) | Err(Unwritten::Absent) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn send<K: Shape, A: DeserializeOwned>(
        &self,
        verb: &'static str,
        request: Result<Request<Vec<u8>>, kube::core::request::Error>,
    ) -> Result<A, Unwritten> {
        let request = request.map_err(|error| Unwritten::Failed(chain(&error)))?;
        let resource = Permission::of::<K>();
        match tokio::time::timeout(LIMIT, self.client.request(request)).await {
            Ok(Ok(answer)) => {
                self.complaints.works(verb, &resource);
                Ok(answer)
            }
            Ok(Err(kube::Error::Api(status))) if status.code == 404 => Err(Unwritten::Absent),
            Ok(Err(kube::Error::Api(status))) if status.code == 409 => Err(Unwritten::Conflict),
            Ok(Err(error)) => {
                self.complaints.failed(verb, &resource, &error);
                Err(Unwritten::Failed(chain(&error)))
            }
            Err(_) => Err(Unwritten::Failed(format!(
                "no answer from the API server within {LIMIT:?}"
            ))),
        }
    }
}

fn requests<K: Shape>(namespace: &str) -> kube::core::Request {
    kube::core::Request::new(K::url_path(&(), Some(namespace)))
}
