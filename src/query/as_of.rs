//! `AS OF`: a query may end with the place in the log or the moment whose state it asks.

use chrono::{DateTime, NaiveDateTime, Utc};

use super::QueryError;
use crate::catalog::AsOf;

/// A query without its `AS OF LSN 17` or `AS OF TIMESTAMP '2026-01-02T03:04:05Z'`, and what that said.
pub fn split(sql: &str) -> Result<(&str, Option<AsOf>), QueryError> {
    let text = sql.trim_end().trim_end_matches(';').trim_end();
    let (rest, value) = match text.strip_suffix('\'') {
        Some(quoted) => match quoted.rsplit_once('\'') {
            Some(parts) => parts,
            None => return Ok((sql, None)),
        },
        None => text.rsplit_once(char::is_whitespace).unwrap_or(("", text)),
    };
    let mut words = rest.trim_end().rsplitn(4, char::is_whitespace);
    let kind = words.next().unwrap_or_default();
    // Between the words may be more than one space.
    let rest = rest.trim_end();
    let before = rest.get(..rest.len() - kind.len()).unwrap_or_default();
    let Some(before) = strip_word(before, "OF").and_then(|before| strip_word(before, "AS")) else {
        return Ok((sql, None));
    };
    if kind.eq_ignore_ascii_case("LSN") {
        Ok((before, Some(AsOf::Lsn(lsn(value)?))))
    } else if kind.eq_ignore_ascii_case("TIMESTAMP") {
        Ok((before, Some(AsOf::Time(time(value)?))))
    } else {
        Ok((sql, None))
    }
}

/// The same from a text of its own: an LSN, or a moment.
pub fn parse(text: &str) -> Result<AsOf, QueryError> {
    let text = text.trim();
    if text.bytes().all(|byte| byte.is_ascii_digit()) { Ok(AsOf::Lsn(lsn(text)?)) } else { Ok(AsOf::Time(time(text)?)) }
}

fn strip_word<'a>(text: &'a str, word: &str) -> Option<&'a str> {
    let text = text.trim_end();
    let at = text.len().checked_sub(word.len())?;
    let (before, last) = (text.get(..at)?, text.get(at..)?);
    (last.eq_ignore_ascii_case(word) && before.ends_with(char::is_whitespace)).then_some(before)
}

fn wrong(reason: &str) -> QueryError {
    QueryError::Parameter { name: "AS OF".into(), reason: reason.into() }
}

fn lsn(text: &str) -> Result<u64, QueryError> {
    text.parse().map_err(|_| wrong("an LSN is a number, like 17"))
}

/// UTC where no offset is said.
pub fn time(text: &str) -> Result<DateTime<Utc>, QueryError> {
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Ok(time.to_utc());
    }
    let forms = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M"];
    let naive = forms.iter().find_map(|form| NaiveDateTime::parse_from_str(text, form).ok());
    let naive = naive.or_else(|| {
        chrono::NaiveDate::parse_from_str(text, "%Y-%m-%d").ok().and_then(|date| date.and_hms_opt(0, 0, 0))
    });
    naive.map(|naive| naive.and_utc()).ok_or_else(|| wrong("a moment is written like 2026-01-02T03:04:05Z"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clause_at_the_end_is_taken_off() {
        for (sql, rest, of) in [
            ("SELECT 1 AS OF LSN 17", "SELECT 1 ", AsOf::Lsn(17)),
            ("SELECT 1 as  of\nlsn  17 ;\n", "SELECT 1 ", AsOf::Lsn(17)),
            (
                "SELECT 'x' AS OF TIMESTAMP '2026-01-02T03:04:05Z'",
                "SELECT 'x' ",
                AsOf::Time(time("2026-01-02T03:04:05+00:00").unwrap()),
            ),
            (
                "SELECT 1 AS OF TIMESTAMP '2026-01-02 03:04';",
                "SELECT 1 ",
                AsOf::Time(time("2026-01-02T03:04:00Z").unwrap()),
            ),
        ] {
            assert_eq!(split(sql).unwrap(), (rest, Some(of)), "{sql}");
        }
    }

    #[test]
    fn what_only_looks_like_a_clause_stays() {
        for sql in [
            "",
            "17",
            "'",
            "SELECT 'AS OF LSN 17'",
            "SELECT 1 AS of",
            "SELECT TIMESTAMP '2026-01-02'",
            "SELECT 1 AS OF 17",
            "SELECT xAS OF LSN 17",
            "AS OF LSN 17",
        ] {
            assert_eq!(split(sql).unwrap(), (sql, None), "{sql}");
        }
    }

    #[test]
    fn a_clause_that_means_nothing_is_refused() {
        for sql in ["SELECT 1 AS OF LSN x", "SELECT 1 AS OF TIMESTAMP 'yesterday'", "SELECT 1 AS OF LSN -1"] {
            assert!(matches!(split(sql), Err(QueryError::Parameter { .. })), "{sql}");
        }
        assert!(parse("99999999999999999999").is_err());
        assert_eq!(parse("17").unwrap(), AsOf::Lsn(17));
    }
}
