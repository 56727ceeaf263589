//! How many files and sockets the process may have open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the soft limit to the hard one. Systems start processes with a soft limit of 1024 for the sake of programs
/// that use `select`; a listener alone takes ten thousand connections. What could not be raised is told where it is
/// reached.
pub(crate) fn allow_as_many_as_may_be() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return;
    }
    let raised = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit.maximum,
            ..limit
        },
    );
    match raised {
        Ok(()) => tracing::debug!(before = ?limit.current, now = ?limit.maximum, "the limit of open files is raised"),
        Err(error) => tracing::warn!(%error, limit = ?limit.current, "the limit of open files cannot be raised"),
    }
}
