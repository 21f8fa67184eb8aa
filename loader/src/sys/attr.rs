//! `union bpf_attr` of `include/uapi/linux/bpf.h`, one structure per command.
//!
//! Each ends with the last field this crate uses: the kernel takes a shorter attribute as if the rest were
//! zero, and an older kernel takes a longer one as long as what it does not know is zero.

use core::mem::{offset_of, size_of};

/// Marks the structures that may be passed to bpf(2).
///
/// # Safety
///
/// The type is `#[repr(C)]`, has no padding and its layout is that of its command's part of `bpf_attr`.
pub(super) unsafe trait Attribute {
    /// The command, `enum bpf_cmd`.
    const COMMAND: i64;
}

macro_rules! attribute {
    ($name:ident, $command:literal, $size:literal, { $($field:ident @ $offset:literal),* $(,)? }) => {
        // SAFETY: the assertions below pin the layout, and size and offsets leave no room for padding.
        unsafe impl Attribute for $name {
            const COMMAND: i64 = $command;
        }
        const _: () = assert!(size_of::<$name>() == $size);
        $(const _: () = assert!(offset_of!($name, $field) == $offset);)*
    };
}

/// BPF_MAP_CREATE.
#[repr(C)]
#[derive(Default)]
pub(super) struct MapCreate {
    pub(super) map_type: u32,
    pub(super) key_size: u32,
    pub(super) value_size: u32,
    pub(super) max_entries: u32,
    pub(super) map_flags: u32,
    pub(super) inner_map_fd: u32,
    pub(super) numa_node: u32,
    pub(super) map_name: [u8; 16],
}
attribute!(MapCreate, 0, 44, {
    map_type @ 0, key_size @ 4, value_size @ 8, max_entries @ 12, map_flags @ 16, inner_map_fd @ 20,
    numa_node @ 24, map_name @ 28,
});

/// BPF_MAP_LOOKUP_ELEM and BPF_MAP_UPDATE_ELEM.
#[repr(C)]
#[derive(Default)]
pub(super) struct MapElement<const COMMAND: i64> {
    pub(super) map_fd: u32,
    pub(super) padding: u32,
    pub(super) key: u64,
    pub(super) value: u64,
    pub(super) flags: u64,
}
pub(super) type MapLookup = MapElement<1>;
pub(super) type MapUpdate = MapElement<2>;
attribute!(MapLookup, 1, 32, { map_fd @ 0, padding @ 4, key @ 8, value @ 16, flags @ 24 });
attribute!(MapUpdate, 2, 32, { map_fd @ 0, padding @ 4, key @ 8, value @ 16, flags @ 24 });

/// BPF_PROG_LOAD.
#[repr(C)]
#[derive(Default)]
pub(super) struct ProgramLoad {
    pub(super) prog_type: u32,
    pub(super) insn_cnt: u32,
    pub(super) insns: u64,
    pub(super) license: u64,
    pub(super) log_level: u32,
    pub(super) log_size: u32,
    pub(super) log_buf: u64,
    pub(super) kern_version: u32,
    pub(super) prog_flags: u32,
    pub(super) prog_name: [u8; 16],
    pub(super) prog_ifindex: u32,
    pub(super) expected_attach_type: u32,
}
attribute!(ProgramLoad, 5, 72, {
    prog_type @ 0, insn_cnt @ 4, insns @ 8, license @ 16, log_level @ 24, log_size @ 28, log_buf @ 32,
    kern_version @ 40, prog_flags @ 44, prog_name @ 48, prog_ifindex @ 64, expected_attach_type @ 68,
});

/// BPF_PROG_TEST_RUN.
#[repr(C)]
#[derive(Default)]
pub(super) struct ProgramTestRun {
    pub(super) prog_fd: u32,
    pub(super) retval: u32,
    pub(super) data_size_in: u32,
    pub(super) data_size_out: u32,
    pub(super) data_in: u64,
    pub(super) data_out: u64,
    pub(super) repeat: u32,
    pub(super) duration: u32,
    pub(super) ctx_size_in: u32,
    pub(super) ctx_size_out: u32,
    pub(super) ctx_in: u64,
    pub(super) ctx_out: u64,
    pub(super) flags: u32,
    pub(super) cpu: u32,
}
attribute!(ProgramTestRun, 10, 72, {
    prog_fd @ 0, retval @ 4, data_size_in @ 8, data_size_out @ 12, data_in @ 16, data_out @ 24, repeat @ 32,
    duration @ 36, ctx_size_in @ 40, ctx_size_out @ 44, ctx_in @ 48, ctx_out @ 56,
    flags @ 64, cpu @ 68,
});

/// BPF_OBJ_GET_INFO_BY_FD.
#[repr(C)]
#[derive(Default)]
pub(super) struct ObjectInfo {
    pub(super) bpf_fd: u32,
    pub(super) info_len: u32,
    pub(super) info: u64,
}
attribute!(ObjectInfo, 15, 16, { bpf_fd @ 0, info_len @ 4, info @ 8 });

/// How `struct bpf_prog_info` and `struct bpf_map_info` both begin. The kernel fills in no more than the
/// length it is given.
#[repr(C)]
#[derive(Default)]
pub(super) struct InfoHead {
    pub(super) kind: u32,
    pub(super) id: u32,
}
const _: () = assert!(size_of::<InfoHead>() == 8 && offset_of!(InfoHead, id) == 4);
