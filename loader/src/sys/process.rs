//! What this process may do and what it runs on: evidence for hints.

use alloc::vec::Vec;

use super::Errno;

/// What a hint may be based on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Evidence {
    /// Effective capabilities, bit n for capability n; `None` when capget(2) fails.
    pub(crate) capabilities: Option<u64>,
    /// Whether the kernel knows CAP_BPF (5.8+).
    pub(crate) knows_cap_bpf: bool,
    /// Kernel version, major and minor; `None` when it can not be read.
    pub(crate) kernel: Option<(u32, u32)>,
    /// Soft limit of locked memory in bytes; `None` when it can not be read or there is none.
    pub(crate) memlock: Option<u64>,
}

impl Evidence {
    /// Asks the kernel.
    pub(crate) fn gather() -> Self {
        Self {
            capabilities: effective_capabilities(),
            knows_cap_bpf: knows_capability(39),
            kernel: kernel_release(),
            memlock: memlock(),
        }
    }
}

/// `struct __user_cap_header_struct`.
#[repr(C)]
struct CapabilityHeader {
    version: u32,
    pid: i32,
}

/// `struct __user_cap_data_struct`; version 3 fills two of them.
#[repr(C)]
#[derive(Default, Clone, Copy)]
struct CapabilityData {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

const CAPABILITY_VERSION_3: u32 = 0x2008_0522;

fn effective_capabilities() -> Option<u64> {
    let mut header = CapabilityHeader { version: CAPABILITY_VERSION_3, pid: 0 };
    let mut data = [CapabilityData::default(); 2];
    // SAFETY: capget(2) reads and may rewrite the header and writes two data structures for version 3.
    let result = unsafe { libc::syscall(libc::SYS_capget, &raw mut header, data.as_mut_ptr()) };
    let [low, high] = data;
    (result == 0).then(|| u64::from(low.effective) | u64::from(high.effective) << 32)
}

fn knows_capability(number: u32) -> bool {
    // SAFETY: PR_CAPBSET_READ takes a number and touches no memory.
    unsafe { libc::prctl(libc::PR_CAPBSET_READ, libc::c_ulong::from(number), 0, 0, 0) >= 0 }
}

/// The running kernel's version, major and minor.
pub(crate) fn kernel_release() -> Option<(u32, u32)> {
    // SAFETY: `utsname` is arrays of characters, for which zeros are valid.
    let mut name: libc::utsname = unsafe { core::mem::zeroed() };
    // SAFETY: uname(2) writes one `utsname`.
    if unsafe { libc::uname(&mut name) } != 0 {
        return None;
    }
    let release: Vec<u8> = name.release.iter().map(|&character| character as u8).collect();
    parse_release(&release)
}

/// Major and minor of a release such as `5.10.0-30-amd64`.
fn parse_release(release: &[u8]) -> Option<(u32, u32)> {
    let mut numbers = release.split(|byte| !byte.is_ascii_digit()).map(parse_number);
    Some((numbers.next()??, numbers.next()??))
}

fn parse_number(digits: &[u8]) -> Option<u32> {
    core::str::from_utf8(digits).ok()?.parse().ok()
}

fn memlock() -> Option<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: getrlimit(2) writes one `rlimit`.
    let result = unsafe { libc::getrlimit(libc::RLIMIT_MEMLOCK, &mut limit) };
    // As wide as a C long on some 32-bit targets.
    #[allow(clippy::useless_conversion)]
    (result == 0 && limit.rlim_cur != libc::RLIM_INFINITY).then_some(limit.rlim_cur.into())
}

/// Lifts the limit of locked memory and says whether that changed anything.
pub(crate) fn raise_memlock() -> bool {
    if memlock().is_none() {
        return false;
    }
    let limit = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: setrlimit(2) reads one `rlimit`.
    unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &limit) == 0 }
}

/// The most CPUs that any kernel is built for (CONFIG_NR_CPUS).
const CPU_LIMIT: usize = 8192;

/// How many CPUs there can be on this machine at most: no fewer than the kernel keeps per-CPU values for. It takes no
/// file: a mask of CPUs has a bit for each, and the kernel says how many bytes of a mask it has written (kernel/sched,
/// sched_getaffinity(2); cpumask_size() in linux/cpumask.h covers nr_cpu_ids, the possible ones).
pub(crate) fn cpu_limit() -> Result<usize, Errno> {
    let mut mask = [0_u8; CPU_LIMIT / 8];
    // The C library's function does not say how many.
    // SAFETY: the kernel writes at most as many bytes as `mask` has.
    let written = unsafe { libc::syscall(libc::SYS_sched_getaffinity, 0, mask.len(), mask.as_mut_ptr()) };
    usize::try_from(written).map(|bytes| bytes * 8).map_err(|_| Errno::last())
}

#[cfg(test)]
mod tests {
    use super::{cpu_limit, parse_release};

    #[test]
    fn no_cpu_is_left_out() {
        let possible = std::fs::read_to_string("/sys/devices/system/cpu/possible").unwrap();
        let last: usize = possible.trim_end().rsplit(['-', ',']).next().unwrap().parse().unwrap();
        let limit = cpu_limit().unwrap();
        assert!(limit > last && limit.is_multiple_of(usize::BITS as usize), "{possible}: {limit}");
    }

    #[test]
    fn releases() {
        assert_eq!(parse_release(b"5.10.0-30-amd64\0\0"), Some((5, 10)));
        assert_eq!(parse_release(b"6.18-rc1\0"), Some((6, 18)));
        assert_eq!(parse_release(b"7"), None);
        assert_eq!(parse_release(b""), None);
    }
}
