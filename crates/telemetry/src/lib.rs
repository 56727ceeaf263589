//! Names, metrics, logs.
