//! Hosts, and who answers them.

use penstock_types::RevisionId;

use super::Deployed;

/// A host, and how its requests are split.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostRoute {
    /// `NAME.NAMESPACE.DOMAIN` or `TAG-NAME.NAMESPACE.DOMAIN`, in lower case.
    pub host: String,
    /// Namespace of the route.
    pub namespace: String,
    /// Name of the route, which for a Service is the Service's.
    pub route: String,
    /// Tag whose host this is; `None` for the main host.
    pub tag: Option<String>,
    /// Who gets how many of a hundred requests. No revision is named twice, nor with 0, and all
    /// add up to 100.
    pub targets: Vec<(RevisionId, u8)>,
}

impl Deployed {
    /// All hosts below `domain`: of each route the main one, then its tags as written.
    pub fn hosts(&self, domain: &str) -> Vec<HostRoute> {
        let mut hosts = Vec::new();
        for (key, route) in &self.routes {
            let name = &key.name;
            let host = |label: &str, tag: Option<&String>, targets| HostRoute {
                host: format!("{label}.{}.{domain}", key.namespace).to_lowercase(),
                namespace: key.namespace.clone(),
                route: name.clone(),
                tag: tag.cloned(),
                targets,
            };
            let mut main: Vec<(RevisionId, u8)> = Vec::new();
            let mut tagged = Vec::new();
            for target in &route.traffic {
                let Some(id) = self.resolve(&key.namespace, &target.upon) else {
                    continue;
                };
                if let Some(tag) = &target.tag {
                    let label = format!("{tag}-{name}");
                    tagged.push(host(&label, Some(tag), vec![(id.clone(), 100)]));
                }
                match main.iter_mut().find(|(known, _)| *known == id) {
                    Some((_, share)) => *share += target.percent,
                    None => main.push((id, target.percent)),
                }
            }
            main.retain(|(_, share)| *share > 0);
            hosts.push(host(name, None, main));
            hosts.append(&mut tagged);
        }
        hosts
    }
}
