//! How deep a statement nests. Planning takes a time that grows with the square of it, and cannot be stopped meanwhile.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{Expr, Query, SetExpr, Statement, Visit, Visitor};

/// Expressions within expressions, and queries of `UNION`s, at most.
pub const MOST: usize = 1_000;

#[derive(Default)]
struct Depth {
    now: usize,
    queries: usize,
}

impl Visitor for Depth {
    type Break = ();

    fn pre_visit_expr(&mut self, _: &Expr) -> ControlFlow<()> {
        self.now += 1;
        if self.now > MOST { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn post_visit_expr(&mut self, _: &Expr) -> ControlFlow<()> {
        self.now -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        self.queries += 1;
        let mut body = &*query.body;
        // Sets nest to the left.
        while let SetExpr::SetOperation { left, .. } = body {
            self.queries += 1;
            body = left;
        }
        if self.queries > MOST { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

/// Whether planning would take too long.
pub fn is_too_deep(statement: &Statement) -> bool {
    statement.visit(&mut Depth::default()).is_break()
}
