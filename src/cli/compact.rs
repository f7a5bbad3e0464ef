//! `tamslake compact`: cold files become as few as they can be, without what is deleted.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget};
use serde_json::{Value, json};

use super::work::open_offline;
use super::{CommonArgs, say, serve};
use crate::catalog::{ColdTableSize, State};

/// Puts all rows of a data folder into cold files and merges them, without those that are deleted. A server does so by
/// itself, a little at a time; none may run meanwhile. See docs/operations.md.
#[derive(Debug, Args)]
pub struct CompactArgs {
    /// Configuration file (TOML), as for `serve`
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Folder of the catalogue and the media; no server may run on it [default: ./data]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Print the summary as one line of JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: &CompactArgs) -> anyhow::Result<()> {
    let common = CommonArgs { config: args.config.clone(), data_dir: args.data_dir.clone(), listen: None };
    let config = common.config()?;
    serve::run_to_end(async {
        let app = open_offline(config).await?;
        let bar = ProgressBar::new_spinner();
        if std::io::stderr().is_terminal() {
            bar.enable_steady_tick(Duration::from_millis(100));
        } else {
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
        let catalog = app.tams.catalog.clone();
        let before = catalog.snapshot().cold_tables();
        let work = async {
            bar.set_message("rows to cold files");
            catalog.flush().await?;
            bar.set_message("cold files to one run a table");
            catalog.compact().await
        };
        let merged = work.await;
        let after = catalog.snapshot();
        bar.finish_and_clear();
        app.close().await;
        summarise(&before, &after, merged?, args.json);
        Ok(())
    })
}

fn summarise(before: &[ColdTableSize], after: &State, merged: u64, as_json: bool) {
    let after = after.cold_tables();
    if as_json {
        let size = |size: &ColdTableSize| json!({"files": size.files, "rows": size.rows, "bytes": size.bytes});
        let tables = before
            .iter()
            .zip(&after)
            .map(|(before, after)| (before.table.to_owned(), json!({"before": size(before), "after": size(after)})));
        let tables: serde_json::Map<String, Value> = tables.collect();
        say(&json!({"merged_files": merged, "tables": tables}).to_string());
        return;
    }
    for (before, after) in before.iter().zip(&after) {
        say(&format!(
            "{}: {} rows in {} files, {} bytes; before: {} rows in {} files, {} bytes",
            after.table, after.rows, after.files, after.bytes, before.rows, before.files, before.bytes
        ));
    }
}
