//! Versions of TAMS that somebody may speak.

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Dialect {
    /// What everything here is thought in.
    #[default]
    V8_2,
    V7_0,
}

impl Dialect {
    pub const ALL: [Self; 2] = [Self::V8_2, Self::V7_0];

    /// As `api_version` writes it: major and minor.
    pub fn version(self) -> &'static str {
        match self {
            Self::V8_2 => "8.2",
            Self::V7_0 => "7.0",
        }
    }

    pub fn from_version(version: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|dialect| dialect.version() == version)
    }
}
