//! What the subcommands that work on a folder share: a bar on the terminal, and media as the catalogue asks for it.

use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::app::{self, App};
use crate::catalog::backup::{MediaCopier, MediaCopy};
use crate::catalog::fsck::MediaFiles;
use crate::catalog::progress::Progress;
use crate::catalog::{Catalog, LocalStore};
use crate::clock::Clock;
use crate::config::Config;
use crate::domain::UtcTime;
use crate::media::LocalMedia;
use crate::telemetry;

const BLOCK: usize = 1 << 20;

/// On a terminal's standard error; nowhere if that is none.
pub struct Bar(ProgressBar);

impl Bar {
    pub fn new() -> Self {
        let bar = ProgressBar::new(0);
        if !io::stderr().is_terminal() {
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
        Self(bar)
    }

    pub fn finish(&self) {
        self.0.finish_and_clear();
    }
}

impl Progress for Bar {
    fn begin(&self, what: &str, total: u64) {
        let template = match total {
            0 => "{msg:12} {spinner} {human_pos}",
            _ => "{msg:12} {bar:40} {human_pos}/{human_len}, {eta} left",
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            self.0.set_style(style);
        }
        self.0.reset();
        self.0.set_length(total);
        self.0.set_message(what.to_owned());
    }

    fn advance(&self, by: u64) {
        self.0.inc(by);
    }
}

/// A copy within the folder that it is a copy of would be taken for a part of it. Errors: `to` is within `of`.
pub fn refuse_within(to: &Path, of: &Path) -> anyhow::Result<()> {
    // What is not there yet is where its nearest parent is.
    let real = |path: &Path| std::path::absolute(path).ok()?.ancestors().find_map(|path| path.canonicalize().ok());
    if let (Some(to_is), Ok(of)) = (real(to), of.canonicalize())
        && to_is.starts_with(&of)
    {
        bail!("{} is within {}: choose a folder outside. Nothing was changed", to.display(), of.display());
    }
    Ok(())
}

/// The catalogue of a data folder, to which a server may go on writing. Errors: there is none to do `what` with.
pub async fn catalogue_to_read(config: &Config, what: &str) -> anyhow::Result<Catalog> {
    let store = LocalStore::open_read_only(Places::of(&config.data.dir).catalog);
    let store = store.with_context(|| format!("there is no catalogue to {what}"))?;
    Ok(Catalog::open_read_only(Arc::new(store), Clock::system(), app::catalog_settings(config)).await?)
}

/// The media beside a catalogue, to be looked at.
pub struct Media(pub LocalMedia);

impl MediaFiles for Media {
    fn for_each(&self, each: &mut dyn FnMut(&str, UtcTime)) -> Result<(), String> {
        for listed in self.0.list() {
            let listed = listed.map_err(|error| error.to_string())?;
            each(&listed.key, listed.modified);
        }
        Ok(())
    }

    fn location(&self, key: &str) -> String {
        self.0.path(key).map_or_else(|_| key.to_owned(), |path| path.display().to_string())
    }
}

/// Copies media from folder to folder.
pub struct MediaFolders {
    pub from: LocalMedia,
    pub to: LocalMedia,
}

impl MediaCopier for MediaFolders {
    fn copy(&self, key: &str, in_any_case: bool) -> Result<MediaCopy, String> {
        let from = self.from.path(key).map_err(|error| error.to_string())?;
        let to = self.to.path(key).map_err(|error| error.to_string())?;
        copy(&from, &to, in_any_case).map_err(|error| format!("{} to {}: {error}", from.display(), to.display()))
    }
}

fn length(path: &Path) -> io::Result<Option<u64>> {
    match path.metadata() {
        Ok(metadata) => Ok(Some(metadata.len())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn copy(from: &Path, to: &Path, in_any_case: bool) -> io::Result<MediaCopy> {
    let mut source = match File::open(from) {
        Ok(source) => source,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(MediaCopy::Missing),
        Err(error) => return Err(error),
    };
    let bytes = source.metadata()?.len();
    if !in_any_case && length(to)? == Some(bytes) {
        return Ok(MediaCopy::Kept(bytes));
    }
    let folder = to.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    // Written beside, so that a file in place is whole.
    let beside = to.with_extension("part");
    let written = (|| {
        let mut target = File::create(&beside)?;
        let bytes = io::copy(&mut source, &mut target)?;
        target.sync_all()?;
        if !is_same(from, &beside)? {
            return Err(io::Error::other("it does not read back as it was written: see to that disk"));
        }
        std::fs::rename(&beside, to)?;
        File::open(folder)?.sync_all()?;
        Ok(bytes)
    })();
    if written.is_err() {
        // Best effort: a file of such a name counts for nothing.
        let _ = std::fs::remove_file(&beside);
    }
    written.map(MediaCopy::Copied)
}

fn is_same(one: &Path, other: &Path) -> io::Result<bool> {
    let (mut one, mut other) = (File::open(one)?, File::open(other)?);
    let (mut left, mut right) = (Vec::new(), Vec::new());
    loop {
        left.clear();
        right.clear();
        Read::by_ref(&mut one).take(BLOCK as u64).read_to_end(&mut left)?;
        Read::by_ref(&mut other).take(BLOCK as u64).read_to_end(&mut right)?;
        if left != right || left.is_empty() {
            return Ok(left == right);
        }
    }
}

/// The key that signs URLs and hides secrets of webhooks; readable for nobody else.
pub fn copy_key(from: &Path, to: &Path) -> anyhow::Result<bool> {
    use std::os::unix::fs::OpenOptionsExt;
    let key = match std::fs::read(from) {
        Ok(key) => key,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error).with_context(|| format!("{} cannot be read", from.display())),
    };
    match std::fs::read(to) {
        Ok(there) if there == key => return Ok(true),
        // It opens the webhooks' secrets of another catalogue.
        Ok(_) => bail!("{} is another catalogue's: choose another folder. Nothing was changed", to.display()),
        Err(_) => {}
    }
    let beside = to.with_extension("part");
    let write = || {
        // Of an earlier try; its mode might be another.
        let _ = std::fs::remove_file(&beside);
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
        file.write_all(&key)?;
        file.sync_all()?;
        std::fs::rename(&beside, to)
    };
    write().with_context(|| format!("{} cannot be written", to.display()))?;
    Ok(true)
}

/// Opens a data folder that is there, without serving it.
pub async fn open_offline(config: Config) -> anyhow::Result<App> {
    if !config.data.dir.join("catalog").is_dir() {
        bail!("{} holds no catalogue", config.data.dir.display());
    }
    telemetry::start(&config.log).context("logging cannot start")?;
    Ok(App::open(config, Clock::system()).await?)
}

/// Where the catalogue, the media and the key of a data folder or of a backup are.
pub struct Places {
    pub catalog: PathBuf,
    pub media: PathBuf,
    pub key: PathBuf,
}

impl Places {
    pub fn of(dir: &Path) -> Self {
        Self { catalog: dir.join("catalog"), media: dir.join("media"), key: dir.join("signing.key") }
    }
}
