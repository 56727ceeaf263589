//! The folder that holds the nodes' disks: the operator's, kept; or a temporary one, removed.

use std::io;
use std::path::{Path, PathBuf};

/// The folder of one demo.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    kept: bool,
}

impl Folder {
    /// The given folder (made if it is not there), or a fresh temporary one that nobody else can read.
    pub(crate) fn open(given: Option<&Path>) -> io::Result<Self> {
        if let Some(path) = given {
            std::fs::create_dir_all(path)?;
            return Ok(Self {
                path: std::path::absolute(path)?,
                kept: true,
            });
        }
        let name = crate::run::random_text(8).map_err(io::Error::other)?;
        let path = std::env::temp_dir().join(format!("sluice-demo-{name}"));
        let mut builder = std::fs::DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(&path)?;
        Ok(Self { path, kept: false })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn is_kept(&self) -> bool {
        self.kept
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.kept {
            // Nobody is left to tell, and the system cleans its temporary folder.
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}
