//! Every path of the catalogue, built and parsed here only. See engine layout in ARCHITECTURE.md.

/// Entries of one floor mark: the log is truncated in whole blocks.
pub const FLOOR_BLOCK: u64 = 1_000;

#[cfg(test)]
thread_local! {
    /// Entries of a block of the catalogues of this thread, where truncations shall come often.
    pub static SMALL_BLOCK: std::cell::Cell<Option<u64>> = const { std::cell::Cell::new(None) };
}

fn block_entries() -> u64 {
    #[cfg(test)]
    if let Some(entries) = SMALL_BLOCK.get() {
        return entries;
    }
    FLOOR_BLOCK
}

pub const CATALOG: &str = "catalog.json";
pub const LOG: &str = "log";
pub const FLOOR: &str = "floor";
pub const CHECKPOINTS: &str = "checkpoints";
pub const TABLES: &str = "tables";

pub fn log_entry(seq: u64) -> String {
    format!("{LOG}/{seq:020}")
}

/// The sequence number of a file in `log/`, by its name; `None` for a name that is not ours.
pub fn parse_log_entry(name: &str) -> Option<u64> {
    parse_seq(name.strip_prefix(LOG)?.strip_prefix('/')?)
}

/// "Entries of this block may be gone."
pub fn floor_mark(block: u64) -> String {
    format!("{FLOOR}/{block:016}")
}

/// The block of a floor mark.
pub fn parse_floor_mark(name: &str) -> Option<u64> {
    let block = name.strip_prefix(FLOOR)?.strip_prefix('/')?;
    if block.len() == 16 && block.bytes().all(|b| b.is_ascii_digit()) { block.parse().ok() } else { None }
}

pub fn floor_block(seq: u64) -> u64 {
    seq / block_entries()
}

/// The last entry of a block.
pub fn last_of_block(block: u64) -> u64 {
    (block + 1) * block_entries() - 1
}

pub fn checkpoint_manifest(seq: u64) -> String {
    format!("{CHECKPOINTS}/{seq:020}/manifest.json")
}

pub fn checkpoint_part(seq: u64, table: &str, part: usize) -> String {
    format!("{CHECKPOINTS}/{seq:020}/{table}-{part:05}.arrow")
}

/// The checkpoint that a file below `checkpoints/` belongs to, and whether it is the manifest.
pub fn parse_checkpoint_file(name: &str) -> Option<(u64, bool)> {
    let (folder, file) = name.strip_prefix(CHECKPOINTS)?.strip_prefix('/')?.split_once('/')?;
    Some((parse_seq(folder)?, file == "manifest.json"))
}

/// A cold file, whose name begins with the second (since 1970, UTC) in which it was begun.
pub fn table_file(table: &str, name: &str) -> String {
    format!("{TABLES}/{table}/data/{name}.parquet")
}

/// When a file below `tables/` was begun, in seconds since 1970, UTC; `None` for a name that is not ours.
pub fn parse_table_file(name: &str) -> Option<i64> {
    let (table, file) = name.strip_prefix(TABLES)?.strip_prefix('/')?.split_once("/data/")?;
    if table.contains('/') {
        return None;
    }
    let (seconds, _) = file.strip_suffix(".parquet")?.split_once('-')?;
    if seconds.len() == 10 && seconds.bytes().all(|b| b.is_ascii_digit()) { seconds.parse().ok() } else { None }
}

/// Whether a file below `tables/` is part of what other engines read of a table's history.
pub fn is_of_delta_log(path: &str) -> bool {
    path.contains("/_delta_log/")
}

/// Whether a file below `tables/` is there for other engines alone: a small table's rows, or rows that are deleted.
pub fn is_published_only(path: &str) -> bool {
    let Some((_, file)) = path.strip_prefix(TABLES).and_then(|path| path.strip_prefix('/')?.split_once('/')) else {
        return false;
    };
    let is_whole_table = |file: &str| {
        let name = file.strip_prefix("data/").and_then(|name| name.strip_suffix(".parquet"));
        name.is_some_and(|name| name.len() == 32 && name.bytes().all(|byte| byte.is_ascii_hexdigit()))
    };
    is_whole_table(file) || (file.starts_with("dv/") && file.ends_with(".bin"))
}

fn parse_seq(text: &str) -> Option<u64> {
    if text.len() == 20 && text.bytes().all(|b| b.is_ascii_digit()) { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_for_other_engines_are_told_from_cold_ones() {
        let whole = format!("tables/flows/data/{:032x}.parquet", 7);
        assert!(is_published_only(&whole) && parse_table_file(&whole).is_none());
        assert!(is_published_only("tables/objects/dv/deletion_vector_x.bin"));
        for other in [&*table_file("objects", "1700000000-00000000000000ff"), "tables/flows/_delta_log/0.json", "log/1"]
        {
            assert!(!is_published_only(other), "{other}");
        }
    }

    #[test]
    fn what_is_built_is_parsed_and_sorts_by_number() {
        assert_eq!(parse_log_entry(&log_entry(7)), Some(7));
        assert!(log_entry(9) < log_entry(10));
        assert_eq!(parse_floor_mark(&floor_mark(7)), Some(7));
        assert_eq!(parse_checkpoint_file(&checkpoint_manifest(3)), Some((3, true)));
        assert_eq!(parse_checkpoint_file(&checkpoint_part(3, "flows", 0)), Some((3, false)));
        for foreign in ["log/7", "log/0000000000000000007x", "checkpoints/1/manifest.json", "checkpoints", "media/x"] {
            assert_eq!(parse_log_entry(foreign), None, "{foreign}");
            assert_eq!(parse_checkpoint_file(foreign), None, "{foreign}");
        }
    }
}
