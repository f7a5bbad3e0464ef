//! Phrases in the questions of tools that DataFusion cannot plan, and what stands for them. They ask for what no table here
//! has: indexes, keys, sequences, options.

/// What is replaced as it stands.
const PHRASES: [(&str, &str); 11] = [
    // psql, \d+.
    (
        "pg_catalog.array_to_string(c.reloptions || array(select 'toast.' || x from pg_catalog.unnest(tc.reloptions) x), ', ')",
        "'' AS array_to_string",
    ),
    // ADBC: functions have names here, not numbers.
    ("typreceive != 0 OR typsend != 0", "typreceive <> '-' OR typsend <> '-'"),
    // SQLAlchemy: no pattern of its has a slash.
    (" ESCAPE '/'", ""),
    // SQLAlchemy 1.
    ("unnest(ix.indkey) attnum", "CAST(NULL AS SMALLINT) attnum"),
    ("generate_subscripts(ix.indkey, 1) ord", "1 ord"),
    ("a.attnum = ANY(ix.indkey)", "false"),
    ("ix.indisprimary = 'f'", "ix.indisprimary = false"),
    ("i.reloptions, am.amname", "NULL AS reloptions, am.amname"),
    // SQLAlchemy 2.
    ("unnest(pg_catalog.pg_index.indkey)", "CAST(NULL AS SMALLINT)"),
    ("unnest(pg_catalog.pg_index.indclass)", "CAST(NULL AS BIGINT)"),
    ("pg_catalog.pg_class.reloptions, pg_catalog.pg_class.relam", "NULL AS reloptions, pg_catalog.pg_class.relam"),
];

/// What is replaced from one phrase to another.
const SPANS: [(&str, &str, &str); 4] = [
    // SQLAlchemy 2.
    ("CASE WHEN pg_catalog.pg_attribute.atthasdef THEN", "AS \"default\"", "NULL AS \"default\""),
    ("CASE WHEN (pg_catalog.pg_attribute.attidentity !=", "AS identity_options", "NULL AS identity_options"),
    ("CASE WHEN (pg_catalog.pg_attribute.attcollation !=", "AS collation", "NULL AS collation"),
    ("generate_subscripts(pg_catalog.pg_index.indkey", ")", "1"),
];

/// For questions about PostgreSQL's own tables.
pub fn other(sql: &str) -> String {
    let sql = PHRASES.iter().fold(sql.to_owned(), |sql, (phrase, instead)| sql.replace(phrase, instead));
    SPANS.iter().fold(sql, |sql, (begin, end, instead)| {
        let Some((before, rest)) = sql.split_once(begin) else { return sql };
        match rest.split_once(end) {
            Some((_, after)) => format!("{before}{instead}{after}"),
            None => sql,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_phrases_are_replaced() {
        assert_eq!(
            other("SELECT generate_subscripts(pg_catalog.pg_index.indkey, 1) AS ord, unnest(ix.indkey) attnum"),
            "SELECT 1 AS ord, CAST(NULL AS SMALLINT) attnum"
        );
        for sql in ["", "SELECT 'pg_'", "SELECT CASE WHEN pg_catalog.pg_attribute.atthasdef THEN 1 END"] {
            assert_eq!(other(sql), sql);
        }
    }
}
