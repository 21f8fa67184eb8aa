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
    pub(super) prog_btf_fd: u32,
    pub(super) func_info_rec_size: u32,
    pub(super) func_info: u64,
    pub(super) func_info_cnt: u32,
    pub(super) line_info_rec_size: u32,
    pub(super) line_info: u64,
    pub(super) line_info_cnt: u32,
    pub(super) attach_btf_id: u32,
}
attribute!(ProgramLoad, 5, 112, {
    prog_type @ 0, insn_cnt @ 4, insns @ 8, license @ 16, log_level @ 24, log_size @ 28, log_buf @ 32,
    kern_version @ 40, prog_flags @ 44, prog_name @ 48, prog_ifindex @ 64, expected_attach_type @ 68,
    prog_btf_fd @ 72, func_info_rec_size @ 76, func_info @ 80, func_info_cnt @ 88, line_info_rec_size @ 92,
    line_info @ 96, line_info_cnt @ 104, attach_btf_id @ 108,
});

/// BPF_OBJ_PIN and BPF_OBJ_GET.
#[repr(C)]
#[derive(Default)]
pub(super) struct ObjectPath<const COMMAND: i64> {
    pub(super) pathname: u64,
    pub(super) bpf_fd: u32,
    pub(super) file_flags: u32,
}
pub(super) type ObjectPin = ObjectPath<6>;
pub(super) type ObjectGet = ObjectPath<7>;
attribute!(ObjectPin, 6, 16, { pathname @ 0, bpf_fd @ 8, file_flags @ 12 });
attribute!(ObjectGet, 7, 16, { pathname @ 0, bpf_fd @ 8, file_flags @ 12 });

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
    pub(super) batch_size: u32,
    pub(super) padding: u32,
}
attribute!(ProgramTestRun, 10, 80, {
    prog_fd @ 0, retval @ 4, data_size_in @ 8, data_size_out @ 12, data_in @ 16, data_out @ 24, repeat @ 32,
    duration @ 36, ctx_size_in @ 40, ctx_size_out @ 44, ctx_in @ 48, ctx_out @ 56,
    flags @ 64, cpu @ 68, batch_size @ 72, padding @ 76,
});

/// BPF_PROG_GET_FD_BY_ID, BPF_MAP_GET_FD_BY_ID, BPF_LINK_GET_FD_BY_ID, and BPF_LINK_GET_NEXT_ID, where `id` is the one
/// to begin behind.
#[repr(C)]
#[derive(Default)]
pub(super) struct ById<const COMMAND: i64> {
    pub(super) id: u32,
    pub(super) next_id: u32,
    pub(super) open_flags: u32,
}
pub(super) type ProgramById = ById<13>;
pub(super) type MapById = ById<14>;
pub(super) type LinkById = ById<30>;
pub(super) type LinkNext = ById<31>;
attribute!(ProgramById, 13, 12, { id @ 0, next_id @ 4, open_flags @ 8 });
attribute!(MapById, 14, 12, { id @ 0, next_id @ 4, open_flags @ 8 });
attribute!(LinkById, 30, 12, { id @ 0, next_id @ 4, open_flags @ 8 });
attribute!(LinkNext, 31, 12, { id @ 0, next_id @ 4, open_flags @ 8 });

/// BPF_OBJ_GET_INFO_BY_FD.
#[repr(C)]
#[derive(Default)]
pub(super) struct ObjectInfo {
    pub(super) bpf_fd: u32,
    pub(super) info_len: u32,
    pub(super) info: u64,
}
attribute!(ObjectInfo, 15, 16, { bpf_fd @ 0, info_len @ 4, info @ 8 });

/// BPF_PROG_QUERY.
#[repr(C)]
#[derive(Default)]
pub(super) struct ProgramQuery {
    pub(super) target_ifindex: u32,
    pub(super) attach_type: u32,
    pub(super) query_flags: u32,
    pub(super) attach_flags: u32,
    pub(super) prog_ids: u64,
    pub(super) count: u32,
    pub(super) padding: u32,
    pub(super) prog_attach_flags: u64,
    pub(super) link_ids: u64,
    pub(super) link_attach_flags: u64,
    pub(super) revision: u64,
}
attribute!(ProgramQuery, 16, 64, {
    target_ifindex @ 0, attach_type @ 4, query_flags @ 8, attach_flags @ 12, prog_ids @ 16, count @ 24,
    padding @ 28, prog_attach_flags @ 32, link_ids @ 40, link_attach_flags @ 48, revision @ 56,
});

