//! What a caller may do: the rules of ClusterRoles and Roles, as they are deployed.
//!
//! Approximated: whose the rules are is for the test to say, by token; bindings are not read,
//! and neither are aggregated roles. A ClusterRole is taken to be bound in the whole cluster,
//! a Role in its own namespace.

use serde_json::{Value, json};

use super::call::Call;
use super::object::{list, text};

/// The rules of somebody.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    rules: Vec<Rule>,
}

/// One verb on one resource that a rule grants.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Grant {
    /// Empty for the core, `*` for all.
    pub group: String,
    /// With its subresource, `*` for all.
    pub resource: String,
    /// `*` for all.
    pub verb: String,
    /// Empty for the whole cluster.
    pub namespace: String,
}

#[derive(Clone, Debug)]
struct Rule {
    /// Empty for the whole cluster.
    namespace: String,
    groups: Vec<String>,
    resources: Vec<String>,
    names: Vec<String>,
    verbs: Vec<String>,
    urls: Vec<String>,
}

impl Rules {
    /// Reads the rules of all ClusterRoles and Roles in a stream of YAML documents; other
    /// objects are passed over.
    ///
    /// # Panics
    ///
    /// If it is not YAML.
    pub fn parse(yaml: &str) -> Self {
        let documents = serde_saphyr::from_multiple::<Value>(yaml);
        let documents = documents.expect("YAML documents");
        Self::of(documents.iter())
    }

    /// The rules of these objects.
    pub fn of<'a>(roles: impl Iterator<Item = &'a Value>) -> Self {
        let mut rules = Vec::new();
        for role in roles {
            let namespace = match text(role, "/kind") {
                "ClusterRole" => "",
                "Role" => match text(role, "/metadata/namespace") {
                    "" => "default",
                    namespace => namespace,
                },
                _ => continue,
            };
            rules.extend(
                list(role, "/rules")
                    .iter()
                    .map(|rule| Rule::of(rule, namespace)),
            );
        }
        Self { rules }
    }

    /// Each rule as an object of a role, with the namespace that it is for; empty for all.
    pub(super) fn as_objects(&self) -> impl Iterator<Item = (&str, Value)> {
        self.rules.iter().map(|rule| {
            let mut object = json!({ "verbs": rule.verbs });
            if rule.urls.is_empty() {
                object["apiGroups"] = json!(rule.groups);
                object["resources"] = json!(rule.resources);
                object["resourceNames"] = json!(rule.names);
            } else {
                object["nonResourceURLs"] = json!(rule.urls);
            }
            (rule.namespace.as_str(), object)
        })
    }

    /// Whether the call is allowed. Everybody may read what says how the API looks, and review
    /// their own rights.
    pub fn allow(&self, call: &Call) -> bool {
        if call.resource.is_empty() {
            let open = [
                "/api", "/apis", "/version", "/healthz", "/livez", "/readyz", "/openapi",
            ];
            let is_open = open.iter().any(|path| {
                let rest = call.path.strip_prefix(path);
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            });
            return is_open || self.rules.iter().any(|rule| rule.allows_url(call));
        }
        call.group == super::discovery::AUTHORIZATION
            || self.allows(
                call.verb,
                &call.group,
                &call.resource_path(),
                &call.namespace,
                &call.name,
            )
    }

    /// Whether a verb is allowed; `resource` with its subresource, `namespace` empty for all of
    /// them, `name` empty for all objects.
    pub fn allows(
        &self,
        verb: &str,
        group: &str,
        resource: &str,
        namespace: &str,
        name: &str,
    ) -> bool {
        self.rules
            .iter()
            .any(|rule| rule.allows(verb, group, resource, namespace, name))
    }

    /// What is granted and was used by none of the calls.
    pub fn unused(&self, calls: &[Call]) -> Vec<Grant> {
        let mut unused = Vec::new();
        for rule in &self.rules {
            for (group, resource, verb) in rule.each() {
                let one = Rule {
                    groups: vec![group.clone()],
                    resources: vec![resource.clone()],
                    verbs: vec![verb.clone()],
                    urls: Vec::new(),
                    ..rule.clone()
                };
                let used = |call: &Call| {
                    !call.resource.is_empty()
                        && one.allows(
                            call.verb,
                            &call.group,
                            &call.resource_path(),
                            &call.namespace,
                            &call.name,
                        )
                };
                if !calls.iter().any(used) {
                    unused.push(Grant {
                        group,
                        resource,
                        verb,
                        namespace: rule.namespace.clone(),
                    });
                }
            }
        }
        unused.sort();
        unused.dedup();
        unused
    }

    /// As a SelfSubjectRulesReview tells them, for a namespace.
    pub(super) fn told(&self, namespace: &str) -> Value {
        let holds = |rule: &&Rule| rule.namespace.is_empty() || rule.namespace == namespace;
        let resources = self
            .rules
            .iter()
            .filter(holds)
            .filter(|rule| rule.urls.is_empty());
        let urls = self
            .rules
            .iter()
            .filter(holds)
            .filter(|rule| !rule.urls.is_empty());
        json!({
            "resourceRules": resources.map(|rule| json!({
                "verbs": rule.verbs,
                "apiGroups": rule.groups,
                "resources": rule.resources,
                "resourceNames": rule.names,
            })).collect::<Value>(),
            "nonResourceRules": urls.map(|rule| json!({
                "verbs": rule.verbs,
                "nonResourceURLs": rule.urls,
            })).collect::<Value>(),
            "incomplete": false,
        })
    }
}

impl Rule {
    fn of(rule: &Value, namespace: &str) -> Self {
        let texts = |field: &str| {
            let items = list(rule, &format!("/{field}")).iter();
            items.filter_map(Value::as_str).map(str::to_owned).collect()
        };
        Self {
            namespace: namespace.to_owned(),
            groups: texts("apiGroups"),
            resources: texts("resources"),
            names: texts("resourceNames"),
            verbs: texts("verbs"),
            urls: texts("nonResourceURLs"),
        }
    }

    fn allows(&self, verb: &str, group: &str, resource: &str, namespace: &str, name: &str) -> bool {
        let named = |wanted: &[String], is: &str| wanted.iter().any(|it| it == "*" || it == is);
        let of_all = resource
            .split_once('/')
            .is_some_and(|(_, sub)| self.resources.contains(&format!("*/{sub}")));
        (self.namespace.is_empty() || self.namespace == namespace)
            && named(&self.verbs, verb)
            && named(&self.groups, group)
            && (named(&self.resources, resource) || of_all)
            && (self.names.is_empty() || self.names.iter().any(|it| it == name))
    }

    fn allows_url(&self, call: &Call) -> bool {
        let fits = |url: &String| match url.strip_suffix('*') {
            Some(prefix) => call.path.starts_with(prefix),
            None => call.path == *url,
        };
        self.verbs
            .iter()
            .any(|verb| verb == "*" || verb == call.verb)
            && self.urls.iter().any(fits)
    }

    fn each(&self) -> Vec<(String, String, String)> {
        let mut all = Vec::new();
        for group in &self.groups {
            for resource in &self.resources {
                for verb in &self.verbs {
                    all.push((group.clone(), resource.clone(), verb.clone()));
                }
            }
        }
        all
    }
}
