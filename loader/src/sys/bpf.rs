//! bpf(2), one safe function per command.

use alloc::vec;
use alloc::vec::Vec;
use core::ffi::CStr;
use core::mem::size_of;

use super::attr::{
    Attribute, BtfLoad, ById, Information, LinkById, LinkCreate, LinkDetach, LinkInfo, LinkNext, LinkUpdate,
    MapById, MapCreate, MapInfo, MapLookup, MapUpdate, ObjectGet, ObjectInfo, ObjectPin, ProgramBindMap,
    ProgramById, ProgramInfo, ProgramLoad, ProgramQuery, ProgramTestRun,
};
use super::{Errno, Fd};
use crate::instruction::Instruction;
use crate::lines::LineRecord;

/// BPF_PROG_LOAD gives EAGAIN when a signal interrupts the verifier (kernel commit c3494801cd17); libbpf
/// retries as often.
const LOAD_ATTEMPTS: u32 = 5;

/// Makes the call with `attribute` and gives what it returns when that is not negative.
///
/// # Safety
///
/// Each pointer in `attribute` is valid for what the kernel reads or writes through it.
unsafe fn call<A: Attribute>(attribute: &mut A) -> Result<i32, Errno> {
    let pointer: *mut A = attribute;
    // SAFETY: `A` has the layout of its command's attribute (trait contract), the length is its own, and
    // the caller vouches for the pointers inside.
    let result = unsafe { libc::syscall(libc::SYS_bpf, A::COMMAND as libc::c_long, pointer, size_of::<A>()) };
    if result < 0 { Err(Errno::last()) } else { i32::try_from(result).map_err(|_| Errno::EOVERFLOW) }
}

fn address(bytes: &[u8]) -> u64 {
    bytes.as_ptr() as u64
}

fn address_mut(bytes: &mut [u8]) -> u64 {
    bytes.as_mut_ptr() as u64
}

fn length(bytes: &[u8]) -> Result<u32, Errno> {
    u32::try_from(bytes.len()).map_err(|_| Errno::E2BIG)
}

/// A number that the kernel has just returned as a file descriptor is never negative.
fn descriptor(fd: &Fd) -> u32 {
    fd.as_raw().cast_unsigned()
}

/// Type and sizes of a map; all but `kind` in bytes or entries.
#[derive(Clone, Copy)]
pub(crate) struct MapShape {
    pub(crate) kind: u32,
    pub(crate) key_size: u32,
    pub(crate) value_size: u32,
    pub(crate) max_entries: u32,
    pub(crate) flags: u32,
    /// Bytes that the kernel reads or writes as a value: `value_size`, or for a per-CPU map
    /// `value_size` rounded up to 8 times the CPUs that there can be.
    pub(crate) transfer_size: usize,
}

/// A map's fd together with the sizes that make calls on it memory safe.
#[derive(Debug)]
pub(crate) struct BpfMap {
    fd: Fd,
    key_size: usize,
    transfer_size: usize,
}

impl BpfMap {
    pub(crate) fn fd(&self) -> &Fd {
        &self.fd
    }

    /// Bytes of a key.
    pub(crate) fn key_size(&self) -> usize {
        self.key_size
    }

    /// Bytes of a value, or of the values of all CPUs that there can be.
    pub(crate) fn transfer_size(&self) -> usize {
        self.transfer_size
    }

    pub(crate) fn info(&self) -> Result<MapInfo, Errno> {
        info(&self.fd)
    }

    /// BPF_MAP_UPDATE_ELEM with flags BPF_ANY. EINVAL when a length is not the map's.
    pub(crate) fn update(&self, key: &[u8], value: &[u8]) -> Result<(), Errno> {
        if key.len() != self.key_size || value.len() != self.transfer_size {
            return Err(Errno::EINVAL);
        }
        let mut attribute = MapUpdate {
            map_fd: descriptor(&self.fd),
            key: address(key),
            value: address(value),
            ..MapUpdate::default()
        };
        // SAFETY: the kernel reads key and value, and both have the sizes the map was created with.
        unsafe { call(&mut attribute) }.map(|_| ())
    }

    /// BPF_MAP_LOOKUP_ELEM into as many bytes as one transfer has. EINVAL when the key's length is not the
    /// map's.
    pub(crate) fn lookup(&self, key: &[u8]) -> Result<Vec<u8>, Errno> {
        if key.len() != self.key_size {
            return Err(Errno::EINVAL);
        }
        let mut value = vec![0; self.transfer_size];
        let mut attribute = MapLookup {
            map_fd: descriptor(&self.fd),
            key: address(key),
            value: address_mut(&mut value),
            ..MapLookup::default()
        };
        // SAFETY: the kernel reads a key and writes a value of the sizes the map was created with.
        unsafe { call(&mut attribute) }.map(|_| value)
    }
}

