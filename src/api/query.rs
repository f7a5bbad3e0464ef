//! Query strings, decoded once. Names such as `tag.{name}` are open, and `collected_by_ids=` differs from its absence,
//! so the query is read by hand; [`super::docs`] documents it.
//!
//! Unknown names are ignored; of a name given twice the last value counts, except that tag filters add up.

use std::borrow::Cow;
use std::fmt::Display;
use std::str::FromStr;

use percent_encoding::percent_decode_str;
use poem::Request;

use super::dialect::Dialect;
use super::error::{ApiError, Detail, DetailKind};
use crate::domain::TimeRange;
use crate::operations::{CollectedBy, TagFilter};

/// The parameters in the order given.
pub struct Query<'a> {
    pub pairs: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    pub dialect: Dialect,
}

fn wrong(kind: DetailKind, name: &str, text: impl Into<String>) -> ApiError {
    Detail::query(kind, name, text).into()
}

impl<'a> Query<'a> {
    pub fn of(request: &'a Request) -> Self {
        let dialect = Dialect::of(request);
        Self { dialect, ..Self::parse(request.uri().query().unwrap_or_default()) }
    }

    pub fn parse(raw: &'a str) -> Self {
        let pairs = raw
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .map(|(name, value)| (decode(name), decode(value)))
            .collect();
        Self { pairs, dialect: Dialect::default() }
    }

    pub fn text(&self, name: &str) -> Option<&str> {
        self.pairs.iter().rev().find(|(given, _)| given == name).map(|(_, value)| &**value)
    }

    /// A value of the domain, by its text form.
    pub fn value<T>(&self, name: &str) -> Result<Option<T>, ApiError>
    where
        T: FromStr<Err: Display>,
    {
        let parse =
            |text: &str| text.parse().map_err(|error: T::Err| wrong(DetailKind::Pattern, name, error.to_string()));
        self.text(name).map(parse).transpose()
    }

    pub fn timerange(&self) -> Result<Option<TimeRange>, ApiError> {
        self.value("timerange")
    }

    /// `True` and `False` are Python's spelling, which some clients send.
    pub fn flag(&self, name: &str) -> Result<Option<bool>, ApiError> {
        self.text(name).map(|text| parse_flag(name, text)).transpose()
    }

    pub fn word<T: Copy>(&self, name: &str, words: &[(&str, T)]) -> Result<Option<T>, ApiError> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| Some(*value));
        found.ok_or_else(|| {
            let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            wrong(DetailKind::Enum, name, format!("is one of {}", words.join(", ")))
        })
    }

    /// A whole number that an entity could have.
    pub fn number(&self, name: &str) -> Result<Option<u32>, ApiError> {
        let parse = |text: &str| text.parse().map_err(|_| wrong(DetailKind::Int, name, "is a whole number"));
        self.text(name).map(parse).transpose()
    }

    /// Items of a page: what is asked for, cut to what is allowed.
    pub fn limit(&self, default: usize, max: usize) -> Result<usize, ApiError> {
        let Some(text) = self.text("limit") else { return Ok(default) };
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits || text.bytes().all(|byte| byte == b'0') {
            return Err(wrong(DetailKind::Int, "limit", "is a whole number from 1 on"));
        }
        // A number too large to hold is too large to serve.
        Ok(text.parse().unwrap_or(max).min(max))
    }

    /// A list with commas between its members. An empty text has none.
    pub fn list(&self, name: &str) -> Result<Option<Vec<String>>, ApiError> {
        match self.text(name) {
            None => Ok(None),
            Some("") => Ok(Some(Vec::new())),
            Some(text) => members(name, text).map(Some),
        }
    }

    /// A list of ids. An empty text has none.
    pub fn ids<T>(&self, name: &str) -> Result<Option<Vec<T>>, ApiError>
    where
        T: FromStr<Err: Display>,
    {
        let Some(texts) = self.list(name)? else { return Ok(None) };
        let parse =
            |text: &String| text.parse().map_err(|error: T::Err| wrong(DetailKind::Pattern, name, error.to_string()));
        texts.iter().map(parse).collect::<Result<_, _>>().map(Some)
    }

    /// Absent: all; empty: those in no collection; ids: those in one of these collections.
    pub fn collected_by<T>(&self) -> Result<Option<CollectedBy<T>>, ApiError>
    where
        T: FromStr<Err: Display>,
    {
        Ok(self
            .ids("collected_by_ids")?
            .map(|ids| if ids.is_empty() { CollectedBy::None } else { CollectedBy::Any(ids) }))
    }

    /// `{prefix}.{name}=a,b` and `{prefix}_exists.{name}=true`. Dots after the first belong to the name.
    pub fn tags(&self, prefix: &str) -> Result<TagFilter, ApiError> {
        let mut filter = TagFilter::default();
        for (given, value) in &self.pairs {
            let Some(rest) = given.strip_prefix(prefix) else { continue };
            if let Some(name) = rest.strip_prefix('.') {
                let splits = self.dialect.splits_tag_filters();
                // One empty text: the value that is empty.
                let values =
                    if splits && !value.is_empty() { members(given, value)? } else { vec![value.clone().into_owned()] };
                let known = if splits { &mut filter.any_of } else { &mut filter.whole };
                match known.iter_mut().find(|(seen, _)| seen == name) {
                    Some((_, wanted)) => wanted.extend(values),
                    None => known.push((name.to_owned(), values)),
                }
            } else if let Some(name) = rest.strip_prefix("_exists.") {
                filter.exists.push((name.to_owned(), parse_flag(given, value)?));
            }
        }
        Ok(filter)
    }
}