/// BPF_BTF_LOAD.
#[repr(C)]
#[derive(Default)]
pub(super) struct BtfLoad {
    pub(super) btf: u64,
    pub(super) btf_log_buf: u64,
    pub(super) btf_size: u32,
    pub(super) btf_log_size: u32,
}
attribute!(BtfLoad, 18, 24, { btf @ 0, btf_log_buf @ 8, btf_size @ 16, btf_log_size @ 20 });

/// BPF_LINK_CREATE of XDP, and of tcx, which alone has a relative.
#[repr(C)]
#[derive(Default)]
pub(super) struct LinkCreate {
    pub(super) prog_fd: u32,
    pub(super) target_ifindex: u32,
    pub(super) attach_type: u32,
    pub(super) flags: u32,
    pub(super) relative_id: u32,
    pub(super) padding: u32,
    pub(super) expected_revision: u64,
}
attribute!(LinkCreate, 28, 32, {
    prog_fd @ 0, target_ifindex @ 4, attach_type @ 8, flags @ 12, relative_id @ 16, padding @ 20,
    expected_revision @ 24,
});

/// BPF_LINK_UPDATE.
#[repr(C)]
#[derive(Default)]
pub(super) struct LinkUpdate {
    pub(super) link_fd: u32,
    pub(super) new_prog_fd: u32,
    pub(super) flags: u32,
    pub(super) old_prog_fd: u32,
}
attribute!(LinkUpdate, 29, 16, { link_fd @ 0, new_prog_fd @ 4, flags @ 8, old_prog_fd @ 12 });

/// BPF_LINK_DETACH.
#[repr(C)]
#[derive(Default)]
pub(super) struct LinkDetach {
    pub(super) link_fd: u32,
}
attribute!(LinkDetach, 34, 4, { link_fd @ 0 });

/// BPF_PROG_BIND_MAP.
#[repr(C)]
#[derive(Default)]
pub(super) struct ProgramBindMap {
    pub(super) prog_fd: u32,
    pub(super) map_fd: u32,
    pub(super) flags: u32,
}
attribute!(ProgramBindMap, 35, 12, { prog_fd @ 0, map_fd @ 4, flags @ 8 });

/// Marks what BPF_OBJ_GET_INFO_BY_FD fills in: no more than the length that it is given, so each structure ends
/// with the last field this crate uses.
///
/// # Safety
///
/// The type is `#[repr(C)]`, any bytes are a value of it, and its layout is how the kernel's structure of information
/// about the object begins.
pub(super) unsafe trait Information: Default {}

/// How `struct bpf_map_info` begins.
#[repr(C)]
#[derive(Default, Clone, Copy)]
pub(crate) struct MapInfo {
    pub(crate) kind: u32,
    pub(crate) id: u32,
    pub(crate) key_size: u32,
    pub(crate) value_size: u32,
    pub(crate) max_entries: u32,
    pub(crate) map_flags: u32,
    pub(crate) name: [u8; 16],
}
const _: () = assert!(size_of::<MapInfo>() == 40 && offset_of!(MapInfo, name) == 24);
// SAFETY: the assertion pins the layout; numbers and bytes.
unsafe impl Information for MapInfo {}

/// How `struct bpf_prog_info` begins.
#[repr(C)]
#[derive(Default, Clone, Copy)]
pub(crate) struct ProgramInfo {
    pub(crate) kind: u32,
    pub(crate) id: u32,
    pub(crate) tag: [u8; 8],
    pub(crate) jited_prog_len: u32,
    pub(crate) xlated_prog_len: u32,
    pub(crate) jited_prog_insns: u64,
    pub(crate) xlated_prog_insns: u64,
    pub(crate) load_time: u64,
    pub(crate) created_by_uid: u32,
    pub(crate) nr_map_ids: u32,
    pub(crate) map_ids: u64,
    pub(crate) name: [u8; 16],
}
const _: () = assert!(size_of::<ProgramInfo>() == 80 && offset_of!(ProgramInfo, load_time) == 40);
const _: () = assert!(offset_of!(ProgramInfo, map_ids) == 56 && offset_of!(ProgramInfo, name) == 64);
// SAFETY: the assertions pin the layout; numbers and bytes.
unsafe impl Information for ProgramInfo {}

/// How `struct bpf_link_info` begins, for XDP and tcx.
#[repr(C)]
#[derive(Default, Clone, Copy)]
pub(crate) struct LinkInfo {
    pub(crate) kind: u32,
    pub(crate) id: u32,
    pub(crate) prog_id: u32,
    pub(crate) padding: u32,
    pub(crate) ifindex: u32,
    pub(crate) attach_type: u32,
}
const _: () = assert!(size_of::<LinkInfo>() == 24 && offset_of!(LinkInfo, ifindex) == 16);
// SAFETY: the assertion pins the layout; numbers.
unsafe impl Information for LinkInfo {}
