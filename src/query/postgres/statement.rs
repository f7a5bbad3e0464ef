//! What a client wants, told by the first words: a query goes to [`Sql`](crate::query::Sql) as it was sent, small talk of
//! drivers is answered here, and all else is refused.

/// What kinds of statements there are here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Statement {
    Query(String),
    Talk(Talk),
    /// With the words that say what it is.
    Refused(Refused),
}

/// Answered without a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Talk {
    Set {
        name: String,
        value: String,
    },
    Reset(String),
    Show(String),
    Begin,
    Commit,
    Rollback,
    /// Forgets a prepared statement, or all.
    Deallocate(Option<String>),
    /// Nothing to do: only the answer.
    Done(&'static str),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// It would change something.
    Write(String),
    /// Nothing wrong, but not here.
    Unsupported(String),
    /// A setting that is not the client's.
    Setting(String),
}

/// Statements between semicolons, without empty ones.
pub fn split(text: &str) -> Vec<&str> {
    let mut statements = Vec::new();
    let (mut from, mut at) = (0, 0);
    while at < text.len() {
        let rest = text.get(at..).unwrap_or_default();
        if rest.starts_with(';') {
            statements.push(text.get(from..at).unwrap_or_default());
            from = at + 1;
        }
        at += token(rest);
    }
    statements.push(text.get(from..).unwrap_or_default());
    statements.into_iter().map(str::trim).filter(|statement| !without_comments(statement).is_empty()).collect()
}

/// The bytes of what comes first: a text, a quoted name, a comment, or one character.
fn token(text: &str) -> usize {
    let first = text.chars().next().map_or(1, char::len_utf8);
    let until = |from: usize, end: &str| {
        let rest = text.get(from..).unwrap_or_default();
        rest.find(end).map_or(text.len(), |at| from + at + end.len())
    };
    match text.as_bytes() {
        // Two quotes for one are two texts, one after the other.
        [b'\'', ..] => until(1, "'"),
        [b'E' | b'e', b'\'', ..] => escaped(text),
        [b'"', ..] => until(1, "\""),
        [b'-', b'-', ..] => until(2, "\n"),
        [b'/', b'*', ..] => comment(text),
        [b'$', ..] => match text.get(1..).and_then(|rest| rest.split_once('$')) {
            Some((tag, _)) if tag.chars().all(|c| c.is_alphabetic() || c == '_') => {
                let tag = text.get(..tag.len() + 2).unwrap_or_default();
                until(tag.len(), tag)
            }
            _ => first,
        },
        // A name is one token, so that its last letter does not begin a text.
        [b'a'..=b'z' | b'A'..=b'Z' | b'_', ..] => {
            text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len())
        }
        _ => first,
    }
}

