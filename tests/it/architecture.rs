//! The layers of ARCHITECTURE.md, kept by reading the `use crate::` lines.

use std::fs;
use std::path::{Path, PathBuf};

/// Each module and those it may use. Below itself, a module may use what it likes.
const LAYERS: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("clock", &["domain"]),
    ("catalog", &["domain", "clock"]),
    ("query", &["domain", "clock", "catalog"]),
    ("media", &["domain"]),
    ("operations", &["domain", "clock", "catalog", "media"]),
    ("events", &["domain", "clock", "catalog", "media", "operations"]),
    ("api", &["domain", "clock", "catalog", "query", "media", "operations", "events"]),
    ("config", &[]),
    ("telemetry", &["config"]),
    ("app", &["domain", "clock", "catalog", "query", "media", "operations", "events", "api", "config", "telemetry"]),
    (
        "cli",
        &["domain", "clock", "catalog", "query", "media", "operations", "events", "api", "config", "telemetry", "app"],
    ),
];

/// Crates that only some modules may name.
const CRATES: &[(&str, &[&str])] = &[
    ("poem", &["api", "app"]),
    ("poem_openapi", &["api"]),
    ("reqwest", &["events", "cli"]),
    ("rustls", &["events", "app"]),
    ("ring", &["events"]),
    ("arrow", &["catalog", "query"]),
    ("parquet", &["catalog", "query"]),
    ("duckdb", &["query"]),
    ("datafusion_postgres", &["query"]),
    ("pgwire", &["query"]),
    ("arrow_pg", &["query"]),
    ("arrow_flight", &["query"]),
    ("tonic", &["query"]),
    ("datafusion", &["query"]),
    ("deltalake", &["catalog"]),
    ("serde_arrow", &["catalog"]),
    ("object_store", &["catalog"]),
    ("anyhow", &["cli"]),
    ("clap", &["cli"]),
];

#[test]
fn dependencies_point_down_only() {
    for (module, path) in sources() {
        let Some((_, allowed)) = LAYERS.iter().find(|(name, _)| *name == module) else {
            panic!("{} belongs to no layer: add it to the test and to ARCHITECTURE.md", path.display());
        };
        for (number, line) in fs::read_to_string(&path).unwrap().lines().enumerate() {
            for used in line.split("crate::").skip(1).filter(|_| !line.trim_start().starts_with("//")) {
                let used: String = used.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                let known = LAYERS.iter().any(|(name, _)| *name == used);
                assert!(
                    !known || used == module || allowed.contains(&used.as_str()),
                    "{}:{}: {module} may not use {used}",
                    path.display(),
                    number + 1
                );
            }
            for (name, modules) in CRATES {
                let uses =
                    line.trim_start().starts_with(&format!("use {name}::")) || line.contains(&format!(" {name}::"));
                assert!(
                    !uses || modules.contains(&module.as_str()) || line.trim_start().starts_with("//"),
                    "{}:{}: only {modules:?} may name {name}",
                    path.display(),
                    number + 1
                );
            }
        }
    }
}

/// Every source file, with the top module it belongs to.
fn sources() -> Vec<(String, PathBuf)> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    walk(&root, &mut found);
    found
        .into_iter()
        .filter_map(|path| {
            let inside = path.strip_prefix(&root).unwrap();
            let top = inside.components().next().unwrap().as_os_str().to_str().unwrap();
            let module = top.trim_end_matches(".rs").to_owned();
            (!matches!(module.as_str(), "lib" | "main")).then_some((module, path))
        })
        .collect()
}
