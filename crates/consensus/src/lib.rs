//! The replicated log: openraft over redb, the keyed state, membership. Keeps keyed bytes, knows no traffic.
