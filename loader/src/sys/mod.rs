//! The only place that makes system calls and says `unsafe`.
//!
//! # Safety
//!
//! Every function here is safe to call: the pointers handed to the kernel come from slices and structures
//! that outlive the call, with the lengths of those slices. What the kernel reads or writes beyond a length
//! that is part of the call (map keys and values, whose size the kernel knows by itself) is checked here
//! against the sizes the map was created with.
#![allow(unsafe_code)] // system calls take raw pointers; see the header

mod attr;
mod bpf;
mod child;
mod errno;
mod fd;
mod process;

pub(crate) use attr::{LinkInfo, MapInfo};
pub(crate) use bpf::{
    BpfMap, LinkTarget, MapShape, ProgramImage, RunInput, bind_map, create_link, create_map, detach_link,
    link_by_id, link_info, load_btf, load_program, map_by_id, next_link, open_pinned, pin, program_by_id,
    program_id, program_info, query_programs, run_program, update_link,
};
pub(crate) use child::LinkingChild;
pub use errno::Errno;
pub(crate) use fd::Fd;
pub(crate) use process::{Evidence, cpu_limit, kernel_release, raise_memlock};
