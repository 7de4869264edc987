//! What may change while the program runs, and is taken over then.

use std::sync::Arc;

use penstock_runtime::log::LiveFilter;
use penstock_runtime::request_log::RequestLog;
use tokio::sync::watch;

use super::{Material, Secured};
use crate::config::ConfigMaps;

/// The sources, and who is told.
#[derive(Debug)]
pub(super) struct Watched {
    pub(super) config: watch::Receiver<Arc<ConfigMaps>>,
    pub(super) level: Option<LiveFilter>,
    pub(super) log: Arc<RequestLog>,
    pub(super) secured: Option<(Secured, watch::Receiver<Arc<Material>>)>,
}

impl Watched {
    /// Takes over what changes, for as long as it is polled.
    pub(super) async fn follow(mut self) {
        loop {
            tokio::select! {
                Ok(()) = self.config.changed() => self.take_config(),
                () = renewed(&mut self.secured) => {}
            }
        }
    }

    /// The template of lines about requests from here on; a bad one is told, and the old one stays.
    pub(super) fn take_template(&self, template: &str) {
        if let Err(error) = self.log.replace(template) {
            tracing::error!(%error, "the lines about requests stay as they were");
        }
    }

    fn take_config(&mut self) {
        let maps = Arc::clone(&self.config.borrow_and_update());
        if let Some(level) = &self.level
            && let Ok(filter) = maps.logging().level.parse()
        {
            level.set(filter);
        }
        match maps.request_log_template() {
            Ok(template) => self.take_template(template),
            Err(bad) => tracing::error!(%bad, "the lines about requests stay as they were"),
        }
    }
}

/// Waits for new certificates, and shows them.
async fn renewed(secured: &mut Option<(Secured, watch::Receiver<Arc<Material>>)>) {
    if let Some((secured, material)) = secured
        && material.changed().await.is_ok()
    {
        secured.replace(&material.borrow_and_update());
    } else {
        std::future::pending().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{self, Write};
    use std::sync::mpsc::{Sender, channel};

    use http::{HeaderMap, Method, Uri, Version};
    use penstock_runtime::request_log::{Entry, Lines, Request, Response, Revision};
    use tokio::task::yield_now;

    struct Told(Sender<String>);

    impl Write for Told {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            let _ = self.0.send(String::from_utf8_lossy(line).into_owned());
            Ok(line.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn maps(observability: &[(&str, &str)]) -> Arc<ConfigMaps> {
        let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        Arc::new(ConfigMaps {
            observability: observability.iter().map(owned).collect(),
            ..ConfigMaps::default()
        })
    }

    fn write_line(log: &RequestLog) {
        let request = Request {
            method: Method::GET,
            uri: Uri::from_static("/"),
            version: Version::HTTP_11,
            headers: HeaderMap::new(),
            host: None,
            content_length: None,
            remote: ([127, 0, 0, 1], 1).into(),
            tls: None,
        };
        log.write(&Entry {
            request: &request,
            response: Response {
                code: 200,
                size: 0,
                latency: std::time::Duration::ZERO,
            },
            revision: Revision::default(),
        });
    }

    #[tokio::test]
    async fn case_116_a_bad_change_of_a_config_map_changes_nothing_and_a_good_one_does() {
        const ON: (&str, &str) = ("logging.enable-request-log", "true");
        let template = |text| ("logging.request-log-template", text);
        let (told, lines) = channel();
        let log = Arc::new(RequestLog::new(Lines::to(Told(told)).unwrap()));
        let (give, config) = watch::channel(maps(&[]));
        let mut watched = Watched {
            config,
            level: None,
            log: Arc::clone(&log),
            secured: None,
        };
        let old = template("old {{.Request.Method}}");
        let bad = [
            [("logging.enable-request-log", "perhaps"), template("new")],
            [ON, template("{{.Request.Method")],
        ];
        for changed in [[ON, old], bad[0], bad[1]] {
            give.send_replace(maps(&changed));
            watched.take_config();
            write_line(&log);
            assert_eq!(lines.recv().unwrap(), "old GET\n", "{changed:?}");
        }

        let following = tokio::spawn(watched.follow());
        give.send_replace(maps(&[]));
        while log.is_on() {
            yield_now().await;
        }
        give.send_replace(maps(&[ON, template("new")]));
        while !log.is_on() {
            yield_now().await;
        }
        write_line(&log);
        assert_eq!(lines.recv().unwrap(), "new\n");
        following.abort();
    }
}
