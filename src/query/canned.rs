//! The questions of `queries/`: their heads as data, and their SQL with the values of parameters in it.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::as_of;
use super::{Engine, QueryError};
use crate::domain::{Timestamp, leap_seconds};

/// A question as its file says it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Canned {
    pub name: &'static str,
    pub question: &'static str,
    /// What it is good for.
    pub why: &'static str,
    pub shape: Shape,
    pub parameters: Vec<Parameter>,
    pub columns: Vec<Column>,
    /// How a chart of it would look.
    pub chart: &'static str,
    /// The one that is better at it, if that makes a difference (docs/performance.md).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub engine: Option<Engine>,
    #[serde(skip)]
    sql: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Shape {
    /// Columns and rows.
    Table,
    /// One row, as an object; a column `a.b` is within `a`.
    Object,
    /// An object a row.
    List,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Parameter {
    pub name: &'static str,
    #[serde(rename = "type")]
    pub kind: Kind,
    pub required: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<&'static str>,
    pub description: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Uuid,
    Text,
    Integer,
    Number,
    Boolean,
    /// A moment of UTC.
    Time,
    /// Whole seconds on a Flow's timeline.
    Seconds,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Column {
    pub name: &'static str,
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub description: &'static str,
}

macro_rules! files {
    ($($name:literal),* $(,)?) => {
        const FILES: &[(&str, &str)] = &[$(($name, include_str!(concat!("../../queries/", $name, ".sql")))),*];
    };
}

files![
    "av-mismatch",
    "bit-rates",
    "bytes-by-backend",
    "bytes-by-encoding",
    "cost",
    "coverage",
    "flow-usage",
    "flows",
    "gaps",
    "growth",
    "ingest-lag",
    "lineage",
    "never-registered",
    "not-at-backend",
    "outside-profiles",
    "retention-due",
    "reuse",
    "sources",
    "stale-flows",
    "storage-usage",
    "summary",
    "suspect-objects",
    "time-range-analysis",
    "unused-objects",
    "webhook-health",
    "where-used",
];

/// All questions, by name.
pub fn all() -> &'static [Canned] {
    #[expect(clippy::expect_used, reason = "the files are part of the binary; a test reads them all")]
    static ALL: LazyLock<Vec<Canned>> = LazyLock::new(|| {
        FILES
            .iter()
            .map(|(name, text)| Canned::parse(name, text).expect("queries/ holds questions with heads"))
            .collect()
    });
    &ALL
}

pub fn find(name: &str) -> Option<&'static Canned> {
    all().iter().find(|canned| canned.name == name)
}

impl Canned {
    fn parse(name: &'static str, text: &'static str) -> Result<Self, String> {
        let mut canned = Self {
            name,
            question: "",
            why: "",
            shape: Shape::Table,
            parameters: Vec::new(),
            columns: Vec::new(),
            chart: "none",
            engine: None,
            sql: text,
        };
        let mut rest = text;
        while let Some(line) = rest.lines().next().filter(|line| line.starts_with("-- ")) {
            rest = rest.get(line.len()..).unwrap_or_default().trim_start_matches(['\r', '\n']);
            let wrong = || format!("{name}: {line:?} is no line of a head");
            let (key, value) = line.trim_start_matches("-- ").split_once(": ").ok_or_else(wrong)?;
            match key {
                "Question" => canned.question = value,
                "Why" => canned.why = value,
                "Chart" => canned.chart = value,
                "Engine" => canned.engine = Some(value.parse()?),
                "Shape" => {
                    canned.shape = match value {
                        "table" => Shape::Table,
                        "object" => Shape::Object,
                        "list" => Shape::List,
                        _ => return Err(wrong()),
                    };
                }
                "Parameter" => canned.parameters.push(Parameter::parse(value).ok_or_else(wrong)?),
                "Column" => canned.columns.push(Column::parse(value).ok_or_else(wrong)?),
                _ => return Err(wrong()),
            }
        }
        canned.sql = rest.trim_end();
        if canned.question.is_empty() || canned.columns.is_empty() || canned.sql.is_empty() {
            return Err(format!("{name} lacks its question, its columns or its SQL"));
        }
        Ok(canned)
    }

