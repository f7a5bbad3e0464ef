//! `tamslake restore`: a new data folder from a backup, or from another data folder.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, bail};
use clap::Args;

use super::work::{Bar, MediaFolders, Places, copy_key, refuse_within};
use super::{say, serve};
use crate::catalog::LocalStore;
use crate::catalog::backup::Backup;
use crate::catalog::restore::{Restored, restore};
use crate::clock::Clock;
use crate::media::LocalMedia;

/// Makes a data folder from a backup: the same catalogue under a new uuid, as it was at an LSN. See docs/operations.md.
#[derive(Debug, Args)]
pub struct RestoreArgs {
    /// Folder of a backup, or a data folder (a server may run on it)
    #[arg(long, value_name = "DIR")]
    from: PathBuf,
    /// The new data folder: empty, or not there yet
    #[arg(long, value_name = "NEW")]
    data_dir: PathBuf,
    /// The state after this log entry [default: the last that is there]
    #[arg(long, value_name = "N")]
    lsn: Option<u64>,
    /// Print the summary as one line of JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: &RestoreArgs) -> anyhow::Result<()> {
    let dir = &args.data_dir;
    if std::fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some()) {
        bail!("{} is not empty: choose a new folder for --data-dir. Nothing was changed", dir.display());
    }
    refuse_within(dir, &args.from)?;
    let (from, to) = (Places::of(&args.from), Places::of(dir));
    serve::run_to_end(async {
        let root = LocalStore::open_read_only(args.from.clone()).context("there is nothing to restore from")?;
        let backup = Backup::read(&root).await?;
        let source = LocalStore::open_read_only(from.catalog)
            .context("that is neither a backup nor a data folder, for it has no catalogue")?;
        let target = LocalStore::open(to.catalog).context("the new data folder cannot be written")?;
        let media =
            MediaFolders { from: LocalMedia::open_to_read(from.media.clone()), to: LocalMedia::open_to_read(to.media) };
        copy_key(&from.key, &to.key)?;
        let has_media = backup.as_ref().map_or_else(|| from.media.is_dir(), |backup| backup.media.is_some());
        let bar = Bar::new();
        let media = has_media.then_some(&media as _);
        let made =
            restore(Arc::new(source), backup.as_ref(), Arc::new(target), Clock::system(), args.lsn, media, &bar).await;
        bar.finish();
        let made = made.with_context(|| format!("{} cannot be served: delete it", dir.display()))?;
        summarise(&made, has_media, args.json)
    })
}

fn summarise(made: &Restored, has_media: bool, as_json: bool) -> anyhow::Result<()> {
    if as_json {
        say(&serde_json::to_string(made)?);
        return Ok(());
    }
    say(&format!(
        "restored catalogue {} at LSN {} as catalogue {}: {} table files ({} bytes)",
        made.from, made.lsn, made.catalogue, made.table_files, made.table_bytes
    ));
    if has_media {
        say(&format!("media: {} files ({} bytes); {} are missing", made.media, made.media_bytes, made.media_missing));
    } else {
        say("the backup has no media: copy the folder media/ of the old data folder here, if there is one");
    }
    Ok(())
}
