//! The link between nodes: handshake, frames, channels, the status that all tell each other, and the codec.
