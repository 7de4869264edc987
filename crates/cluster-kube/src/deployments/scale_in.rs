//! Fewer pods: those that are idle go first.
//!
//! A ReplicaSet deletes the pods whose deletion costs least. So just before scaling in, each pod's
//! queue-proxy is asked for its requests, and the idlest are marked as cheap: as many as have to
//! go. It is best effort, and bounded in time: a pod that does not answer is left as it is.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::{self, FuturesUnordered};
use http::Request;
use http::header::ACCEPT;
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use penstock_cluster::Revision;
use penstock_types::stat::Stat;
use prost::Message;
use serde_json::json;
use tokio::time::timeout;

use crate::Key;
use crate::object::{DELETION_COST, PodObject};
use crate::write::Writer;

/// Time in which pods have to tell their figures.
const ASKED: Duration = Duration::from_millis(300);
/// Time in which the marks have to be written.
const MARKED: Duration = Duration::from_secs(1);
/// Where a queue-proxy tells its figures (spec/autoscaler.md §4.1).
const STAT_PORT: u16 = 9090;
/// Most bytes of an answer (spec/autoscaler.md §4.6).
const ANSWER: usize = 336;
/// Marks that are written at the same time.
const AT_ONCE: usize = 16;
/// A pod without the annotation costs 0.
const CHEAP: &str = "-1";

/// Asks pods, and marks the idlest.
pub(crate) struct Marker {
    writer: Writer,
    client: Client<HttpConnector, Empty<bytes::Bytes>>,
}

impl Marker {
    pub(crate) fn new(writer: Writer) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.set_connect_timeout(Some(ASKED));
        Self {
            writer,
            client: Client::builder(TokioExecutor::new()).build(tcp),
        }
    }

    /// Marks the pods of `revision` that may go so that `pods` are left.
    pub(crate) async fn mark(&self, revision: &Revision, pods: u32) {
        let ready: Vec<(Arc<str>, SocketAddr)> = revision
            .ready()
            .map(|pod| (Arc::clone(&pod.name), pod.addr))
            .collect();
        let leaving = ready.len().saturating_sub(pods as usize);
        if leaving == 0 || pods == 0 {
            return;
        }
        let mut figures = self.figures(ready).await;
        figures.sort_by(|(_, a), (_, b)| a.total_cmp(b));
        let namespace = revision.id.namespace();
        let marks = figures
            .into_iter()
            .take(leaving)
            .map(|(name, _)| async move {
                let patch = json!({ "metadata": { "annotations": { DELETION_COST: CHEAP } } });
                // Without it another pod goes: that one drains like any other.
                if let Err(error) = self
                    .writer
                    .patch::<PodObject>(namespace, &name, &patch)
                    .await
                {
                    let pod = Key::new(namespace, name);
                    tracing::debug!(%pod, "could not be marked as cheap to delete: {error}");
                }
            });
        let marks = stream::iter(marks).buffer_unordered(AT_ONCE);
        // Late marks are for the next time.
        let _ = timeout(MARKED, marks.count()).await;
    }

    /// Requests inside of each pod that answers in time.
    async fn figures(&self, pods: Vec<(Arc<str>, SocketAddr)>) -> Vec<(Arc<str>, f64)> {
        let mut asked: FuturesUnordered<_> = pods
            .into_iter()
            .map(|(name, addr)| async move { Some((name, self.figure(addr).await?)) })
            .collect();
        let mut figures = Vec::new();
        let collected = timeout(ASKED, async {
            while let Some(answer) = asked.next().await {
                figures.extend(answer);
            }
        });
        // Who is silent is not among them.
        let _ = collected.await;
        figures
    }

    async fn figure(&self, pod: SocketAddr) -> Option<f64> {
        let url = format!("http://{}/metrics", SocketAddr::new(pod.ip(), STAT_PORT));
        let request = Request::get(url)
            .header(ACCEPT, "application/protobuf")
            .body(Empty::new())
            .ok()?;
        let answer = self.client.request(request).await.ok()?;
        if !answer.status().is_success() {
            return None;
        }
        let body = Limited::new(answer.into_body(), ANSWER);
        let body = body.collect().await.ok()?.to_bytes();
        let stat = Stat::decode(body).ok()?;
        let inside = stat.average_concurrent_requests;
        inside.is_finite().then_some(inside)
    }
}
