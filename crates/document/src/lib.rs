//! What the operator declares: the gateway document.
//!
//! Owns the declared types, their parsing from YAML, JSON and TOML with the place of every error, the checks that need
//! nothing but the document, its normal form, its parts and the difference of two documents.
//! Must never know how anything is compiled or served, the time, or the network.
//!
//! ```text
//!   text ──tree──▶ marked tree ──decode──▶ declared types ──check──▶ Parsed
//!                                               │  ▲
//!                                         split ▼  │ join
//!                                 parts as canonical JSON ──diff──▶ changes
//! ```
//!
//! Bounds: a document has at most [`MAX_BYTES`] and [`MAX_DEPTH`]; names, lists and patterns have bounds that their
//! messages tell. Nothing here recurses deeper than the document's depth, and no text makes it panic.

#![forbid(unsafe_code)]

mod check;
pub mod declared;
mod decode;
mod diagnostic;
mod diff;
mod format;
mod parse;
mod parts;
mod print;
mod render;
mod schema;
mod source;
mod tree;

pub use check::check;
pub use declared::Document;
pub use decode::fields::nearest;
pub use diagnostic::{Diagnostic, Severity};
pub use diff::{Change, ChangeKind, diff, render_diff};
pub use format::Format;
pub use parse::{Parsed, parse, parse_files, parse_part};
pub use parts::{CorruptPart, Part, PartKey, UnknownPart, decode_part, encode_part, join, part_level, split};
pub use print::{Layout, PartPrintError, PrintError, layout, print, print_part};
pub use render::render;
pub use schema::{reference, schema};
pub use tree::{MAX_BYTES, MAX_DEPTH};

/// The feature level of this version: the highest that its fields need, and no less than 3, which breakers set by hand
/// need. A cluster's level rises when all its nodes know a higher one.
pub const LEVEL: u32 = {
    let fields = decode::fields::highest_level();
    if fields < 3 { 3 } else { fields }
};
