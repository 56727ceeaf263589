//! Space kept back for the moment when the disk is full.
//!
//! A node that cannot write a vote or drop old entries cannot even make room. So a file of zeros
//! lies beside the data, and goes first.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;

/// The file of zeros.
#[derive(Debug)]
pub(crate) struct Reserve {
    path: PathBuf,
    bytes: u64,
    /// Whether it is gone, or could not be made.
    spent: AtomicBool,
}

/// Written at a time.
const BLOCK: usize = 64 * 1024;

// === impl Reserve ===

impl Reserve {
    /// Makes the file unless it is there. No room for it is no error: the reserve counts as spent.
    pub(crate) fn prepare(path: PathBuf, bytes: u64) -> io::Result<Self> {
        let there = match fs::metadata(&path) {
            Ok(found) => found.len(),
            Err(e) if e.kind() == io::ErrorKind::NotFound => 0,
            Err(e) => return Err(e),
        };
        let mut spent = false;
        if bytes == 0 && there > 0 {
            fs::remove_file(&path)?;
        } else if there < bytes
            && let Err(e) = fill(&path, bytes)
        {
            let _ = fs::remove_file(&path);
            if !is_full(&e) {
                return Err(e);
            }
            spent = true;
            tracing::warn!(
                path = %path.display(),
                bytes,
                "the disk has no room for the reserve that a node keeps against a full disk: free some space and start again"
            );
        }
        Ok(Self {
            path,
            bytes,
            spent: AtomicBool::new(spent),
        })
    }

    /// Gives the space back to the disk; `false` if there is none left to give.
    pub(crate) fn release(&self) -> bool {
        if self.spent.swap(true, Ordering::AcqRel) || self.bytes == 0 {
            return false;
        }
        let removed = fs::remove_file(&self.path).is_ok();
        tracing::error!(
            path = %self.path.display(),
            bytes = self.bytes,
            "the disk is full: the reserve was given up so that this node can still vote; it takes no more changes until space is freed and it is started again"
        );
        removed
    }

    /// Whether the disk has been full since this node started.
    pub(crate) fn is_spent(&self) -> bool {
        self.spent.load(Ordering::Acquire)
    }
}

/// Whether there was no room.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Takes the space: by one call where the file system knows how, else by writing it full.
fn fill(path: &PathBuf, bytes: u64) -> io::Result<()> {
    let mut file = File::create(path)?;
    match fallocate(&file, FallocateFlags::empty(), 0, bytes) {
        Ok(()) => return Ok(()),
        Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => {}
        Err(e) => return Err(e.into()),
    }
    let zeros = vec![0; BLOCK];
    let mut left = bytes;
    while left > 0 {
        // At most a block.
        let part = left.min(BLOCK as u64) as usize;
        file.write_all(&zeros[..part])?;
        left -= part as u64;
    }
    Ok(())
}
