//! HTTP/2 to targets: what passes, what is sent again and what is not, and who waits for whom.

mod connections;
mod flow;
mod messages;
mod peer;
mod repeated;
mod time_outs;
