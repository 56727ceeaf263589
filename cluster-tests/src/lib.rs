//! The library of the cluster tests.
