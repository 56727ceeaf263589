//! HTTP/2 in front of a data plane: by a decent client, and frame by frame.

mod answers;
mod bodies;
mod connection;
mod decent;
mod frames;
mod grpc;
mod limits;
mod requests;
mod streams;