/// BPF_MAP_CREATE. bpf(2) fds are close-on-exec by themselves.
pub(crate) fn create_map(shape: &MapShape, name: [u8; 16]) -> Result<BpfMap, Errno> {
    let mut attribute = MapCreate {
        map_type: shape.kind,
        key_size: shape.key_size,
        value_size: shape.value_size,
        max_entries: shape.max_entries,
        map_flags: shape.flags,
        map_name: name,
        ..MapCreate::default()
    };
    let key_size = usize::try_from(shape.key_size).map_err(|_| Errno::E2BIG)?;
    // SAFETY: the attribute holds no pointer.
    let fd = unsafe { call(&mut attribute) }.map(Fd::from_kernel)?;
    Ok(BpfMap { fd, key_size, transfer_size: shape.transfer_size })
}

/// BPF_BTF_LOAD (4.18+).
pub(crate) fn load_btf(btf: &[u8]) -> Result<Fd, Errno> {
    let mut attribute = BtfLoad { btf: address(btf), btf_size: length(btf)?, ..BtfLoad::default() };
    // SAFETY: the kernel reads `btf_size` bytes, the length of the slice.
    unsafe { call(&mut attribute) }.map(Fd::from_kernel)
}

/// What BPF_PROG_LOAD loads.
#[derive(Clone, Copy)]
pub(crate) struct ProgramImage<'a> {
    pub(crate) kind: u32,
    /// `BPF_F_*` of BPF_PROG_LOAD.
    pub(crate) flags: u32,
    pub(crate) instructions: &'a [Instruction],
    pub(crate) license: &'a CStr,
    pub(crate) name: [u8; 16],
    /// Source lines, and the BTF with what they refer to (5.0+).
    pub(crate) lines: Option<(&'a Fd, &'a [LineRecord])>,
}

/// BPF_PROG_LOAD. `log` is a verifier log level other than 0 and a buffer that gets a NUL-terminated text.
pub(crate) fn load_program(image: &ProgramImage<'_>, log: Option<(u32, &mut [u8])>) -> Result<Fd, Errno> {
    let mut attribute = ProgramLoad {
        prog_type: image.kind,
        insn_cnt: u32::try_from(image.instructions.len()).map_err(|_| Errno::E2BIG)?,
        insns: image.instructions.as_ptr() as u64,
        license: image.license.as_ptr() as u64,
        prog_flags: image.flags,
        prog_name: image.name,
        ..ProgramLoad::default()
    };
    if let Some((btf, records)) = image.lines {
        attribute.prog_btf_fd = descriptor(btf);
        attribute.line_info_rec_size = LineRecord::SIZE as u32;
        attribute.line_info = records.as_ptr() as u64;
        attribute.line_info_cnt = u32::try_from(records.len()).map_err(|_| Errno::E2BIG)?;
    }
    if let Some((level, buffer)) = log {
        attribute.log_level = level;
        attribute.log_size = length(buffer)?;
        attribute.log_buf = address_mut(buffer);
    }
    let mut attempt = 1;
    loop {
        // SAFETY: the kernel reads `insn_cnt` instructions of 8 bytes, a NUL-terminated license and `line_info_cnt`
        // records of their size, and writes at most `log_size` bytes; all four outlive the call.
        match unsafe { call(&mut attribute) } {
            Err(Errno::EAGAIN) if attempt < LOAD_ATTEMPTS => attempt += 1,
            result => return result.map(Fd::from_kernel),
        }
    }
}

/// BPF_OBJ_GET_INFO_BY_FD.
///
/// # Safety
///
/// Each pointer in `given` is valid for as many ids as is said beside it. The object is of the kind that `T` is about.
unsafe fn info_into<T: Information>(fd: &Fd, given: &mut T) -> Result<(), Errno> {
    let pointer: *mut T = given;
    let mut attribute =
        ObjectInfo { bpf_fd: descriptor(fd), info_len: size_of::<T>() as u32, info: pointer as u64 };
    // SAFETY: the kernel reads and writes `info_len` bytes at `info`, which is exactly the structure's size, and
    // what the caller vouches for.
    unsafe { call(&mut attribute) }.map(|_| ())
}

/// What the kernel knows of an object of the kind that `T` is about, less all lists of ids.
fn info<T: Information>(fd: &Fd) -> Result<T, Errno> {
    let mut info = T::default();
    // SAFETY: no pointer is given.
    unsafe { info_into(fd, &mut info) }?;
    Ok(info)
}

