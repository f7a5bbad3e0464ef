//! Every path of the catalogue, built and parsed here only. See engine layout in ARCHITECTURE.md.

/// Entries of one floor mark: the log is truncated in whole blocks.
pub const FLOOR_BLOCK: u64 = 1_000;

pub const CATALOG: &str = "catalog.json";
pub const LOG: &str = "log";
pub const CHECKPOINTS: &str = "checkpoints";

pub fn log_entry(seq: u64) -> String {
    format!("{LOG}/{seq:020}")
}

/// The sequence number of a file in `log/`, by its name; `None` for a name that is not ours.
pub fn parse_log_entry(name: &str) -> Option<u64> {
    parse_seq(name.strip_prefix(LOG)?.strip_prefix('/')?)
}

/// "Entries of this block may be gone."
pub fn floor_mark(block: u64) -> String {
    format!("floor/{block:016}")
}

pub fn floor_block(seq: u64) -> u64 {
    seq / FLOOR_BLOCK
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

fn parse_seq(text: &str) -> Option<u64> {
    if text.len() == 20 && text.bytes().all(|b| b.is_ascii_digit()) { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_built_is_parsed_and_sorts_by_number() {
        assert_eq!(parse_log_entry(&log_entry(7)), Some(7));
        assert!(log_entry(9) < log_entry(10));
        assert_eq!(parse_checkpoint_file(&checkpoint_manifest(3)), Some((3, true)));
        assert_eq!(parse_checkpoint_file(&checkpoint_part(3, "flows", 0)), Some((3, false)));
        for foreign in ["log/7", "log/0000000000000000007x", "checkpoints/1/manifest.json", "checkpoints", "media/x"] {
            assert_eq!(parse_log_entry(foreign), None, "{foreign}");
            assert_eq!(parse_checkpoint_file(foreign), None, "{foreign}");
        }
    }
}
