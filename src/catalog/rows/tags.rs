//! Tags as two columns: a map from name to texts, and the names whose value was a list.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::{TagValue, Tags};

pub fn columns(tags: &Tags) -> (BTreeMap<String, Vec<String>>, Vec<String>) {
    let map = tags.iter().map(|(name, value)| (name.clone(), value.texts().to_vec())).collect();
    let lists =
        tags.iter().filter(|(_, value)| matches!(value, TagValue::Many(_))).map(|(name, _)| name.clone()).collect();
    (map, lists)
}

pub fn from_columns(map: BTreeMap<String, Vec<String>>, lists: Vec<String>) -> Tags {
    let lists: BTreeSet<String> = lists.into_iter().collect();
    map.into_iter()
        .map(|(name, mut texts)| {
            let value = match texts.pop() {
                Some(text) if texts.is_empty() && !lists.contains(&name) => TagValue::One(text),
                Some(text) => {
                    texts.push(text);
                    TagValue::Many(texts)
                }
                None => TagValue::Many(texts),
            };
            (name, value)
        })
        .collect()
}
