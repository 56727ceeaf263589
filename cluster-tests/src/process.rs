//! Processes started by a test: ended by their id with all their children, their output kept.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// A running process, leader of a group of its own. Dropping it kills the group; after a failed test it first prints
/// the end of what the process said.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    output: PathBuf,
    /// Where in the output file this process began: the file outlives restarts.
    from: u64,
    ended: Option<ExitStatus>,
}

/// What to start. A thin face of [`Command`] that knows where the output goes.
#[derive(Debug)]
pub struct Start {
    name: String,
    command: Command,
    output: PathBuf,
    unread: bool,
}

impl Start {
    /// `program` under a `name` for people, its stdout and stderr appended to the file `output`.
    pub fn new(name: impl Into<String>, program: impl AsRef<Path>, output: impl Into<PathBuf>) -> Self {
        let mut command = Command::new(program.as_ref());
        command.stdin(Stdio::null()).process_group(0);
        Self {
            name: name.into(),
            command,
            output: output.into(),
            unread: false,
        }
    }

    /// Its stderr is a pipe that stays open, and that nobody ever reads.
    pub fn unread(mut self) -> Self {
        self.unread = true;
        self
    }

    /// Adds arguments.
    pub fn args<I>(mut self, args: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<OsString>,
    {
        self.command.args(args.into_iter().map(Into::into));
        self
    }

    /// Sets a variable of its environment.
    pub fn env(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.command.env(name, value.into());
        self
    }

    /// Sets the directory in which it runs.
    pub fn directory(mut self, directory: impl AsRef<Path>) -> Self {
        self.command.current_dir(directory);
        self
    }

    /// Starts it.
    ///
    /// # Errors
    /// The program is not there, or the output file cannot be written.
    pub fn start(mut self) -> io::Result<Process> {
        let output = OpenOptions::new().create(true).append(true).open(&self.output)?;
        let from = output.metadata()?.len();
        self.command.stdout(output.try_clone()?).stderr(output);
        if self.unread {
            self.command.stderr(Stdio::piped());
        }
        let child = self.command.spawn()?;
        Ok(Process {
            name: self.name,
            child,
            output: self.output,
            from,
            ended: None,
        })
    }
}

impl Process {
    /// The process id, which is its group's too.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal (`libc::SIGTERM` …) to the process alone.
    pub fn signal(&self, signal: libc::c_int) {
        send(self.child.id() as libc::pid_t, signal);
    }

    /// `kill -9` of the whole group, and the wait for its end.
    pub fn kill(&mut self) {
        if self.ended.is_some() {
            return;
        }
        // A stopped process takes SIGKILL as well.
        send(-(self.child.id() as libc::pid_t), libc::SIGKILL);
        self.ended = self.child.wait().ok();
    }

    /// The exit status, once there is one.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().ok().flatten();
        }
        self.ended
    }

    /// Waits for the end, for at most `bound`.
    pub async fn end(&mut self, bound: Duration) -> ExitStatus {
        let began = Instant::now();
        let mut look = crate::wait::beat(Duration::from_millis(10));
        loop {
            look.tick().await;
            if let Some(status) = self.ended() {
                return status;
            }
            assert!(
                began.elapsed() < bound,
                "{} did not end within {bound:?}; it said:\n{}",
                self.name,
                self.said()
            );
        }
    }

    /// All that this process wrote so far.
    pub fn said(&self) -> String {
        read_from(&self.output, self.from)
    }

    /// Descriptors that it has open.
    pub fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.id())).map_or(0, Iterator::count)
    }

    /// Processor time of the process and its ended children so far: user and system together.
    pub fn cpu(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.id())).unwrap_or_default();
        // The name in brackets may hold blanks; what follows the last bracket does not.
        let fields: Vec<u64> = stat
            .rsplit(')')
            .next()
            .unwrap_or("")
            .split_whitespace()
            .map(|f| f.parse().unwrap_or(0))
            .collect();
        let ticks: u64 = fields.iter().skip(11).take(4).sum();
        Duration::from_millis(ticks * 10)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let alive = self.ended().is_none();
        self.kill();
        if std::thread::panicking() {
            let said = self.said();
            let lines: Vec<&str> = said.lines().collect();
            let last = lines.len().saturating_sub(40);
            let state = if alive {
                "was alive".to_owned()
            } else {
                format!("had ended: {:?}", self.ended)
            };
            eprintln!(
                "---- {} ({state}) said at last:\n{}\n----",
                self.name,
                lines[last..].join("\n")
            );
        }
    }
}

/// The text of `file` from byte `from` on.
fn read_from(file: &Path, from: u64) -> String {
    let mut bytes = Vec::new();
    let read = File::open(file).and_then(|mut file| {
        file.seek(SeekFrom::Start(from))?;
        file.read_to_end(&mut bytes)
    });
    match read {
        Ok(_) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) => format!("(its output cannot be read: {error})"),
    }
}

/// `kill(2)`; a negative id is a group. A process that has just ended is no error.
fn send(id: libc::pid_t, signal: libc::c_int) {
    // SAFETY: kill takes two integers and touches no memory of ours; the id is that of a child which has not been
    // waited for, so it cannot have been given to another process.
    unsafe { libc::kill(id, signal) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_process_is_ended_with_its_children_and_its_words_are_kept() {
        let dir = tempfile::tempdir().expect("a directory");
        let output = dir.path().join("out");
        let script = "echo said; (read x < /dev/zero) & echo $!; wait";
        let mut process = Start::new("shell", "/bin/sh", &output)
            .args(["-c", script])
            .start()
            .expect("a shell");
        let child = crate::eventually("the child's id", || async {
            process
                .said()
                .lines()
                .nth(1)
                .and_then(|id| id.parse::<u32>().ok())
                .ok_or("not yet")
        })
        .await;
        assert!(Path::new(&format!("/proc/{child}")).exists());
        process.kill();
        crate::eventually("the child's end", || async {
            let stat = std::fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
            if stat.is_empty() || stat.contains(") Z ") {
                Ok(())
            } else {
                Err("it lives")
            }
        })
        .await;
        assert!(process.said().starts_with("said\n"));
    }
}
