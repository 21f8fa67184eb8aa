//! The eBPF program of bpfecho, in two halves.
//!
//! The pure half makes no system call, knows no hook, and is compiled and tested on the host like any other
//! library. [`mod@reflect`] is its entrance: first to the `fast_path`, and for what is unusual to the `slow_path`,
//! which knows all packet forms and all rules. What both do to TCP is in `segment`, [`mirror`] and `options`; `neighbour` is
//! for virtual hosts. [`host`] says what the rules ask of their surroundings. The thin half (`program`) exists
//! only in the BPF build: the entry points of the hooks, the maps and the calls of kernel helpers. [`abi`] is all
//! that user space needs to know of either.

#![no_std]

pub mod abi;
pub mod address;
mod checksum;
mod fast_path;
pub mod headers;
pub mod hint;
pub mod host;
pub mod mirror;
mod neighbour;
mod options;
pub mod packet;
pub mod reflect;
mod segment;
mod slow_path;

#[cfg(target_arch = "bpf")]
mod program;
