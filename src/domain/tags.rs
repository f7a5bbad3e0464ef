//! Tags: names with one text or a list of texts. `"x"` and `["x"]` are different values and stay so.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "a tag value is a string or a list of strings")]
pub enum TagValue {
    One(String),
    Many(Vec<String>),
}

impl TagValue {
    /// The texts that a `tag.{name}` filter compares with.
    pub fn texts(&self) -> &[String] {
        match self {
            Self::One(text) => std::slice::from_ref(text),
            Self::Many(texts) => texts,
        }
    }

    /// All texts as one, with commas between them.
    pub fn joined(&self) -> Cow<'_, str> {
        match self {
            Self::One(text) => Cow::Borrowed(text),
            Self::Many(texts) => Cow::Owned(texts.join(",")),
        }
    }

    /// Bytes of its texts.
    pub fn bytes(&self) -> usize {
        self.texts().iter().map(String::len).sum()
    }

    pub fn matches_any(&self, wanted: &[String]) -> bool {
        self.texts().iter().any(|text| wanted.contains(text))
    }
}

pub type Tags = BTreeMap<String, TagValue>;

/// Bytes of all names and texts.
pub fn bytes(tags: &Tags) -> usize {
    tags.iter().map(|(name, value)| name.len() + value.bytes()).sum()
}
