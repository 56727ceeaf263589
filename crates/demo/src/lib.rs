//! Three nodes and their sample services in one process.