/// The id of a program.
pub(crate) fn program_id(fd: &Fd) -> Result<u32, Errno> {
    info(fd).map(|ProgramInfo { id, .. }| id)
}

/// What the kernel knows of a program, and the ids of the maps that it uses.
pub(crate) fn program_info(fd: &Fd) -> Result<(ProgramInfo, Vec<u32>), Errno> {
    let ProgramInfo { nr_map_ids, .. } = info(fd)?;
    let mut ids = vec![0_u32; usize::try_from(nr_map_ids).map_err(|_| Errno::E2BIG)?];
    let mut info = ProgramInfo { nr_map_ids, map_ids: ids.as_mut_ptr() as u64, ..ProgramInfo::default() };
    // SAFETY: `ids` has room for `nr_map_ids`; should more have been bound meanwhile, the kernel writes no more.
    unsafe { info_into(fd, &mut info) }?;
    ids.truncate(usize::try_from(info.nr_map_ids).map_err(|_| Errno::E2BIG)?);
    Ok((info, ids))
}

/// BPF_PROG_BIND_MAP (5.10+): the map lives as long as the program, and is listed with it.
pub(crate) fn bind_map(program: &Fd, map: &BpfMap) -> Result<(), Errno> {
    let mut attribute =
        ProgramBindMap { prog_fd: descriptor(program), map_fd: descriptor(&map.fd), flags: 0 };
    // SAFETY: the attribute holds no pointer.
    unsafe { call(&mut attribute) }.map(|_| ())
}

fn by_id<const COMMAND: i64>(id: u32) -> Result<Fd, Errno>
where
    ById<COMMAND>: Attribute,
{
    let mut attribute = ById::<COMMAND> { id, ..ById::default() };
    // SAFETY: the attribute holds no pointer.
    unsafe { call(&mut attribute) }.map(Fd::from_kernel)
}

/// BPF_PROG_GET_FD_BY_ID.
pub(crate) fn program_by_id(id: u32) -> Result<Fd, Errno> {
    by_id::<{ ProgramById::COMMAND }>(id)
}

/// BPF_LINK_GET_FD_BY_ID.
pub(crate) fn link_by_id(id: u32) -> Result<Fd, Errno> {
    by_id::<{ LinkById::COMMAND }>(id)
}

/// BPF_LINK_GET_NEXT_ID: the first link behind `id` in the order of ids, of all network namespaces; ENOENT when there is
/// none.
pub(crate) fn next_link(id: u32) -> Result<u32, Errno> {
    let mut attribute = LinkNext { id, ..LinkNext::default() };
    // SAFETY: the attribute holds no pointer.
    unsafe { call(&mut attribute) }?;
    Ok(attribute.next_id)
}

/// BPF_MAP_GET_FD_BY_ID. `transfer_size` gives the bytes of one transfer (see [`MapShape`]) for the map's kind and
/// the size of its values.
pub(crate) fn map_by_id(
    id: u32,
    transfer_size: impl FnOnce(&MapInfo) -> Result<usize, Errno>,
) -> Result<(BpfMap, MapInfo), Errno> {
    let fd = by_id::<{ MapById::COMMAND }>(id)?;
    let info: MapInfo = info(&fd)?;
    let key_size = usize::try_from(info.key_size).map_err(|_| Errno::E2BIG)?;
    let transfer_size = transfer_size(&info)?;
    Ok((BpfMap { fd, key_size, transfer_size }, info))
}

/// BPF_OBJ_PIN.
pub(crate) fn pin(fd: &Fd, path: &CStr) -> Result<(), Errno> {
    let mut attribute =
        ObjectPin { pathname: path.as_ptr() as u64, bpf_fd: descriptor(fd), ..ObjectPin::default() };
    // SAFETY: the kernel reads a NUL-terminated path, which outlives the call.
    unsafe { call(&mut attribute) }.map(|_| ())
}

/// BPF_OBJ_GET.
pub(crate) fn open_pinned(path: &CStr) -> Result<Fd, Errno> {
    let mut attribute = ObjectGet { pathname: path.as_ptr() as u64, ..ObjectGet::default() };
    // SAFETY: the kernel reads a NUL-terminated path, which outlives the call.
    unsafe { call(&mut attribute) }.map(Fd::from_kernel)
}

/// What BPF_LINK_CREATE attaches a program to.
#[derive(Clone, Copy)]
pub(crate) struct LinkTarget {
    pub(crate) interface: u32,
    /// `enum bpf_attach_type`.
    pub(crate) attach_type: u32,
    pub(crate) flags: u32,
    /// For tcx, what stands before or behind.
    pub(crate) relative_id: u32,
}

