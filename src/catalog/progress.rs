//! Who is told how far long work has come.

pub trait Progress: Send + Sync {
    /// A stretch of work begins; 0 where nobody knows how much it is.
    fn begin(&self, what: &str, total: u64);
    fn advance(&self, by: u64);
}

/// Nobody.
pub struct Silent;

impl Progress for Silent {
    fn begin(&self, _: &str, _: u64) {}
    fn advance(&self, _: u64) {}
}
