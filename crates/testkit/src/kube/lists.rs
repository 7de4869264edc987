//! Lists: chosen by selectors, in pages that all show one moment.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::call::Call;
use super::kinds::Kind;
use super::refusal::Refusal;
use super::select::Selector;
use super::store::{Key, Store};
use super::view::View;

/// Answers a list.
pub(super) fn list(
    store: &Store,
    kind: &'static Kind,
    call: &Call,
    view: View,
) -> Result<Value, Refusal> {
    let selector = Selector::parse(
        &call.parameter("labelSelector"),
        &call.parameter("fieldSelector"),
    )?;
    let page = Page::of(store, call)?;
    let all: BTreeMap<Key, Arc<Value>>;
    let mut chosen: Box<dyn Iterator<Item = (&Key, &Arc<Value>)>>;
    let mut since = store.since(page.version);
    if !since.any(|change| change.concerns(kind, &call.namespace)) {
        chosen = Box::new(store.objects(kind, &call.namespace));
    } else {
        all = store.objects_at(kind, &call.namespace, page.version);
        chosen = Box::new(all.iter());
    }
    if let Some(after) = &page.after {
        chosen = Box::new(
            chosen.filter(move |(key, _)| (&key.namespace, &key.name) > (&after.0, &after.1)),
        );
    }
    chosen = Box::new(chosen.filter(|(_, object)| selector.matches(object)));
    let mut metadata = json!({ "resourceVersion": page.version.to_string() });
    let mut objects: Vec<(&Key, &Arc<Value>)> = chosen.collect();
    if page.limit > 0 && objects.len() > page.limit {
        let left = objects.len() - page.limit;
        objects.truncate(page.limit);
        if let Some((last, _)) = objects.last() {
            metadata["continue"] = page.token(last).into();
        }
        if selector.means_all() {
            metadata["remainingItemCount"] = left.into();
        }
    }
    let objects = objects.into_iter().map(|(_, object)| &**object);
    Ok(view.many(&kind.api_version(), kind.kind, &metadata, objects))
}

/// Which part of which moment is asked for.
struct Page {
    version: u64,
    /// Objects to show at most; 0 for all.
    limit: usize,
    /// The namespace and name after which it begins.
    after: Option<(String, String)>,
}

impl Page {
    fn of(store: &Store, call: &Call) -> Result<Self, Refusal> {
        let limit = match call.parameter("limit").as_str() {
            "" => 0,
            limit => limit.parse().map_err(|_| {
                Refusal::bad_request(format!(
                    "strconv.ParseInt: parsing {limit:?}: invalid syntax"
                ))
            })?,
        };
        let token = call.parameter("continue");
        let asked = version_of(call)?;
        if !token.is_empty() {
            let (version, after) = read_token(&token)
                .ok_or_else(|| Refusal::bad_request("continue key is not valid"))?;
            if version < store.oldest() {
                let why = "The provided continue parameter is too old to display a consistent list result. You must start a new list without the continue parameter.";
                return Err(Refusal::expired(why));
            }
            return Ok(Self {
                version,
                limit,
                after: Some(after),
            });
        }
        if asked.is_some_and(|asked| asked > store.version()) {
            return Err(Refusal::too_large(
                asked.unwrap_or_default(),
                store.version(),
            ));
        }
        let exact = call.parameter("resourceVersionMatch") == "Exact";
        let version = match asked {
            Some(asked) if exact && asked < store.oldest() => {
                return Err(Refusal::too_old(asked, store.oldest()));
            }
            Some(asked) if exact => asked,
            _ => store.version(),
        };
        Ok(Self {
            version,
            limit,
            after: None,
        })
    }

    fn token(&self, last: &Key) -> String {
        format!("{}:{}/{}", self.version, last.namespace, last.name)
    }
}

fn read_token(token: &str) -> Option<(u64, (String, String))> {
    let (version, after) = token.split_once(':')?;
    let (namespace, name) = after.split_once('/')?;
    let after = (namespace.to_owned(), name.to_owned());
    Some((version.parse().ok()?, after))
}

/// The version that a list or a watch begins with; `None` for the newest.
pub(super) fn version_of(call: &Call) -> Result<Option<u64>, Refusal> {
    let version = call.parameter("resourceVersion");
    if version.is_empty() {
        return Ok(None);
    }
    let parsed = version.parse().map(Some);
    parsed
        .map_err(|_| Refusal::bad_request(format!("Invalid value: {version:?}: must be a number")))
}