    /// The question as SQL, with these values, and the values that were used.
    ///
    /// Values come as text, as URLs and command lines have them. `now` is where a default says so.
    pub fn sql(
        &self,
        values: &BTreeMap<String, String>,
        now: DateTime<Utc>,
    ) -> Result<(String, BTreeMap<&'static str, serde_json::Value>), QueryError> {
        let unknown = values.keys().find(|name| self.parameters.iter().all(|parameter| parameter.name != **name));
        if let Some(name) = unknown {
            let known: Vec<&str> = self.parameters.iter().map(|parameter| parameter.name).collect();
            let reason = format!("{} has no such parameter; it has {}", self.name, known.join(", "));
            return Err(QueryError::Parameter { name: name.clone(), reason });
        }
        let (mut literals, mut used) = (BTreeMap::new(), BTreeMap::new());
        for parameter in &self.parameters {
            let (literal, value) = parameter.value(values.get(parameter.name).map(String::as_str), now)?;
            literals.insert(parameter.name, literal);
            used.insert(parameter.name, value);
        }
        Ok((put_in(self.sql, &literals), used))
    }
}

/// Each `$name` outside of texts and comments as its literal.
fn put_in(sql: &str, literals: &BTreeMap<&str, String>) -> String {
    let mut out = String::with_capacity(sql.len() + 256);
    let mut rest = sql;
    while let Some(at) = rest.find(['$', '\'', '-']) {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        let length = match from.as_bytes() {
            [b'$', ..] => {
                let name_length = from.bytes().skip(1).take_while(|b| b.is_ascii_alphanumeric() || *b == b'_').count();
                match from.get(1..=name_length).and_then(|name| literals.get(name)) {
                    Some(literal) => {
                        out.push_str(literal);
                        rest = from.get(name_length + 1..).unwrap_or_default();
                        continue;
                    }
                    None => 1,
                }
            }
            [b'\'', ..] => from.get(1..).and_then(|text| text.find('\'')).map_or(from.len(), |end| end + 2),
            [b'-', b'-', ..] => from.find('\n').unwrap_or(from.len()),
            _ => 1,
        };
        let (kept, after) = from.split_at(length);
        out.push_str(kept);
        rest = after;
    }
    out.push_str(rest);
    out
}

impl Parameter {
    fn parse(text: &'static str) -> Option<Self> {
        let (head, description) = text.split_once(". ")?;
        let mut words = head.splitn(3, ' ');
        let (name, kind, rest) = (words.next()?, words.next()?, words.next()?);
        let kind = match kind {
            "uuid" => Kind::Uuid,
            "text" => Kind::Text,
            "integer" => Kind::Integer,
            "number" => Kind::Number,
            "boolean" => Kind::Boolean,
            "time" => Kind::Time,
            "seconds" => Kind::Seconds,
            _ => return None,
        };
        let default = rest.strip_prefix("= ");
        if default.is_none() && rest != "required" {
            return None;
        }
        let required = default.is_none();
        Some(Self { name, kind, required, default: default.filter(|text| *text != "null"), description })
    }

    /// As a literal of SQL, and as JSON.
    fn value(&self, given: Option<&str>, now: DateTime<Utc>) -> Result<(String, serde_json::Value), QueryError> {
        let wrong = |reason: &str| QueryError::Parameter { name: self.name.into(), reason: reason.into() };
        let text = match given.or(self.default) {
            Some(text) => text,
            None if self.required => return Err(wrong(self.description)),
            None => return Ok((format!("CAST(NULL AS {})", self.kind.sql()), serde_json::Value::Null)),
        };
        Ok(match self.kind {
            Kind::Uuid => {
                let id: uuid::Uuid = text.parse().map_err(|_| wrong("is a UUID"))?;
                (quoted(&id.to_string()), id.to_string().into())
            }
            Kind::Text => (quoted(text), text.into()),
            Kind::Integer => {
                let number: i64 = text.parse().map_err(|_| wrong("is a whole number"))?;
                (int(number), number.into())
            }
            Kind::Number => {
                let number: f64 = text.parse().map_err(|_| wrong("is a number"))?;
                if !number.is_finite() {
                    return Err(wrong("is a number that is finite"));
                }
                (format!("CAST({number:?} AS DOUBLE)"), number.into())
            }
            Kind::Boolean => match text {
                "true" => ("TRUE".into(), true.into()),
                "false" => ("FALSE".into(), false.into()),
                _ => return Err(wrong("is true or false")),
            },
            Kind::Time => {
                let time = if text == "now" { now } else { as_of::time(text).map_err(|_| wrong(A_MOMENT))? };
                (format!("TIMESTAMP '{}'", time.format("%Y-%m-%d %H:%M:%S%.6f")), time.to_rfc3339().into())
            }
            Kind::Seconds => {
                let seconds = seconds(text, self.name.starts_with("end")).ok_or_else(|| wrong(ON_A_TIMELINE))?;
                (int(seconds), seconds.into())
            }
        })
    }
}

const A_MOMENT: &str = "is a moment of UTC, like 2026-01-02T03:04:05Z";
const ON_A_TIMELINE: &str = "is a time on the timeline: a TAMS timestamp like 1767322982:0, seconds, or a moment of UTC like 2026-01-02T03:04:05Z";

