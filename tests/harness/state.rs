//! What `GET /state` says.

use serde_json::Value;

/// One answer of `/state`.
#[derive(Clone, Debug)]
pub(crate) struct State(pub(crate) Value);

impl State {
    /// The part about a revision, if it is there. Its name alone is enough.
    pub(crate) fn revision(&self, name: &str) -> Option<&Value> {
        let mut all = self.0["revisions"].as_array().unwrap().iter();
        all.find(|revision| revision["name"] == name)
    }

    /// A figure of a revision; 0 if there is no such revision.
    pub(crate) fn figure(&self, revision: &str, name: &str) -> u64 {
        let revision = self.revision(revision);
        revision.map_or(0, |revision| revision[name].as_u64().unwrap())
    }

    /// Pods of a revision, in whatever phase.
    pub(crate) fn pods(&self, revision: &str) -> usize {
        let revision = self.revision(revision);
        revision.map_or(0, |revision| revision["pods"].as_array().unwrap().len())
    }

    /// Pods of a revision that take requests.
    pub(crate) fn ready(&self, revision: &str) -> u64 {
        self.figure(revision, "ready")
    }

    /// The changes of a revision's scale so far: from, to, why.
    pub(crate) fn decisions(&self, revision: &str) -> Vec<(u64, u64, String)> {
        let scaling = self.revision(revision).map(|it| &it["scaling"]);
        let decisions = scaling.and_then(|scaling| scaling["decisions"].as_array());
        let number = |value: &Value| value.as_u64().unwrap();
        decisions
            .into_iter()
            .flatten()
            .map(|it| {
                let why = it["why"].as_str().unwrap().to_owned();
                (number(&it["from"]), number(&it["to"]), why)
            })
            .collect()
    }

    /// Percent of a host's traffic by revision, in the order of the manifest.
    pub(crate) fn traffic(&self, host: &str) -> Vec<(String, u64)> {
        let services = self.0["services"].as_array().unwrap();
        let mut hosts = services
            .iter()
            .flat_map(|it| it["hosts"].as_array().unwrap());
        let shares = hosts.find(|it| it["host"] == host).map(|it| &it["traffic"]);
        let shares = shares.and_then(Value::as_array).into_iter().flatten();
        let share = |it: &Value| {
            let revision = it["revision"].as_str().unwrap().to_owned();
            (revision, it["percent"].as_u64().unwrap())
        };
        shares.map(share).collect()
    }
}
