//! A worker's life: accept, read, route, policies in order, forward, answer.