/// A negative literal in brackets: two minus signs would be a comment.
fn int(number: i64) -> String {
    format!("CAST({number} AS BIGINT)")
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

impl Kind {
    fn sql(self) -> &'static str {
        match self {
            Self::Uuid | Self::Text => "VARCHAR",
            Self::Integer | Self::Seconds => "BIGINT",
            Self::Number => "DOUBLE",
            Self::Boolean => "BOOLEAN",
            Self::Time => "TIMESTAMP",
        }
    }
}

/// Whole seconds for a text; what lies between two is rounded so that a window only gets larger.
fn seconds(text: &str, up: bool) -> Option<i64> {
    if let Ok(at) = text.parse::<Timestamp>() {
        let (seconds, nanoseconds) = at.to_parts();
        return Some(seconds + i64::from(up && nanoseconds > 0));
    }
    if let Ok(seconds) = text.parse::<i64>() {
        return Some(seconds);
    }
    if let Ok(number) = text.parse::<f64>() {
        let whole = if up { number.ceil() } else { number.floor() };
        // Beyond this, timelines do not reach.
        #[expect(clippy::cast_possible_truncation, reason = "the bounds are checked just before")]
        return (whole.abs() < 2f64.powi(48)).then_some(whole as i64);
    }
    let time = as_of::time(text).ok()?;
    let seconds = leap_seconds::tai_of_utc(time)?;
    Some(seconds + i64::from(up && time.timestamp_subsec_nanos() > 0))
}

impl Column {
    fn parse(text: &'static str) -> Option<Self> {
        let (head, description) = text.split_once(". ")?;
        let (name, kind) = head.split_once(' ')?;
        Some(Self { name, kind, description })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn every_file_of_the_folder_is_a_question_with_a_head() {
        let mut files: Vec<String> = std::fs::read_dir("queries")
            .unwrap()
            .filter_map(|entry| {
                entry.unwrap().file_name().into_string().unwrap().strip_suffix(".sql").map(str::to_owned)
            })
            .filter(|name| !name.starts_with("duckdb"))
            .collect();
        files.sort_unstable();
        let names: Vec<&str> = all().iter().map(|canned| canned.name).collect();
        assert_eq!(files, names);
        for canned in all() {
            assert!(canned.question.ends_with('?'), "{}", canned.name);
            for parameter in &canned.parameters {
                assert!(canned.sql.contains(&format!("${}", parameter.name)), "{} {}", canned.name, parameter.name);
            }
        }
    }

    #[test]
    fn values_stand_in_the_sql_as_literals_and_cannot_leave_them() {
        let now = as_of::time("2026-11-24T15:00:00.5Z").unwrap();
        let (sql, used) = find("where-used").unwrap().sql(&values(&[("object_id", "a'; DROP --")]), now).unwrap();
        assert!(sql.contains("'a''; DROP --'"), "{sql}");
        assert!(!sql.contains("$object_id"), "{sql}");
        assert_eq!(used["object_id"], "a'; DROP --");
        for canned in all() {
            let given = canned.parameters.iter().filter(|parameter| parameter.required);
            let given: Vec<_> = given.map(|parameter| (parameter.name, "1")).collect();
            let Ok((sql, used)) = canned.sql(&values(&given), now) else { continue };
            for name in used.keys() {
                assert!(!sql.contains(&format!("${name}")), "{} {name}: {sql}", canned.name);
            }
        }
    }

    #[test]
    fn a_value_that_does_not_fit_is_refused_with_its_name() {
        let now = as_of::time("2026-11-24").unwrap();
        for (name, value) in [
            ("flow_id", "x"),
            ("tolerance_seconds", "NaN"),
            ("limit", "1.5"),
            ("start_time", "tomorrow"),
            ("nonsense", "1"),
        ] {
            let error = find("gaps").unwrap().sql(&values(&[(name, value)]), now).unwrap_err();
            assert!(matches!(&error, QueryError::Parameter { name: wrong, .. } if wrong == name), "{error}");
        }
    }

    #[test]
    fn a_window_is_rounded_outwards() {
        assert_eq!((seconds("10:5", false), seconds("10:5", true)), (Some(10), Some(11)));
        assert_eq!((seconds("-0:5", false), seconds("-0:5", true)), (Some(-1), Some(0)));
        assert_eq!((seconds("1.5", false), seconds("1.5", true)), (Some(1), Some(2)));
        assert_eq!(seconds("2017-01-01T00:00:00Z", false), Some(1_483_228_837));
        assert_eq!(seconds("1e300", false), None);
    }
}
