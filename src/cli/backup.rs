//! `tamslake backup`: a copy at one LSN, while a server may go on writing.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use clap::Args;

use super::work::{Bar, MediaFolders, Places, copy_key, refuse_within};
use super::{CommonArgs, say, serve};
use crate::catalog::LocalStore;
use crate::catalog::backup::{BackedUp, MANIFEST, MediaCopier, backup};
use crate::clock::Clock;
use crate::media::LocalMedia;

/// Copies the catalogue as it is at one moment, and the media of that moment, to a folder. A server may go on writing. The
/// same folder again takes only what is new. See docs/operations.md.
#[derive(Debug, Args)]
pub struct BackupArgs {
    /// Configuration file (TOML), as for `serve`
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Folder of the catalogue and the media; a server may run on it [default: ./data]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Folder of the backup, made if it is missing; an earlier backup of the same catalogue may be there
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    /// Leave the bytes of media out
    #[arg(long)]
    without_media: bool,
    /// Read table files that an earlier backup copied again, and replace those that are damaged
    #[arg(long)]
    verify: bool,
    /// Print the summary as one line of JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: &BackupArgs) -> anyhow::Result<()> {
    let common = CommonArgs { config: args.config.clone(), data_dir: args.data_dir.clone(), listen: None };
    let dir = common.config()?.data.dir;
    let (from, to) = (Places::of(&dir), Places::of(&args.to));
    if to.catalog.join("lock").exists() {
        bail!("{} is the data folder of a server: choose another folder for the backup", args.to.display());
    }
    refuse_within(&args.to, &dir)?;
    check_folder(&args.to)?;
    serve::run_to_end(async {
        let source = LocalStore::open_read_only(from.catalog).context("there is no catalogue to back up")?;
        let target = LocalStore::open(args.to.clone()).context("the backup cannot be written")?;
        let media = MediaFolders { from: LocalMedia::open_to_read(from.media), to: LocalMedia::open_to_read(to.media) };
        let media: Option<&dyn MediaCopier> = if args.without_media { None } else { Some(&media) };
        copy_key(&from.key, &to.key)?;
        let bar = Bar::new();
        let made = backup(Arc::new(source), &target, Clock::system(), media, args.verify, &bar).await;
        bar.finish();
        summarise(&made?, args.json)
    })
}

/// What is in a folder of backups. Files of other people could be taken for what a backup that was cut short left behind.
fn check_folder(to: &Path) -> anyhow::Result<()> {
    const OURS: [&str; 8] = [MANIFEST, "catalog", "lock", "media", "media-lists", "signing.key", "signing.part", "tmp"];
    let Ok(entries) = std::fs::read_dir(to) else { return Ok(()) };
    let names: Vec<_> = entries.filter_map(|entry| entry.ok().map(|entry| entry.file_name())).collect();
    let is_ours = names.iter().all(|name| OURS.iter().any(|ours| name == ours));
    if !(names.is_empty() || is_ours && names.iter().any(|name| name == "lock")) {
        bail!("{} holds other things than a backup: choose another folder. Nothing was changed", to.display());
    }
    Ok(())
}

fn summarise(made: &BackedUp, as_json: bool) -> anyhow::Result<()> {
    if as_json {
        let mut summary = serde_json::to_value(made)?;
        if let Some(files) = summary.pointer_mut("/backup/files") {
            *files = made.backup.files.len().into();
        }
        say(&summary.to_string());
        return Ok(());
    }
    let backup = &made.backup;
    say(&format!(
        "backed up catalogue {} at LSN {}: {} files, of which {} ({} bytes) are new",
        backup.catalogue,
        backup.lsn,
        backup.files.len(),
        made.copied_files,
        made.copied_bytes
    ));
    match &backup.media {
        None => say("without media"),
        Some(media) => say(&format!(
            "media: {} files ({} bytes), of which {} ({} bytes) are new; {} are missing",
            media.objects, media.bytes, made.copied_media, made.copied_media_bytes, media.missing
        )),
    }
    Ok(())
}
