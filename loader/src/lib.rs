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
//! Programs and maps have names, which the kernel takes since 4.15 (commits cb4d2b3f03d8 and ad5b177bd73f). It is not
//! asked what else it has, but told what to do, and where an older one does not:
//!
//! | since | what | without it |
//! |---|---|---|
//! | 4.12 | texts with errors of rtnetlink | hints go by the error number |
//! | 5.0 | source lines (c454a46b5efd) | the verifier's log lacks them |
//! | 5.7 | a program that is expected on XDP (92234c8f15c8) | it is looked up before it is taken away |
//! | 5.8 | CAP_BPF (2c78ee898d8f) | CAP_SYS_ADMIN |
//! | 5.9 | links to XDP (aa8d3a716b59) | an error; `rtnetlink` has XDP without links |
//! | 5.10 | maps that are bound to programs (ef15314aa5de) | an error |
//! | 5.11 | memory that no limit is charged for (3ac1f01b43b6) | the limit is raised |
//! | 5.18 | XDP for packets in several buffers (c2f2cdbeffda) | an error; [`ProgramKind::Xdp`] is for one |
//! | 5.18 | test runs on live frames (b530e9e1063e) | an error |
//! | 6.6 | tcx (e420bed02507) | an error; `rtnetlink` has clsact |
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
mod placeholder;
mod program;
#[cfg(feature = "std")]
pub mod rtnetlink;
mod sys;
#[cfg(test)]
mod tests;

pub use bpf_link::{BpfLink, BpfLinkError, BpfLinkInfo, LinkHook, Position, TcxProgram, links, tcx_programs};
pub use instruction::Instruction;
pub use link::{LinkError, LinkedProgram, Location};
pub use map::{Map, MapError, ValuesPerCpu};
pub use object::{MapDefinition, Object};
pub use parse_error::ParseError;
pub use place::{IfIndex, Side, XdpMode};
pub use placeholder::Placeholder;
pub use program::{LoadError, Program, ProgramError, ProgramInfo, ProgramKind, TestInput, TestRun};
pub use sys::Errno;
