//! Tag filters, the same for every list: OR within a name's values, AND across names.

use crate::domain::Tags;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TagFilter {
    /// `tag.{name}=a,b`: the tag has one of these texts, or an element that is one of them.
    pub any_of: Vec<(String, Vec<String>)>,
    /// As `any_of`, but the tag's texts all together, with commas between them, are one of these.
    pub whole: Vec<(String, Vec<String>)>,
    /// `tag_exists.{name}=true|false`.
    pub exists: Vec<(String, bool)>,
}

impl TagFilter {
    pub fn is_empty(&self) -> bool {
        self.any_of.is_empty() && self.whole.is_empty() && self.exists.is_empty()
    }

    pub fn matches(&self, tags: &Tags) -> bool {
        self.any_of.iter().all(|(name, wanted)| tags.get(name).is_some_and(|value| value.matches_any(wanted)))
            && self.whole.iter().all(|(name, wanted)| {
                tags.get(name).is_some_and(|value| wanted.iter().any(|text| *text == value.joined()))
            })
            && self.exists.iter().all(|(name, wanted)| tags.contains_key(name) == *wanted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::TagValue;

    #[test]
    fn values_are_alternatives_and_names_are_conditions() {
        let one = |text: &str| TagValue::One(text.into());
        let tags: Tags = [
            ("genre".into(), TagValue::Many(vec!["sport".into(), "news".into()])),
            ("lang".into(), one("en")),
            ("empty".into(), one("")),
        ]
        .into();
        let any = |pairs: &[(&str, &[&str])]| TagFilter {
            any_of: pairs.iter().map(|(n, v)| ((*n).into(), v.iter().map(|t| (*t).into()).collect())).collect(),
            ..TagFilter::default()
        };
        assert!(any(&[("genre", &["news", "drama"])]).matches(&tags));
        assert!(any(&[("genre", &["sport"]), ("lang", &["en"])]).matches(&tags));
        assert!(!any(&[("genre", &["sport"]), ("lang", &["cy"])]).matches(&tags));
        assert!(!any(&[("genre", &["new"])]).matches(&tags), "a part of a text is not the text");
        let exists = |name: &str, wanted| TagFilter { exists: vec![(name.into(), wanted)], ..TagFilter::default() };
        let whole = |name: &str, text: &str| TagFilter {
            whole: vec![(name.into(), vec![text.into()])],
            ..TagFilter::default()
        };
        assert!(whole("genre", "sport,news").matches(&tags) && whole("lang", "en").matches(&tags));
        assert!(!whole("genre", "sport").matches(&tags) && !whole("absent", "").matches(&tags));
        assert!(exists("empty", true).matches(&tags));
        assert!(!exists("empty", false).matches(&tags));
        assert!(exists("absent", false).matches(&tags));
    }
}
