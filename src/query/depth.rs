//! How deep a query is. Each `+`, `OR` or `UNION` is one level for whoever plans it, and too many would overflow the stack,
//! which ends the whole server; parentheses are counted by the parser.

use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};

use super::QueryError;

/// As DuckDB has it. It also bounds the time to plan, which grows with the square.
const MAX_DEPTH: usize = 1_000;
/// Of one `FROM`: the time to plan them grows faster still, and nothing interrupts it.
const MAX_TABLES: usize = 64;

/// What is between two parentheses, so far.
#[derive(Default)]
struct Level {
    /// Operators since the last comma.
    operators: usize,
    /// Tables, while it lists tables.
    tables: Option<usize>,
}

pub fn check(sql: &str) -> Result<(), QueryError> {
    // What is no SQL is told by who reads all of it.
    let Ok(tokens) = Tokenizer::new(&GenericDialect {}, sql).tokenize() else { return Ok(()) };
    let mut open = Vec::new();
    let mut level = Level::default();
    let mut before = Keyword::NoKeyword;
    for token in &tokens {
        match token {
            Token::LParen | Token::LBrace => open.push(std::mem::take(&mut level)),
            Token::RParen | Token::RBrace => level = open.pop().unwrap_or_default(),
            Token::Comma => match &mut level.tables {
                Some(tables) => *tables += 1,
                None => level.operators = 0,
            },
            Token::Word(word) => {
                match word.keyword {
                    Keyword::FROM if before != Keyword::DISTINCT => level.tables = Some(1),
                    Keyword::JOIN => level.tables = level.tables.map(|tables| tables + 1),
                    Keyword::WHERE | Keyword::SELECT | Keyword::GROUP | Keyword::ORDER => level.tables = None,
                    _ => {}
                }
                level.operators += usize::from(is_operator(word.keyword));
                before = word.keyword;
            }
            Token::Number(..)
            | Token::SingleQuotedString(_)
            | Token::Placeholder(_)
            | Token::Whitespace(_)
            | Token::SemiColon => {}
            _ => level.operators += 1,
        }
        if level.tables.is_some_and(|tables| tables > MAX_TABLES) {
            return Err(QueryError::Wrong(format!("more than {MAX_TABLES} tables in one FROM: ask in parts")));
        }
        if level.operators > MAX_DEPTH {
            return Err(QueryError::Wrong(format!(
                "more than {MAX_DEPTH} operators in one expression, or as many queries in one union: \
                 write IN (...) for many values, or ask in parts"
            )));
        }
    }
    Ok(())
}

fn is_operator(word: Keyword) -> bool {
    matches!(
        word,
        Keyword::AND
            | Keyword::OR
            | Keyword::NOT
            | Keyword::IS
            | Keyword::IN
            | Keyword::LIKE
            | Keyword::ILIKE
            | Keyword::BETWEEN
            | Keyword::COLLATE
            | Keyword::AT
            | Keyword::UNION
            | Keyword::EXCEPT
            | Keyword::INTERSECT
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_chains_are_refused_and_long_lists_are_not() {
        for (piece, fits) in [("+ 1 ", false), ("OR 1 = 1 ", false), ("::int ", false), ("UNION SELECT 1 ", false)] {
            assert_eq!(check(&format!("SELECT 1 {}", piece.repeat(2_000))).is_ok(), fits, "{piece}");
            check(&format!("SELECT 1 {}", piece.repeat(300))).unwrap();
        }
        check(&format!("SELECT 1 IN (-1{})", ", -1".repeat(50_000))).unwrap();
        check(&format!("VALUES (1 + 1){}", ", (1 + 1)".repeat(10_000))).unwrap();
        check(&format!("SELECT a + 1{} FROM t", ", a + 1".repeat(10_000))).unwrap();
        for more in [", a", " JOIN a ON true", ", LATERAL (SELECT 1, 2)"] {
            assert!(check(&format!("SELECT 1 FROM a{}", more.repeat(100))).is_err(), "{more}");
            check(&format!("SELECT 1 FROM a{} WHERE a IN (1{})", more.repeat(30), ", 2".repeat(9_000))).unwrap();
        }
        assert!(check(&format!("SELECT {}", "f(1, 2) + ".repeat(2_000))).is_err());
        check(")))((('").unwrap();
    }
}
