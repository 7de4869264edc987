//! What is still to be said: the newest table, and the newest first words.

use std::collections::BTreeMap;

use penstock_types::RevisionId;
use penstock_types::demand::Demand;
use penstock_types::wire::Frame;
use prost::Message as _;
use tokio_tungstenite::tungstenite::Message;

/// What is still to be said over one connection. It holds each revision twice at most.
#[derive(Debug)]
pub(super) struct Outbox {
    pod_name: String,
    /// Whether the other side knows our additions.
    additions: bool,
    /// What cannot wait for the next table, by revision.
    words: BTreeMap<RevisionId, Demand>,
    table: Option<Vec<Demand>>,
}

impl Outbox {
    pub(super) fn new(pod_name: &str, additions: bool) -> Self {
        Self {
            pod_name: pod_name.to_owned(),
            additions,
            words: BTreeMap::new(),
            table: None,
        }
    }

    /// Takes a batch: first words, or a whole table.
    pub(super) fn add(&mut self, batch: Vec<Demand>) {
        if !batch.is_empty() && batch.iter().all(|report| report.first) {
            let words = batch.into_iter().map(|word| (word.revision.clone(), word));
            self.words.extend(words);
            return;
        }
        if self.table.replace(batch).is_some() {
            tracing::debug!("the autoscaler is slow: a table gave way to a newer one");
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.words.is_empty() && self.table.is_none()
    }

    /// The next frame; first words go first.
    pub(super) fn next(&mut self) -> Option<Message> {
        if !self.words.is_empty() {
            let words: Vec<Demand> = std::mem::take(&mut self.words).into_values().collect();
            return Some(self.frame(&words));
        }
        let table = self.table.take()?;
        // Knative's hears nothing where there is nothing.
        (self.additions || !table.is_empty()).then(|| self.frame(&table))
    }

    fn frame(&self, reports: &[Demand]) -> Message {
        let frame = Frame::of(reports, &self.pod_name, self.additions);
        Message::binary(frame.encode_to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(name: &str, first: bool, waiting: u32) -> Demand {
        Demand {
            revision: RevisionId::new("default", name),
            average_concurrency: 1.0,
            average_proxied_concurrency: 0.0,
            request_count: 1.0,
            proxied_request_count: 0.0,
            waiting,
            in_flight: 0,
            first,
        }
    }

    fn next(outbox: &mut Outbox) -> Frame {
        let message = outbox.next().unwrap();
        Frame::decode(message.into_data()).unwrap()
    }

    #[test]
    fn a_slow_reader_gets_first_words_first_and_of_the_tables_the_newest() {
        let mut outbox = Outbox::new("act", true);
        for waiting in 1..=1000 {
            outbox.add(vec![report("table", false, waiting)]);
            outbox.add(vec![report("a", true, waiting)]);
            outbox.add(vec![report("b", true, waiting)]);
        }
        let words = next(&mut outbox);
        assert!(!words.whole && words.messages.len() == 2);
        let table = next(&mut outbox);
        assert!(table.whole);
        assert_eq!(table.messages[0].present.unwrap().waiting, 1000);
        assert!(outbox.is_empty());
    }

    #[test]
    fn an_empty_table_is_said_to_our_own_autoscaler_alone() {
        for additions in [true, false] {
            let mut outbox = Outbox::new("act", additions);
            outbox.add(Vec::new());
            assert_eq!(outbox.next().is_some(), additions);
        }
    }
}
