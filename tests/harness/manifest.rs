//! Manifests of Services, written short.

use std::fmt::Write as _;

use super::{Folder, program_file};

/// A Service. Its fields are flow YAML, put in where they belong.
#[derive(Clone, Debug)]
pub(crate) struct Service {
    name: String,
    annotations: Vec<(&'static str, String)>,
    spec: Vec<String>,
    container: Vec<String>,
    traffic: Option<String>,
}

impl Service {
    fn new(name: &str, container: String) -> Self {
        Self {
            name: name.to_owned(),
            annotations: Vec::new(),
            spec: Vec::new(),
            container: vec![container],
            traffic: None,
        }
    }

    /// One that runs the built-in `hello`.
    pub(crate) fn hello(name: &str) -> Self {
        Self::new(name, "image: ghcr.io/knative/helloworld-go".to_owned())
    }

    /// One that runs the built-in `autoscale`.
    pub(crate) fn autoscale(name: &str) -> Self {
        Self::new(name, "image: ghcr.io/knative/autoscale-go".to_owned())
    }

    /// One that runs `words`.
    pub(crate) fn command(name: &str, words: &[&str]) -> Self {
        let words: Vec<String> = words.iter().map(|word| format!("{word:?}")).collect();
        Self::new(name, format!("command: [{}]", words.join(", ")))
    }

    /// One that runs a line of shell. Its `$$` is a `$` of the shell.
    pub(crate) fn shell(name: &str, line: &str) -> Self {
        Self::command(name, &["sh", "-c", line])
    }

    /// One that runs `programs/server.js`.
    pub(crate) fn node(name: &str) -> Self {
        Self::command(name, &["node", &program_file("server.js")])
    }

    /// One that runs `programs/fragile.py` in `folder`.
    pub(crate) fn fragile(name: &str, folder: &Folder) -> Self {
        Self::command(name, &["python3", &program_file("fragile.py")]).within(folder)
    }

    /// Has its program started in `folder`.
    pub(crate) fn within(self, folder: &Folder) -> Self {
        self.container(&format!("workingDir: {}", folder.path().display()))
    }

    /// An annotation of the template, without its prefix.
    pub(crate) fn annotated(mut self, name: &'static str, value: impl ToString) -> Self {
        self.annotations.push((name, value.to_string()));
        self
    }

    /// A field beside `containers`.
    pub(crate) fn spec(mut self, field: &str) -> Self {
        self.spec.push(field.to_owned());
        self
    }

    /// A field of the container.
    pub(crate) fn container(mut self, field: &str) -> Self {
        self.container.push(field.to_owned());
        self
    }

    /// A variable of the container. Only one.
    pub(crate) fn env(self, name: &str, value: &str) -> Self {
        self.container(&format!("env: [{{name: {name}, value: {value:?}}}]"))
    }

    /// The `traffic` block.
    pub(crate) fn traffic(mut self, targets: &str) -> Self {
        self.traffic = Some(targets.to_owned());
        self
    }

    /// The host that it answers to.
    pub(crate) fn host(&self) -> String {
        format!("{}.default.example.com", self.name)
    }

    /// As a document.
    pub(crate) fn yaml(&self) -> String {
        let mut text = format!(
            "apiVersion: serving.knative.dev/v1
kind: Service
metadata: {{name: {}}}
spec:
  template:
",
            self.name
        );
        if !self.annotations.is_empty() {
            text.push_str("    metadata:\n      annotations:\n");
        }
        for (name, value) in &self.annotations {
            let _ = writeln!(text, "        autoscaling.knative.dev/{name}: {value:?}");
        }
        text.push_str("    spec:\n");
        for field in &self.spec {
            let _ = writeln!(text, "      {field}");
        }
        text.push_str("      containers:\n");
        for (index, field) in self.container.iter().enumerate() {
            let mark = if index == 0 { '-' } else { ' ' };
            let _ = writeln!(text, "        {mark} {field}");
        }
        if let Some(targets) = &self.traffic {
            let _ = writeln!(text, "  traffic: {targets}");
        }
        text
    }
}