/// The form's rule: `+` is a blank. Bytes that are no UTF-8 match nothing.
fn decode(text: &str) -> Cow<'_, str> {
    if !text.bytes().any(|byte| byte == b'%' || byte == b'+') {
        return Cow::Borrowed(text);
    }
    let text = text.replace('+', " ");
    Cow::Owned(percent_decode_str(&text).decode_utf8_lossy().into_owned())
}

/// Commas that were escaped twice belong to a member.
fn members(name: &str, text: &str) -> Result<Vec<String>, ApiError> {
    let members: Vec<String> = text.split(',').map(|member| member.replace("%2C", ",").replace("%2c", ",")).collect();
    if members.iter().any(String::is_empty) {
        return Err(wrong(DetailKind::Pattern, name, "has an empty member: write a,b"));
    }
    Ok(members)
}

fn parse_flag(name: &str, text: &str) -> Result<bool, ApiError> {
    match text {
        "true" | "True" => Ok(true),
        "false" | "False" => Ok(false),
        _ => Err(wrong(DetailKind::Bool, name, "is true or false")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::FlowId;

    const A: &str = "2f8c1c1e-7d6b-4a39-9d0e-0d5a3f0f6b11";
    const B: &str = "2f8c1c1e-7d6b-4a39-9d0e-0d5a3f0f6b12";

    fn refused<T>(result: Result<T, ApiError>) -> &'static str {
        result.err().unwrap().details()[0].kind.word()
    }

    #[test]
    fn values_are_decoded_once_and_raw_brackets_are_values() {
        let query = Query::parse("timerange=[1:0_2:0)&label=a%2520b+c&x&&label=b%2B%C3%A9");
        assert_eq!(query.timerange().unwrap(), Some("[1:0_2:0)".parse().unwrap()));
        assert_eq!(query.text("label"), Some("b+é"), "the last one counts");
        assert_eq!(Query::parse("label=a%2520b+c").text("label"), Some("a%20b c"));
        assert_eq!(query.text("x"), Some(""));
        assert_eq!(query.text("y"), None);
    }

    #[test]
    fn limits_are_cut_but_never_nonsense() {
        let limit = |text: &str| Query::parse(text).limit(100, 1000);
        assert_eq!(limit("").unwrap(), 100);
        assert_eq!(limit("limit=7").unwrap(), 7);
        assert_eq!(limit("limit=99999999999999999999999999").unwrap(), 1000);
        for bad in ["limit=0", "limit=00", "limit=-1", "limit=", "limit=1.5", "limit=x", "limit=%2B1"] {
            assert_eq!(refused(limit(bad)), "int_parsing", "{bad}");
        }
    }

    #[test]
    fn collected_by_ids_has_three_forms() {
        let collected = |text: &str| Query::parse(text).collected_by::<FlowId>();
        assert_eq!(collected("").unwrap(), None);
        assert_eq!(collected("collected_by_ids=").unwrap(), Some(CollectedBy::None));
        let both = CollectedBy::Any(vec![A.parse().unwrap(), B.parse().unwrap()]);
        assert_eq!(collected(&format!("collected_by_ids={A},{B}")).unwrap(), Some(both));
        for bad in [format!("collected_by_ids={A},"), "collected_by_ids=x".into()] {
            assert_eq!(refused(collected(&bad)), "string_pattern_mismatch");
        }
    }

    #[test]
    fn tag_filters_take_any_name_and_several_values() {
        let tags = |text: &str| Query::parse(text).tags("tag");
        let any = |name: &str, values: &[&str]| {
            vec![(name.to_owned(), values.iter().map(|value| (*value).to_owned()).collect::<Vec<_>>())]
        };
        assert_eq!(tags("tag.genre=sport%2Cdrama").unwrap().any_of, any("genre", &["sport", "drama"]));
        assert_eq!(tags("tag.a.b=x").unwrap().any_of, any("a.b", &["x"]));
        assert_eq!(tags("tag.my%20tag=").unwrap().any_of, any("my tag", &[""]));
        assert_eq!(tags("tag.x=a&tag.x=b").unwrap().any_of, any("x", &["a", "b"]));
        assert_eq!(tags("tag.x=a%252Cb, c").unwrap().any_of, any("x", &["a,b", " c"]));
        assert_eq!(tags("tag_exists.a.b=False").unwrap().exists, [("a.b".to_owned(), false)]);
        assert!(tags("flow_tag.x=a&tags=1").unwrap().is_empty());
        let whole = Query { dialect: Dialect::V7_0, ..Query::parse("tag.x=a%2C,b&tag.x=") }.tags("tag").unwrap();
        assert_eq!((whole.any_of, whole.whole), (vec![], any("x", &["a,,b", ""])));
        assert_eq!(refused(tags("tag.x=a,,b")), "string_pattern_mismatch");
        assert_eq!(refused(tags("tag_exists.x=perhaps")), "bool_parsing");
        assert_eq!(Query::parse("flow_tag_exists.x=true").tags("flow_tag").unwrap().exists, [("x".to_owned(), true)]);
    }
}
