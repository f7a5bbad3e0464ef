//! Turns serde's error into what, where and which kind. serde tells the kind only in its text, so this reads it.

use serde_path_to_error::{Path, Segment};

use super::error::{Detail, DetailKind, Place};

/// `loc` is where the parsed text stands in the request.
pub fn explain(error: &serde_json::Error, path: &Path, mut loc: Vec<Place>) -> Detail {
    if !error.is_data() {
        return Detail::new(DetailKind::Json, loc, format!("is not JSON: {error}"));
    }
    for segment in path.iter() {
        match segment {
            Segment::Seq { index } => loc.push(Place::Index(*index)),
            Segment::Map { key } => loc.push(Place::Name(key.clone().into())),
            Segment::Enum { variant } => loc.push(Place::Name(variant.clone().into())),
            Segment::Unknown => {}
        }
    }
    let text = error.to_string();
    // What follows is the place in the text, which `loc` says better.
    let text = text.rsplit_once(" at line ").map_or(text.as_str(), |(text, _)| text);
    if let Some(key) = quoted(text, "missing field `") {
        loc.push(Place::Name(key.to_owned().into()));
        return Detail::new(DetailKind::Missing, loc, "required");
    }
    if let Some(key) = quoted(text, "unknown field `") {
        if loc.last() != Some(&Place::Name(key.to_owned().into())) {
            loc.push(Place::Name(key.to_owned().into()));
        }
        return Detail::new(DetailKind::Extra, loc, text);
    }
    Detail::new(kind(text), loc, text)
}

fn quoted<'a>(text: &'a str, before: &str) -> Option<&'a str> {
    text.strip_prefix(before)?.split('`').next()
}

fn kind(text: &str) -> DetailKind {
    if text.starts_with("unknown variant") {
        return DetailKind::Enum;
    }
    if text.starts_with("a tag value is") {
        return DetailKind::Text;
    }
    let Some((_, expected)) =
        text.strip_prefix("invalid ").and_then(|text| text.split_once("expected ")).filter(|_| is_mismatch(text))
    else {
        return DetailKind::Pattern;
    };
    let has = |words: &[&str]| words.iter().any(|word| expected.contains(word));
    match () {
        () if has(&["boolean"]) => DetailKind::Bool,
        () if has(&["as text", "string"]) => DetailKind::Text,
        () if has(&["u32", "u64", "i32", "i64", "nonzero", "integer"]) => DetailKind::Int,
        () if expected.starts_with("enum") || has(&["variant"]) => DetailKind::Enum,
        () if has(&["sequence", "array"]) => DetailKind::List,
        () => DetailKind::Object,
    }
}

fn is_mismatch(text: &str) -> bool {
    ["invalid type: ", "invalid value: ", "invalid length "].iter().any(|start| text.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kind_is_read_from_what_serde_expected() {
        for (text, word) in [
            ("invalid type: string \"x\", expected u32", "int_parsing"),
            ("invalid value: integer `0`, expected a nonzero u32", "int_parsing"),
            ("invalid type: floating point `1.5`, expected u64", "int_parsing"),
            ("invalid type: null, expected a boolean", "bool_parsing"),
            ("invalid type: integer `5`, expected a string", "string_type"),
            ("invalid type: integer `5`, expected a timerange as text, for example \"[0:0_10:0)\"", "string_type"),
            ("invalid type: map, expected a sequence", "list_type"),
            ("invalid type: sequence, expected struct FlowPut", "model_type"),
            ("unknown variant `x`, expected one of `a`, `b`", "enum"),
            ("\"x\" is not a UUID", "string_pattern_mismatch"),
        ] {
            assert_eq!(kind(text).word(), word, "{text}");
        }
    }
}
