//! The command line: a client of the admin API; tables, diffs, progress.
