//! Targets: pools, balancing, name resolution, the door to hyper's client connections.
