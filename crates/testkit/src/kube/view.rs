//! How objects are shown: whole, as metadata alone, or as a table, as `accept` asks.

use http::{HeaderMap, header};
use serde_json::{Value, json};

use super::object::text;

/// A way to show objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum View {
    Whole,
    Metadata,
    Table,
}

impl View {
    /// The first that the header `accept` offers and this server knows; `None` if there is
    /// none, as for Protocol Buffers alone.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let Some(accept) = headers.get(header::ACCEPT).and_then(|it| it.to_str().ok()) else {
            return Some(Self::Whole);
        };
        accept.split(',').find_map(|offer| {
            let mut parts = offer.split(';').map(str::trim);
            let media = parts.next()?;
            let shape = parts.find_map(|part| part.strip_prefix("as="));
            match (media, shape) {
                ("application/json" | "application/*" | "*/*" | "", None) => Some(Self::Whole),
                (
                    "application/json",
                    Some("PartialObjectMetadata" | "PartialObjectMetadataList"),
                ) => Some(Self::Metadata),
                ("application/json", Some("Table")) => Some(Self::Table),
                _ => None,
            }
        })
    }

    /// One object.
    pub(super) fn one(self, object: &Value) -> Value {
        match self {
            Self::Whole => object.clone(),
            Self::Metadata => partial(object),
            Self::Table => table(
                [object],
                object["metadata"]["resourceVersion"].clone(),
                None,
            ),
        }
    }

    /// A list of objects of one kind; `metadata` is the list's.
    pub(super) fn many<'a>(
        self,
        api_version: &str,
        kind: &str,
        metadata: &Value,
        objects: impl Iterator<Item = &'a Value>,
    ) -> Value {
        match self {
            Self::Whole => json!({
                "kind": format!("{kind}List"),
                "apiVersion": api_version,
                "metadata": metadata,
                "items": objects.cloned().collect::<Value>(),
            }),
            Self::Metadata => json!({
                "kind": "PartialObjectMetadataList",
                "apiVersion": "meta.k8s.io/v1",
                "metadata": metadata,
                "items": objects.map(partial).collect::<Value>(),
            }),
            Self::Table => {
                let version = metadata["resourceVersion"].clone();
                table(objects, version, metadata.get("continue").cloned())
            }
        }
    }
}

fn partial(object: &Value) -> Value {
    json!({
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": object["metadata"],
    })
}

/// Two columns of the many that kinds have.
fn table<'a>(
    objects: impl IntoIterator<Item = &'a Value>,
    version: Value,
    more: Option<Value>,
) -> Value {
    let row = |object: &Value| {
        json!({
            "cells": [text(object, "/metadata/name"), text(object, "/metadata/creationTimestamp")],
            "object": partial(object),
        })
    };
    let mut table = json!({
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": { "resourceVersion": version },
        "columnDefinitions": [
            { "name": "Name", "type": "string", "format": "name", "description": "", "priority": 0 },
            { "name": "Age", "type": "string", "format": "", "description": "", "priority": 0 },
        ],
        "rows": objects.into_iter().map(row).collect::<Value>(),
    });
    if let Some(more) = more {
        table["metadata"]["continue"] = more;
    }
    table
}
