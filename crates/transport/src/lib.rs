//! The IO type under every connection, and the sockets that listeners stand on.
