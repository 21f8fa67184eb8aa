//! The eBPF program of bpfecho, in two halves.
//!
//! The pure half ([`packet`], [`headers`], `options`, [`mirror`], [`reflect`]) holds the packet formats and
//! the mirror rules. It makes no system call, knows no hook, and is compiled and tested on the host like any
//! other library. The thin half (`program`) exists only in the BPF build: the entry point of the hook, the
//! maps and the calls of kernel helpers. [`abi`] is all that user space needs to know of either.

#![no_std]

pub mod abi;
mod checksum;
pub mod headers;
pub mod mirror;
mod options;
pub mod packet;
pub mod reflect;

#[cfg(target_arch = "bpf")]
mod program;
