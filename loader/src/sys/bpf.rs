//! bpf(2), one safe function per command.

use alloc::vec;
use alloc::vec::Vec;
use core::ffi::CStr;
use core::mem::size_of;

use super::attr::{
    Attribute, InfoHead, MapCreate, MapLookup, MapUpdate, ObjectInfo, ProgramLoad, ProgramTestRun,
};
use super::{Errno, Fd};
use crate::instruction::Instruction;

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
    /// `value_size` rounded up to 8 times the possible CPUs.
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

    /// Bytes of a value, or of the values of all possible CPUs.
    pub(crate) fn transfer_size(&self) -> usize {
        self.transfer_size
    }

    pub(crate) fn id(&self) -> Result<u32, Errno> {
        object_id(&self.fd)
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

/// What BPF_PROG_LOAD loads.
pub(crate) struct ProgramImage<'a> {
    pub(crate) kind: u32,
    pub(crate) instructions: &'a [Instruction],
    pub(crate) license: &'a CStr,
    pub(crate) name: [u8; 16],
}

/// BPF_PROG_LOAD. `log` is a verifier log level other than 0 and a buffer that gets a NUL-terminated text.
pub(crate) fn load_program(image: &ProgramImage<'_>, log: Option<(u32, &mut [u8])>) -> Result<Fd, Errno> {
    let mut attribute = ProgramLoad {
        prog_type: image.kind,
        insn_cnt: u32::try_from(image.instructions.len()).map_err(|_| Errno::E2BIG)?,
        insns: image.instructions.as_ptr() as u64,
        license: image.license.as_ptr() as u64,
        prog_name: image.name,
        ..ProgramLoad::default()
    };
    if let Some((level, buffer)) = log {
        attribute.log_level = level;
        attribute.log_size = length(buffer)?;
        attribute.log_buf = address_mut(buffer);
    }
    let mut attempt = 1;
    loop {
        // SAFETY: the kernel reads `insn_cnt` instructions of 8 bytes and a NUL-terminated license and
        // writes at most `log_size` bytes; all three outlive the call.
        match unsafe { call(&mut attribute) } {
            Err(Errno::EAGAIN) if attempt < LOAD_ATTEMPTS => attempt += 1,
            result => return result.map(Fd::from_kernel),
        }
    }
}

/// The id of a loaded program.
pub(crate) fn program_id(fd: &Fd) -> Result<u32, Errno> {
    object_id(fd)
}

/// BPF_OBJ_GET_INFO_BY_FD of a map or a program.
fn object_id(fd: &Fd) -> Result<u32, Errno> {
    let mut info = InfoHead::default();
    let pointer: *mut InfoHead = &mut info;
    let mut attribute =
        ObjectInfo { bpf_fd: descriptor(fd), info_len: size_of::<InfoHead>() as u32, info: pointer as u64 };
    // SAFETY: the kernel reads and writes `info_len` bytes at `info`, which is exactly `info`'s size.
    unsafe { call(&mut attribute) }?;
    Ok(info.id)
}

/// What BPF_PROG_TEST_RUN runs on.
pub(crate) struct RunInput<'a> {
    pub(crate) packet: &'a [u8],
    /// `struct __sk_buff` or `struct xdp_md`; empty for none.
    pub(crate) context: &'a [u8],
    pub(crate) repeat: u32,
    /// A sum of `BPF_F_TEST_*`.
    pub(crate) flags: u32,
    /// Bytes set aside for the packet as the program leaves it.
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
        data_out: address_mut(&mut packet),
        repeat: input.repeat,
        ctx_size_in: length(input.context)?,
        // The kernel wants no pointer where there is no context.
        ctx_in: if input.context.is_empty() { 0 } else { address(input.context) },
        flags: input.flags,
        ..ProgramTestRun::default()
    };
    // SAFETY: the kernel reads `data_size_in` and `ctx_size_in` bytes and writes at most `data_size_out`;
    // those are the lengths of the slices.
    unsafe { call(&mut attribute) }?;
    packet.truncate(usize::try_from(attribute.data_size_out).map_err(|_| Errno::EOVERFLOW)?);
    Ok(RunOutput { result: attribute.retval, packet, duration: attribute.duration })
}
