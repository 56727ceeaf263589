//! The HTTP API for people and tools, and who may use it.
