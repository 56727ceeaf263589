//! What can be said of a document before there is one: its JSON Schema, for editors, and its reference, for people. Both
//! are made of the registry of fields, which the decoder reads by.

mod json;
mod page;

pub use json::schema;
pub use page::reference;

#[cfg(test)]
mod tests;