/// BPF_LINK_CREATE.
pub(crate) fn create_link(program: &Fd, target: &LinkTarget) -> Result<Fd, Errno> {
    let mut attribute = LinkCreate {
        prog_fd: descriptor(program),
        target_ifindex: target.interface,
        attach_type: target.attach_type,
        flags: target.flags,
        relative_id: target.relative_id,
        ..LinkCreate::default()
    };
    // SAFETY: the attribute holds no pointer.
    unsafe { call(&mut attribute) }.map(Fd::from_kernel)
}

/// BPF_LINK_UPDATE: another program takes the place of the one that is attached.
pub(crate) fn update_link(link: &Fd, program: &Fd) -> Result<(), Errno> {
    let mut attribute =
        LinkUpdate { link_fd: descriptor(link), new_prog_fd: descriptor(program), ..LinkUpdate::default() };
    // SAFETY: the attribute holds no pointer.
    unsafe { call(&mut attribute) }.map(|_| ())
}

/// BPF_LINK_DETACH (5.9+).
pub(crate) fn detach_link(link: &Fd) -> Result<(), Errno> {
    // SAFETY: the attribute holds no pointer.
    unsafe { call(&mut LinkDetach { link_fd: descriptor(link) }) }.map(|_| ())
}

/// What the kernel knows of a link.
pub(crate) fn link_info(link: &Fd) -> Result<LinkInfo, Errno> {
    info(link)
}

/// BPF_PROG_QUERY of tcx: the ids of the programs in their order, and of the link of each, 0 without one. `room` is
/// for how many; ENOSPC when there are more.
pub(crate) fn query_programs(
    interface: u32,
    attach_type: u32,
    room: usize,
) -> Result<Vec<(u32, u32)>, Errno> {
    let (mut programs, mut links) = (vec![0_u32; room], vec![0_u32; room]);
    let mut attribute = ProgramQuery {
        target_ifindex: interface,
        attach_type,
        prog_ids: programs.as_mut_ptr() as u64,
        link_ids: links.as_mut_ptr() as u64,
        count: u32::try_from(room).map_err(|_| Errno::E2BIG)?,
        ..ProgramQuery::default()
    };
    // SAFETY: the kernel writes at most `count` ids to each of the two, which have room for as many.
    unsafe { call(&mut attribute) }?;
    let count = usize::try_from(attribute.count).map_err(|_| Errno::E2BIG)?;
    Ok(programs.into_iter().zip(links).take(count).collect())
}

/// What BPF_PROG_TEST_RUN runs on.
pub(crate) struct RunInput<'a> {
    pub(crate) packet: &'a [u8],
    /// `struct __sk_buff` or `struct xdp_md`; empty for none.
    pub(crate) context: &'a [u8],
    pub(crate) repeat: u32,
    /// A sum of `BPF_F_TEST_*`.
    pub(crate) flags: u32,
    /// Live frames at a time.
    pub(crate) batch: u32,
    /// Bytes set aside for the packet as the program leaves it; 0 if it is of no interest.
    pub(crate) room: usize,
}

/// What BPF_PROG_TEST_RUN gives.
pub(crate) struct RunOutput {
    pub(crate) result: u32,
    pub(crate) packet: Vec<u8>,
    /// Mean duration of a run in nanoseconds.
    pub(crate) duration: u32,
}

/// BPF_PROG_TEST_RUN.
pub(crate) fn run_program(fd: &Fd, input: &RunInput<'_>) -> Result<RunOutput, Errno> {
    let mut packet = vec![0; input.room];
    let mut attribute = ProgramTestRun {
        prog_fd: descriptor(fd),
        data_size_in: length(input.packet)?,
        data_size_out: length(&packet)?,
        data_in: address(input.packet),
        // Without a length the kernel would write as much as there is.
        data_out: if packet.is_empty() { 0 } else { address_mut(&mut packet) },
        repeat: input.repeat,
        ctx_size_in: length(input.context)?,
        // The kernel wants no pointer where there is no context.
        ctx_in: if input.context.is_empty() { 0 } else { address(input.context) },
        flags: input.flags,
        batch_size: input.batch,
        ..ProgramTestRun::default()
    };
    // SAFETY: the kernel reads `data_size_in` and `ctx_size_in` bytes and writes at most `data_size_out`;
    // those are the lengths of the slices.
    unsafe { call(&mut attribute) }?;
    packet.truncate(usize::try_from(attribute.data_size_out).map_err(|_| Errno::EOVERFLOW)?);
    Ok(RunOutput { result: attribute.retval, packet, duration: attribute.duration })
}
