//! Loads BPF ELF objects with raw `bpf(2)` calls and attaches them with rtnetlink.
//!
//! Three types for three stages: [`Object`] is a parsed file, [`LinkedProgram`] is one of its programs
//! with every relocation resolved (both pure: no system call), [`Program`] and [`Map`] own kernel objects.
//! [`BpfLink`] and `rtnetlink` attach a program to an interface, and take away exactly what they made.
//!
//! What it does not do: types of BTF (of which it uses source lines, for the verifier's log), CO-RE, global data
//! (`.data`, `.rodata`, `.bss`), function pointers, kfuncs. An object that needs one of these is refused by name, never
//! loaded half relocated.
//!
//! `no_std` with `alloc`; only `rtnetlink` needs the standard library (feature `std`).
#![no_std]

extern crate alloc;
#[cfg(any(test, feature = "std"))]
extern crate std;

mod bpf_link;
mod hint;
mod instruction;
mod lines;
mod link;
mod map;
mod object;
mod parse_error;
mod place;
mod program;
#[cfg(feature = "std")]
pub mod rtnetlink;
mod sys;
#[cfg(test)]
mod tests;

pub use bpf_link::{BpfLink, BpfLinkError, BpfLinkInfo, LinkHook, Position, TcxProgram, links, tcx_programs};
pub use instruction::Instruction;
pub use link::{LinkError, LinkedProgram, Location};
pub use map::{Map, MapError};
pub use object::{MapDefinition, Object};
pub use parse_error::ParseError;
pub use place::{IfIndex, Side, XdpMode};
pub use program::{LoadError, Program, ProgramError, ProgramInfo, ProgramKind, TestInput, TestRun};
pub use sys::Errno;
