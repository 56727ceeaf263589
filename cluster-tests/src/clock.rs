//! A wall clock that steps: a node's own, while it runs, with the machine's left alone.

use crate::node::Settings;
use crate::world::World;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::Command;

/// The wall clock of the nodes that it was given to.
#[derive(Debug)]
pub struct WallClock {
    library: PathBuf,
    shift: PathBuf,
    file: File,
}

impl WallClock {
    /// One that goes right, so far. Needs the C compiler that building the gateway needs too.
    pub fn new(world: &World) -> Self {
        let source = world.file("clock.c", include_str!("clock.c"));
        let library = world.path("clock.so");
        let built = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .arg(&library)
            .arg(source)
            .output();
        let built = built.expect("a C compiler is there");
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        let shift = world.file("clock-shift", 0_i64.to_ne_bytes());
        let file = File::options().write(true).open(&shift).expect("it was just made");
        Self { library, shift, file }
    }

    /// Has a node go by it from its next start on.
    pub fn give_to(&self, node: &mut Settings) {
        let path = |path: &PathBuf| path.display().to_string();
        node.environment.push(("LD_PRELOAD".into(), path(&self.library)));
        node.environment.push(("CLOCK_SHIFT_FILE".into(), path(&self.shift)));
    }

    /// Steps it to so many seconds before or after the machine's.
    pub fn shift_to(&self, seconds: i64) {
        self.file
            .write_all_at(&seconds.to_ne_bytes(), 0)
            .expect("the file can be written");
    }
}
