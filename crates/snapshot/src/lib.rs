//! The compiled configuration: router, routes with their policies, upstreams; whole, or errors.
