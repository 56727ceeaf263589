//! The note that a running demo leaves, so that the commands find it by themselves.
//!
//! One file for each demo, in a folder of this user alone, mode 0600 because it holds the admin token. The demo holds a
//! lock on it while it lives: a note that nobody holds is left over from a demo that was killed, whatever process has
//! its number now, and is removed by whoever comes across it.

use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// What the note says.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    /// The process.
    pub pid: u32,
    /// Admin APIs of its nodes, as URLs.
    pub admin: Vec<String>,
    /// A token that they take.
    pub token: String,
}

/// A note that stands as long as this lives.
#[derive(Debug)]
pub struct Note {
    path: PathBuf,
    _locked: File,
}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Running")
            .field("pid", &self.pid)
            .field("admin", &self.admin)
            .finish_non_exhaustive()
    }
}

/// The folder of notes of this user: below `XDG_RUNTIME_DIR`, or below the temporary folder.
#[must_use]
pub fn folder() -> PathBuf {
    match std::env::var_os("XDG_RUNTIME_DIR").filter(|folder| !folder.is_empty()) {
        Some(folder) => Path::new(&folder).join("sluice"),
        None => std::env::temp_dir().join(format!("sluice-{}", own_user().unwrap_or(0))),
    }
}

/// Leaves a note in `folder`.
///
/// # Errors
/// Where the folder cannot be made, belongs to somebody else, or cannot be written.
pub fn announce(folder: &Path, running: &Running) -> io::Result<Note> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)?;
    if !is_ours(folder) {
        return Err(io::Error::other(format!(
            "{} belongs to another user",
            folder.display()
        )));
    }
    let path = folder.join(format!("demo-{}.json", running.pid));
    let _ = std::fs::remove_file(&path);
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&path)?;
    file.lock()?;
    serde_json::to_writer(&mut file, running)?;
    file.flush()?;
    Ok(Note { path, _locked: file })
}

/// The demos that run now, as the notes in `folder` tell. Notes of the dead are removed.
#[must_use]
pub fn find(folder: &Path) -> Vec<Running> {
    if !is_ours(folder) {
        return Vec::new();
    }
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let notes = entries.map(|entry| entry.path()).filter(|path| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.starts_with("demo-") && name.ends_with(".json")
    });
    let mut found: Vec<Running> = notes.filter_map(|path| read(&path)).collect();
    found.sort_by_key(|running| running.pid);
    found
}

fn read(path: &Path) -> Option<Running> {
    let file = File::open(path).ok()?;
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => {}
        Ok(()) => {
            let _ = std::fs::remove_file(path);
            return None;
        }
        Err(TryLockError::Error(_)) => return None,
    }
    serde_json::from_reader(file).ok()
}

impl Drop for Note {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Whether nobody but this user can have written there: a token is not sent where a stranger says.
#[cfg(unix)]
fn is_ours(folder: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let Ok(metadata) = std::fs::symlink_metadata(folder) else {
        return false;
    };
    metadata.is_dir() && Some(metadata.uid()) == own_user() && metadata.mode() & 0o022 == 0
}

#[cfg(not(unix))]
fn is_ours(folder: &Path) -> bool {
    folder.is_dir()
}

#[cfg(unix)]
fn own_user() -> Option<u32> {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata("/proc/self").map(|metadata| metadata.uid()).ok()
}

#[cfg(not(unix))]
fn own_user() -> Option<u32> {
    None
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn running(pid: u32) -> Running {
        Running {
            pid,
            admin: vec!["http://127.0.0.1:9081".into()],
            token: "secret".into(),
        }
    }

    fn own_folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
        folder
    }

    #[test]
    fn a_demo_is_found_while_it_runs_and_gone_when_it_ends() {
        let folder = own_folder();
        let note = announce(folder.path(), &running(1)).unwrap();
        assert_eq!(find(folder.path()), [running(1)]);
        let mode = std::fs::metadata(&note.path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        drop(note);
        assert_eq!(find(folder.path()), []);
    }

    #[test]
    fn the_note_of_a_killed_demo_is_not_believed_and_is_removed() {
        let folder = own_folder();
        let left = folder.path().join("demo-7.json");
        std::fs::write(&left, serde_json::to_vec(&running(7)).unwrap()).unwrap();
        assert_eq!(find(folder.path()), []);
        assert!(!left.exists());
    }

    #[test]
    fn a_folder_that_others_can_write_is_not_believed() {
        let folder = own_folder();
        let _note = announce(folder.path(), &running(1)).unwrap();
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
        assert_eq!(find(folder.path()), []);
        assert!(find(&folder.path().join("nowhere")).is_empty());
    }
}
