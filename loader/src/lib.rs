//! Loads BPF ELF objects with raw `bpf(2)` calls and attaches them with rtnetlink.
//!
//! Three types for three stages: [`Object`] is a parsed file, [`LinkedProgram`] is one of its programs
//! with every relocation resolved (both pure: no system call), [`Program`] and [`Map`] own kernel objects.
//! `tc` attaches a program to an interface and takes away exactly what it made.
//!
//! What it does not do: BTF, CO-RE, global data (`.data`, `.rodata`, `.bss`), function pointers, pinning,
//! kfuncs. An object that needs one of these is refused by name, never loaded half relocated.
//!
//! `no_std` with `alloc`; only `tc` needs the standard library (feature `std`).
#![no_std]

extern crate alloc;
#[cfg(any(test, feature = "std"))]
extern crate std;

mod hint;
mod instruction;
mod link;
mod map;
mod object;
mod parse_error;
mod program;
mod sys;
#[cfg(feature = "std")]
pub mod tc;
#[cfg(test)]
mod tests;

pub use instruction::Instruction;
pub use link::{LinkError, LinkedProgram, Location};
pub use map::{Map, MapError};
pub use object::{MapDefinition, Object};
pub use parse_error::ParseError;
pub use program::{LoadError, Program, ProgramError, ProgramKind, TestInput, TestRun};
pub use sys::Errno;
