//! Tests of the pure part: no system calls.

mod lines;
mod link;
mod mutation;
#[path = "../../tests/objects/mod.rs"]
mod objects;
mod parse;