fn escaped(text: &str) -> usize {
    let mut escapes = false;
    for (at, c) in text.char_indices().skip(2) {
        match c {
            _ if escapes => escapes = false,
            '\\' => escapes = true,
            '\'' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// Comments may hold comments.
fn comment(text: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    loop {
        let rest = text.get(at..).unwrap_or_default();
        if rest.starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            match rest.chars().next() {
                Some(c) => at += c.len_utf8(),
                None => return text.len(),
            }
        }
    }
}

fn without_comments(text: &str) -> &str {
    let mut text = text.trim_start();
    while text.starts_with("--") || text.starts_with("/*") {
        text = text.get(token(text)..).unwrap_or_default().trim_start();
    }
    text
}

fn words(text: &str) -> impl Iterator<Item = String> {
    text.split(|c: char| c.is_whitespace() || c == '=' || c == ';')
        .filter(|word| !word.is_empty())
        .map(|word| word.to_ascii_uppercase())
}

/// Of one statement.
pub fn read(text: &str) -> Statement {
    let bare = without_comments(text);
    // Whoever asks in parentheses asks.
    let first: String = bare.chars().take_while(|c| c.is_alphabetic()).collect::<String>().to_ascii_uppercase();
    let mut rest = words(bare.get(first.len()..).unwrap_or_default());
    let mut next = || rest.next().unwrap_or_default();
    let talk = |talk| Statement::Talk(talk);
    match first.as_str() {
        "SHOW" => match next().as_str() {
            "TABLES" | "COLUMNS" | "FUNCTIONS" => Statement::Query(text.to_owned()),
            _ => talk(Talk::Show(name_of(bare.get(4..).unwrap_or_default()))),
        },
        "SET" => set(bare.get(3..).unwrap_or_default()),
        "RESET" => talk(Talk::Reset(name_of(bare.get(5..).unwrap_or_default()))),
        "BEGIN" | "START" => talk(Talk::Begin),
        "COMMIT" | "END" => talk(Talk::Commit),
        "ROLLBACK" | "ABORT" => {
            let to = next() == "TO" || next() == "TO";
            talk(if to { Talk::Done("ROLLBACK") } else { Talk::Rollback })
        }
        "SAVEPOINT" => talk(Talk::Done("SAVEPOINT")),
        "RELEASE" => talk(Talk::Done("RELEASE")),
        "DISCARD" => talk(Talk::Done("DISCARD ALL")),
        "UNLISTEN" => talk(Talk::Done("UNLISTEN")),
        "CLOSE" => talk(Talk::Done("CLOSE CURSOR")),
        "DEALLOCATE" => {
            let name = bare.get(10..).unwrap_or_default().trim();
            let name = name.strip_prefix("PREPARE ").unwrap_or(name).trim().trim_matches('"');
            talk(Talk::Deallocate((!name.eq_ignore_ascii_case("all")).then(|| name.to_owned())))
        }
        "INSERT" | "UPDATE" | "DELETE" | "MERGE" | "COPY" | "CREATE" | "DROP" | "ALTER" | "TRUNCATE" | "GRANT"
        | "REVOKE" | "COMMENT" | "VACUUM" | "ANALYZE" | "REINDEX" | "CLUSTER" | "REFRESH" | "LOCK" | "CALL" | "DO"
        | "IMPORT" | "SECURITY" | "REASSIGN" | "CHECKPOINT" | "LOAD" | "NOTIFY" => {
            Statement::Refused(Refused::Write(first))
        }
        "PREPARE" | "EXECUTE" | "DECLARE" | "FETCH" | "MOVE" | "LISTEN" => {
            Statement::Refused(Refused::Unsupported(first))
        }
        // What is no query either is refused by whoever plans it.
        _ => Statement::Query(text.to_owned()),
    }
}

fn set(rest: &str) -> Statement {
    let first = words(rest).next().unwrap_or_default();
    let rest = rest.trim_start();
    let without_scope = match first.as_str() {
        "SESSION" | "LOCAL" => rest.get(first.len()..).unwrap_or_default().trim_start(),
        _ => rest,
    };
    let upper: Vec<String> = words(without_scope).take(3).collect();
    let upper: Vec<&str> = upper.iter().map(String::as_str).collect();
    match upper.as_slice() {
        ["TRANSACTION" | "CHARACTERISTICS" | "ROLE" | "AUTHORIZATION" | "CONSTRAINTS", ..] => {
            Statement::Talk(Talk::Done("SET"))
        }
        ["TIME", "ZONE", ..] => {
            let value = words_after(without_scope, 2);
            Statement::Talk(Talk::Set { name: "timezone".into(), value: unquoted(value) })
        }
        ["NAMES", ..] => {
            let value = words_after(without_scope, 1);
            Statement::Talk(Talk::Set { name: "client_encoding".into(), value: unquoted(value) })
        }
        [_, ..] => {
            let end = without_scope.find(|c: char| c.is_whitespace() || c == '=').unwrap_or(without_scope.len());
            let (name, value) = without_scope.split_at(end);
            let value = value.trim_start();
            let value = value.strip_prefix('=').unwrap_or_else(|| match value.get(..2) {
                Some(to) if to.eq_ignore_ascii_case("to") => value.get(2..).unwrap_or_default(),
                _ => value,
            });
            let name = name.trim_matches('"').to_ascii_lowercase();
            if name.contains('.') {
                return Statement::Refused(Refused::Setting(name));
            }
            Statement::Talk(Talk::Set { name, value: unquoted(value) })
        }
        [] => Statement::Refused(Refused::Unsupported("SET".into())),
    }
}

fn words_after(text: &str, count: usize) -> &str {
    (0..count).fold(text.trim_start(), |text, _| {
        text.split_once(char::is_whitespace).map_or("", |(_, rest)| rest.trim_start())
    })
}

fn unquoted(value: &str) -> String {
    let value = value.trim().trim_end_matches(';').trim();
    match value.strip_prefix('\'').and_then(|value| value.strip_suffix('\'')) {
        Some(inner) => inner.replace("''", "'"),
        None => value.trim_matches('"').to_owned(),
    }
}

/// One name for the several ways to say it.
fn name_of(rest: &str) -> String {
    let name = words(rest).collect::<Vec<_>>().join(" ").to_ascii_lowercase();
    match name.as_str() {
        "time zone" => "timezone".into(),
        "transaction isolation level" => "transaction_isolation".into(),
        _ => name.trim_matches('"').to_owned(),
    }
}

/// Words that only PostgreSQL's own tables and functions have.
const OF_POSTGRES: [&str; 20] = [
    "pg_",
    "regclass",
    "regtype",
    "regproc",
    "regnamespace",
    "regrole",
    "current_schema",
    "current_database",
    "current_user",
    "current_role",
    "current_catalog",
    "session_user",
    "current_setting",
    "set_config",
    "version",
    "has_",
    "quote_ident",
    "format_type",
    "obj_description",
    "col_description",
];

/// Whether a query needs what PostgreSQL has and others have not.
pub fn is_of_postgres(sql: &str) -> bool {
    let sql = sql.to_ascii_lowercase();
    OF_POSTGRES.iter().any(|word| sql.contains(word))
}

/// Whether a placeholder says how many rows: there the engine does not tell its type.
pub fn is_count(sql: &str, name: &str) -> bool {
    let words: Vec<&str> =
        sql.split(|c: char| c.is_whitespace() || "(),".contains(c)).filter(|w| !w.is_empty()).collect();
    words.windows(2).any(|pair| match pair {
        [before, placeholder] => {
            (before.eq_ignore_ascii_case("limit") || before.eq_ignore_ascii_case("offset"))
                && placeholder.strip_prefix('$') == Some(name)
        }
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn semicolons_end_statements_only_where_sql_says_so() {
        for (text, statements) in [
            ("", vec![]),
            (" ; -- nothing\n;/* ; */", vec![]),
            ("SELECT 1; SELECT 2;", vec!["SELECT 1", "SELECT 2"]),
            ("SELECT ';'';' ; SELECT \";\"", vec!["SELECT ';'';'", "SELECT \";\""]),
            ("SELECT E'\\';' ; SELECT 2", vec!["SELECT E'\\';'", "SELECT 2"]),
            ("SELECT name'x' ; SELECT 2", vec!["SELECT name'x'", "SELECT 2"]),
            ("SELECT $$;$$, $x$ ; $$ ; $x$, $1; SELECT 2", vec!["SELECT $$;$$, $x$ ; $$ ; $x$, $1", "SELECT 2"]),
            ("SELECT 1 -- ;\n; SELECT /* ; /* ; */ ; */ 2", vec!["SELECT 1 -- ;", "SELECT /* ; /* ; */ ; */ 2"]),
            ("SELECT '日本;' ; SELECT 'open ; ", vec!["SELECT '日本;'", "SELECT 'open ;"]),
            ("SELECT 1 AS OF LSN 17; SELECT 2", vec!["SELECT 1 AS OF LSN 17", "SELECT 2"]),
        ] {
            assert_eq!(split(text), statements, "{text}");
        }
    }

    #[test]
    fn the_first_word_tells_what_is_wanted() {
        let set = |name: &str, value: &str| Statement::Talk(Talk::Set { name: name.into(), value: value.into() });
        let write = |word: &str| Statement::Refused(Refused::Write(word.into()));
        for (text, statement) in [
            ("begin read only", Statement::Talk(Talk::Begin)),
            ("/* x */ COMMIT", Statement::Talk(Talk::Commit)),
            ("ROLLBACK", Statement::Talk(Talk::Rollback)),
            ("rollback to savepoint a", Statement::Talk(Talk::Done("ROLLBACK"))),
            ("SET extra_float_digits = 3", set("extra_float_digits", "3")),
            ("SET SESSION DateStyle TO 'ISO, MDY'", set("datestyle", "ISO, MDY")),
            ("set time zone 'Europe/Berlin'", set("timezone", "Europe/Berlin")),
            ("SET NAMES 'UTF8'", set("client_encoding", "UTF8")),
            ("SET TRANSACTION READ WRITE", Statement::Talk(Talk::Done("SET"))),
            ("SHOW TRANSACTION ISOLATION LEVEL", Statement::Talk(Talk::Show("transaction_isolation".into()))),
            (
                "SET datafusion.execution.batch_size = 1",
                Statement::Refused(Refused::Setting("datafusion.execution.batch_size".into())),
            ),
            ("COPY flows TO '/tmp/x'", write("COPY")),
            ("insert into flows values (1)", write("INSERT")),
            ("DEALLOCATE ALL", Statement::Talk(Talk::Deallocate(None))),
            ("DEALLOCATE \"a\"", Statement::Talk(Talk::Deallocate(Some("a".into())))),
            ("FETCH 1 FROM c", Statement::Refused(Refused::Unsupported("FETCH".into()))),
        ] {
            assert_eq!(read(text), statement, "{text}");
        }
        for query in
            ["SELECT 1", "(SELECT 1)", "WITH x AS (SELECT 1) SELECT * FROM x", "SHOW TABLES", "-- x\nVALUES (1)"]
        {
            assert_eq!(read(query), Statement::Query(query.into()));
        }
    }
}
