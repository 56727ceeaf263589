//! The file under the database: it gives up the reserve when the disk is full, and fails on demand
//! in tests.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use redb::StorageBackend;

use super::reserve::{Reserve, is_full};

/// A database's file.
#[derive(Debug)]
pub(crate) struct DataFile {
    file: File,
    reserve: Arc<Reserve>,
    faults: Faults,
}

/// What goes wrong with the file. In a node nothing does.
#[derive(Clone, Debug, Default)]
pub(crate) struct Faults {
    #[cfg(test)]
    pub(crate) inner: Arc<TestFaults>,
}

/// Switches for tests.
#[cfg(test)]
#[derive(Debug, Default)]
pub(crate) struct TestFaults {
    /// Syncs fail.
    pub(crate) sync: std::sync::atomic::AtomicBool,
    /// Writes find the disk full while the reserve is there.
    pub(crate) full_until_released: std::sync::atomic::AtomicBool,
    /// Writes find the disk full.
    pub(crate) full: std::sync::atomic::AtomicBool,
    /// All that was asked of the file, in order.
    pub(crate) journal: std::sync::Mutex<Vec<Event>>,
}

/// Something asked of the file.
#[cfg(test)]
#[derive(Clone, Debug)]
pub(crate) enum Event {
    Write(u64, Vec<u8>),
    Length(u64),
    Sync,
}

// === impl DataFile ===

impl DataFile {
    pub(crate) fn new(file: File, reserve: Arc<Reserve>, faults: Faults) -> Self {
        Self { file, reserve, faults }
    }
}

impl StorageBackend for DataFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(out, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.faults.on_length(len);
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.faults.on_sync()?;
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let write = || {
            self.faults.on_write(&self.reserve, offset, data)?;
            self.file.write_all_at(data, offset)
        };
        match write() {
            // Nothing was promised yet that this write is part of: it may be done again.
            Err(e) if is_full(&e) && self.reserve.release() => write(),
            other => other,
        }
    }
}

// === impl Faults ===

#[cfg(not(test))]
impl Faults {
    #[expect(clippy::unused_self, reason = "the tests' one looks at itself")]
    fn on_sync(&self) -> io::Result<()> {
        Ok(())
    }

    #[expect(clippy::unused_self, reason = "the tests' one looks at itself")]
    fn on_write(&self, _: &Reserve, _: u64, _: &[u8]) -> io::Result<()> {
        Ok(())
    }

    #[expect(clippy::unused_self, reason = "the tests' one looks at itself")]
    fn on_length(&self, _: u64) {}
}

#[cfg(test)]
impl Faults {
    fn on_sync(&self) -> io::Result<()> {
        if self.inner.sync.load(std::sync::atomic::Ordering::SeqCst) {
            return Err(io::Error::other("the disk was told to fail"));
        }
        self.note(Event::Sync);
        Ok(())
    }

    fn on_write(&self, reserve: &Reserve, offset: u64, data: &[u8]) -> io::Result<()> {
        let set = |flag: &std::sync::atomic::AtomicBool| flag.load(std::sync::atomic::Ordering::SeqCst);
        if set(&self.inner.full) || (set(&self.inner.full_until_released) && !reserve.is_spent()) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.note(Event::Write(offset, data.to_vec()));
        Ok(())
    }

    fn on_length(&self, length: u64) {
        self.note(Event::Length(length));
    }

    fn note(&self, event: Event) {
        let mut journal = self
            .inner
            .journal
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        journal.push(event);
    }
}
