//! The proxies that are compared: each proxies once, to the same workload.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::{Outcome, Running, free_port, own, program, text_from, until_open};

/// A proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    Nginx,
    Haproxy,
    QueueProxy,
    /// Knative's queue-proxy, which `KNATIVE_QUEUE_BIN` names.
    Knative,
}

impl Peer {
    /// Those that are here: ours and whichever others are installed, nginx first.
    pub(crate) fn present() -> Outcome<Vec<Self>> {
        let mut found = vec![Self::Nginx];
        if Command::new("haproxy").arg("-v").output().is_ok() {
            found.push(Self::Haproxy);
        }
        if !text_from("KNATIVE_QUEUE_BIN").is_empty() {
            found.push(Self::Knative);
        }
        found.push(Self::QueueProxy);
        Ok(found)
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
            Self::QueueProxy => "queue-proxy",
            Self::Knative => "knative",
        }
    }

    /// What lets it end its requests before it ends.
    pub(crate) fn stop_signal(self) -> &'static str {
        match self {
            Self::Nginx => "QUIT",
            Self::Haproxy => "USR1",
            Self::Knative | Self::QueueProxy => "TERM",
        }
    }

    /// The program's file; `None` for one that is looked up on the `PATH`.
    pub(crate) fn program(self) -> Outcome<PathBuf> {
        Ok(match self {
            Self::Nginx => "nginx".into(),
            Self::Haproxy => "haproxy".into(),
            Self::QueueProxy => program("queue-proxy", "penstock-queue-proxy")?,
            Self::Knative => text_from("KNATIVE_QUEUE_BIN").into(),
        })
    }
}

/// How a proxy is started.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setup<'a> {
    /// For configurations; its content is replaced.
    pub(crate) folder: &'a Path,
    /// Where the workload listens.
    pub(crate) behind: u16,
    /// Most requests inside the workload at once; 0 for no limit. nginx has none.
    pub(crate) limit: u32,
    /// HTTP/2 without TLS on both sides (nginx: only towards its callers).
    pub(crate) h2: bool,
    pub(crate) workers: usize,
    /// Milliseconds that ours goes on serving after the last request once it is told to stop.
    pub(crate) lame_duck: u32,
}

/// A proxy that runs, and where it listens.
pub(crate) struct Started {
    pub(crate) process: Running,
    pub(crate) port: u16,
}

impl Setup<'_> {
    /// Starts `peer`; it listens when this returns.
    pub(crate) fn start(&self, peer: Peer) -> Outcome<Started> {
        let (port, process) = self.exec(peer)?;
        until_open(port)?;
        Ok(Started { process, port })
    }

    /// Starts `peer` and returns at once.
    pub(crate) fn exec(&self, peer: Peer) -> Outcome<(u16, Running)> {
        let port = free_port()?;
        let mut command = Command::new(peer.program()?);
        match peer {
            Peer::Nginx => {
                let file = self.write("nginx.conf", &self.nginx(port))?;
                command.arg("-e").arg(self.folder.join("error.log"));
                command.arg("-c").arg(file);
            }
            Peer::Haproxy => {
                let file = self.write("haproxy.cfg", &self.haproxy(port))?;
                command.args(["-db", "-f"]).arg(file);
            }
            Peer::QueueProxy => {
                command.env_clear().envs(self.contract(port));
                command.env("PENSTOCK_WORKERS", self.workers.to_string());
                command.env("PENSTOCK_DRAIN_QUIET_MS", self.lame_duck.to_string());
            }
            Peer::Knative => {
                command.env_clear().envs(self.contract(port));
            }
        }
        Ok((port, Running::start(&mut command)?))
    }

    fn write(&self, name: &str, text: &str) -> Outcome<PathBuf> {
        let file = self.folder.join(name);
        fs::write(&file, text).map_err(|error| format!("{}: {error}", file.display()))?;
        Ok(file)
    }

    /// The environment that Knative's controller gives a queue-proxy.
    fn contract(&self, port: u16) -> Vec<(&'static str, String)> {
        let behind = self.behind;
        let probe = format!(r#"{{"tcpSocket":{{"port":{behind},"host":"127.0.0.1"}}}}"#);
        let mut all = vec![
            ("CONTAINER_CONCURRENCY", self.limit.to_string()),
            ("QUEUE_SERVING_PORT", port.to_string()),
            ("USER_PORT", behind.to_string()),
            ("SERVING_READINESS_PROBE", probe),
        ];
        let fixed = [
            ("QUEUE_SERVING_TLS_PORT", "8112"),
            ("REVISION_TIMEOUT_SECONDS", "300"),
            ("SERVING_LOGGING_CONFIG", ""),
            ("SERVING_LOGGING_LEVEL", "error"),
            ("SERVING_NAMESPACE", "bench"),
            ("SERVING_CONFIGURATION", "bench"),
            ("SERVING_REVISION", "bench-00001"),
            ("SERVING_POD", "bench-00001-deployment-0"),
            ("SERVING_POD_IP", "127.0.0.1"),
            (
                "OBSERVABILITY_CONFIG",
                r#"{"requestMetrics":{"protocol":"prometheus"}}"#,
            ),
        ];
        all.extend(fixed.map(|(name, value)| (name, value.to_owned())));
        all
    }

    fn nginx(&self, port: u16) -> String {
        let folder = self.folder.display();
        let Self {
            behind, workers, ..
        } = self;
        let http2 = if self.h2 { "http2" } else { "" };
        format!(
            "worker_processes {workers}; daemon off; worker_rlimit_nofile 16384;
             pid {folder}/nginx.pid; error_log {folder}/error.log crit;
             events {{ worker_connections 8192; }}
             http {{ access_log off; keepalive_requests 1000000000; keepalive_timeout 300s;
               client_max_body_size 0;
               client_body_temp_path {folder}/b; proxy_temp_path {folder}/p;
               fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
               upstream back {{ server 127.0.0.1:{behind}; keepalive 1000;
                 keepalive_requests 1000000000; }}
               server {{ listen 127.0.0.1:{port} {http2} backlog=4096;
                 location / {{ proxy_pass http://back; proxy_http_version 1.1;
                   proxy_set_header Connection \"\"; proxy_set_header Host $http_host;
                   proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
                   proxy_request_buffering off; proxy_max_temp_file_size 0; }} }} }}"
        )
    }

    fn haproxy(&self, port: u16) -> String {
        let Self {
            behind,
            limit,
            workers,
            ..
        } = self;
        let proto = if self.h2 { "proto h2" } else { "" };
        format!(
            "global
  nbthread {workers}
  maxconn 8000
defaults
  mode http
  timeout connect 5s
  timeout client 300s
  timeout server 300s
  timeout queue 300s
  timeout http-keep-alive 300s
  http-reuse always
  option forwardfor
frontend in
  bind 127.0.0.1:{port} {proto} backlog 4096
  default_backend app
backend app
  server app 127.0.0.1:{behind} {proto} maxconn {limit} pool-max-conn 1000
"
        )
    }
}

/// Starts the workload.
pub(crate) fn backend(h2: bool) -> Outcome<(u16, Running)> {
    let port = free_port()?;
    Ok((port, backend_at(port, h2)?))
}

/// Starts the workload on that port.
pub(crate) fn backend_at(port: u16, h2: bool) -> Outcome<Running> {
    let mut command = Command::new(own()?);
    command.arg("backend").env("PORT", port.to_string());
    command.env("PROTOCOL", if h2 { "h2c" } else { "" });
    let backend = Running::start(&mut command)?;
    until_open(port)?;
    Ok(backend)
}
