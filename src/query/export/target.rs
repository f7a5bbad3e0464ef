//! Where the files of an export go. A folder is the one kind so far; a bucket would be another [`Target`].

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::error::ExportError;

/// What a file that is not finished is called.
const UNFINISHED: &str = ".unfinished";

/// Blocks: not for threads that serve requests. Names are relative, with `/` between folders.
pub trait Target: Send + Sync {
    /// Begins a file, which is there under its name only when it is finished.
    fn begin(&self, name: &str) -> Result<Box<dyn Write + Send>, ExportError>;
    /// The file is whole and stays, whatever happens.
    fn finish(&self, name: &str) -> Result<(), ExportError>;
    /// A small file at once; one that is there is replaced.
    fn put(&self, name: &str, bytes: &[u8]) -> Result<(), ExportError>;
    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, ExportError>;
    /// Removes a file, finished or not, if it is there.
    fn remove(&self, name: &str) -> Result<(), ExportError>;
    /// All files of rows that are there, finished or not, by the names that they were begun with.
    fn names(&self) -> Result<Vec<String>, ExportError>;
    /// Bytes that are free; `None` where that is not known.
    fn free(&self) -> Option<u64>;
    /// As an operator would name a file.
    fn place(&self, name: &str) -> PathBuf;
    /// The paths of a finished file and of one that is begun, where programs can open them.
    fn paths(&self, name: &str) -> Option<(PathBuf, PathBuf)>;
}

/// A folder of this machine.
#[derive(Debug, Clone)]
pub struct Folder(PathBuf);

impl Folder {
    /// Makes the folder if it is missing.
    pub fn new(path: &Path) -> Result<Self, ExportError> {
        let failed = |error| ExportError::io(path, error);
        fs::create_dir_all(path).map_err(failed)?;
        let path = path.canonicalize().map_err(failed)?;
        if let Some(parent) = path.parent() {
            sync(parent).map_err(failed)?;
        }
        Ok(Self(path))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    fn unfinished(&self, name: &str) -> PathBuf {
        self.0.join(format!("{name}{UNFINISHED}"))
    }
}

/// Whether it is a name that this module gives to files of rows; no other is removed or handed out.
pub fn is_ours(name: &str) -> bool {
    let Some(last) = name.rsplit('/').next() else { return false };
    let numbered = last.strip_prefix("part-").and_then(|rest| rest.split_once('.')).is_some_and(|(number, kind)| {
        number.len() == 5
            && number.bytes().all(|byte| byte.is_ascii_digit())
            && matches!(kind, "parquet" | "csv" | "jsonl" | "arrow")
    });
    let folders = name.strip_suffix(last).unwrap_or_default();
    let plain = folders.split_terminator('/').all(|folder| folder.contains('=') && !folder.starts_with('.'));
    (numbered && plain) || name == super::database::NAME
}

impl Target for Folder {
    fn begin(&self, name: &str) -> Result<Box<dyn Write + Send>, ExportError> {
        let path = self.unfinished(name);
        let begin = || {
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder)?;
            }
            File::create(&path)
        };
        Ok(Box::new(begin().map_err(|error| ExportError::io(&path, error))?))
    }

    fn finish(&self, name: &str) -> Result<(), ExportError> {
        let (from, to) = (self.unfinished(name), self.0.join(name));
        let finish = || {
            File::open(&from)?.sync_all()?;
            fs::rename(&from, &to)?;
            // With the folders that may have been made for it.
            to.ancestors().skip(1).take_while(|folder| folder.starts_with(&self.0)).try_for_each(sync)
        };
        finish().map_err(|error| ExportError::io(&to, error))
    }

    fn put(&self, name: &str, bytes: &[u8]) -> Result<(), ExportError> {
        let mut file = self.begin(name)?;
        file.write_all(bytes).map_err(|error| ExportError::io(self.place(name), error))?;
        self.finish(name)
    }

    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, ExportError> {
        let path = self.0.join(name);
        match fs::read(&path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(ExportError::io(path, error)),
        }
    }

    fn remove(&self, name: &str) -> Result<(), ExportError> {
        for path in [self.0.join(name), self.unfinished(name)] {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(ExportError::io(path, error)),
                _ => {}
            }
            // Folders of partitions, where they are empty now.
            for folder in path.ancestors().skip(1).take_while(|folder| *folder != self.0) {
                if fs::remove_dir(folder).is_err() {
                    break;
                }
            }
        }
        Ok(())
    }

    fn names(&self) -> Result<Vec<String>, ExportError> {
        fn walk(root: &Path, folder: &Path, found: &mut Vec<String>) -> io::Result<()> {
            for entry in fs::read_dir(folder)? {
                let entry = entry?;
                let path = entry.path();
                if entry.file_type()?.is_dir() {
                    walk(root, &path, found)?;
                } else if let Some(name) = path.strip_prefix(root).ok().and_then(Path::to_str) {
                    found.push(name.strip_suffix(UNFINISHED).unwrap_or(name).to_owned());
                }
            }
            Ok(())
        }
        let mut found = Vec::new();
        walk(&self.0, &self.0, &mut found).map_err(|error| ExportError::io(&self.0, error))?;
        found.retain(|name| is_ours(name));
        found.sort_unstable();
        found.dedup();
        Ok(found)
    }

    fn free(&self) -> Option<u64> {
        let space = rustix::fs::statvfs(&self.0).ok()?;
        Some(space.f_bavail.saturating_mul(space.f_frsize))
    }

    fn place(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn paths(&self, name: &str) -> Option<(PathBuf, PathBuf)> {
        Some((self.0.join(name), self.unfinished(name)))
    }
}

fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_other_files_than_those_of_rows_are_touched_or_handed_out() {
        for name in
            ["part-00000.parquet", "day=2026-01-02/part-12345.csv", "a=1/b=x%2F/part-00000.arrow", "export.duckdb"]
        {
            assert!(is_ours(name), "{name}");
        }
        for name in [
            "job.json",
            "",
            "/",
            "part-0.csv",
            "part-000000.csv",
            "part-00000.txt",
            "../part-00000.csv",
            "/part-00000.csv",
            "x/part-00000.csv",
            "a=/../part-00000.csv",
            "a=1//part-00000.csv",
            "..=/part-00000.csv",
            "a=1/export.duckdb",
            "part-00000.csv/..",
            "part-00000.csv.unfinished",
        ] {
            assert!(!is_ours(name), "{name}");
        }
    }

    #[test]
    fn a_file_is_there_when_it_is_finished_and_not_before() {
        let folder = tempfile::tempdir().unwrap();
        let target = Folder::new(&folder.path().join("new")).unwrap();
        let name = "day=1/part-00000.csv";
        target.begin(name).unwrap().write_all(b"x").unwrap();
        assert_eq!(target.read(name).unwrap(), None);
        assert_eq!(target.names().unwrap(), [name]);
        target.finish(name).unwrap();
        assert_eq!(target.read(name).unwrap().unwrap(), b"x");
        target.remove(name).unwrap();
        assert!(target.names().unwrap().is_empty() && !target.path().join("day=1").exists());
    }
}
