//! System calls that have no safe form in the standard library.

#![allow(unsafe_code)]

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::mem::zeroed;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use socket2::{Domain, SockAddr, SockAddrStorage, Socket, Type};

/// Whether the process may make namespaces and load programs.
pub(crate) fn is_privileged() -> bool {
    // SAFETY: the call has no preconditions.
    unsafe { libc::geteuid() == 0 }
}

/// Moves this thread into a new network namespace.
pub(crate) fn enter_new_namespace() {
    // SAFETY: the call takes a number only.
    check(unsafe { libc::unshare(libc::CLONE_NEWNET) });
}

/// Moves this thread into a new mount namespace, of which nothing is seen outside.
pub(crate) fn enter_new_mount_namespace() {
    let flags = libc::MS_REC | libc::MS_PRIVATE;
    let none = std::ptr::null();
    // SAFETY: the arguments are flags, a path that is terminated, and nothing where nothing is read.
    unsafe {
        check(libc::unshare(libc::CLONE_NEWNS));
        check(libc::mount(none, c"/".as_ptr(), none, flags, none.cast()));
    }
}

/// Mounts a bpf filesystem at its usual place, in front of what is there.
pub(crate) fn mount_bpffs() {
    let (source, target) = (c"bpf".as_ptr(), BPFFS.as_ptr());
    // SAFETY: the texts are terminated, and there are no options.
    check(unsafe { libc::mount(source, target, source, 0, std::ptr::null()) });
}

/// Takes away the bpf filesystem that is in front.
pub(crate) fn unmount_bpffs() {
    // SAFETY: the text is terminated.
    check(unsafe { libc::umount(BPFFS.as_ptr()) });
}

/// Where it is.
const BPFFS: &CStr = c"/sys/fs/bpf";

/// Moves this thread into a network namespace that exists.
pub(crate) fn enter_namespace(namespace: &impl AsFd) {
    // SAFETY: the call takes numbers only.
    check(unsafe { libc::setns(namespace.as_fd().as_raw_fd(), libc::CLONE_NEWNET) });
}

/// A socket for whole frames of `interface`, sent and received; not those that others send.
pub(crate) fn packet_socket(interface: &str) -> Socket {
    // linux/if_packet.h
    const PACKET_IGNORE_OUTGOING: i32 = 23;
    let every_protocol = (libc::ETH_P_ALL as u16).to_be();
    let socket = Socket::new(Domain::PACKET, Type::RAW, Some(i32::from(every_protocol).into())).unwrap();
    let name = CString::new(interface).unwrap();
    let mut storage = SockAddrStorage::zeroed();
    let on = 1i32;
    // SAFETY: the name is terminated, the integer is live, and the structure is that of the socket's family.
    unsafe {
        let to: &mut libc::sockaddr_ll = storage.view_as();
        to.sll_family = libc::AF_PACKET as u16;
        to.sll_protocol = every_protocol;
        to.sll_ifindex = libc::if_nametoindex(name.as_ptr()) as i32;
        check(libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            PACKET_IGNORE_OUTGOING,
            (&raw const on).cast(),
            size_of_val(&on) as libc::socklen_t,
        ));
        let address = SockAddr::new(storage, size_of::<libc::sockaddr_ll>() as libc::socklen_t);
        socket.bind(&address).unwrap();
    }
    socket
}

/// Makes a tun device: what is written to the file arrives on `interface`, what is sent there is read.
/// Packets begin with their IP header. The device vanishes with the file.
pub(crate) fn tun(interface: &str) -> File {
    let file = File::options().read(true).write(true).open("/dev/net/tun").unwrap();
    // SAFETY: the structure is live, and the name in it is terminated, as it is shorter than its room.
    unsafe {
        let mut request: libc::ifreq = zeroed();
        assert!(interface.len() < request.ifr_name.len());
        for (to, from) in request.ifr_name.iter_mut().zip(interface.bytes()) {
            *to = from as _;
        }
        request.ifr_ifru.ifru_flags = (libc::IFF_TUN | libc::IFF_NO_PI) as i16;
        check(libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &request));
    }
    file
}

/// Keeps this thread on the CPU that it is on. What it sends over cables is then received in this order.
pub(crate) fn stay_on_this_cpu() {
    // SAFETY: the set is live, and the number is that of a CPU.
    unsafe {
        let mut set: libc::cpu_set_t = zeroed();
        libc::CPU_SET(check(libc::sched_getcpu()) as usize, &mut set);
        check(libc::sched_setaffinity(0, size_of_val(&set), &set));
    }
}

/// Waits until `file` can be read. Whether it can, before `milliseconds` are over.
pub(crate) fn await_readable(file: &impl AsFd, milliseconds: i32) -> bool {
    let mut poll = libc::pollfd { fd: file.as_fd().as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: the structure is live, and there is one.
    check(unsafe { libc::poll(&mut poll, 1, milliseconds) }) == 1
}

/// Sends `signal` to process `pid`, which must be a child of this process.
pub(crate) fn kill(pid: u32, signal: i32) {
    // SAFETY: the call has no preconditions.
    check(unsafe { libc::kill(pid as i32, signal) });
}

/// What a connection agreed on: bits of `tcpi_options` (linux/tcp.h).
pub(crate) mod tcp_option {
    pub(crate) const TIMESTAMPS: u8 = 1;
    pub(crate) const SACK: u8 = 2;
    pub(crate) const WINDOW_SCALE: u8 = 4;
    pub(crate) const ECN: u8 = 8;
}

/// The kernel's numbers of a TCP connection.
pub(crate) fn tcp_info(socket: &impl AsFd) -> libc::tcp_info {
    // SAFETY: the kernel fills at most the given length, and any value is valid.
    unsafe {
        let mut info: libc::tcp_info = zeroed();
        let mut length = size_of_val(&info) as libc::socklen_t;
        check(libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            (&raw mut info).cast(),
            &mut length,
        ));
        info
    }
}

/// The window scales in `info`: that of the peer's windows and that of one's own. They are bit fields of one
/// byte, which the binding has as it is.
pub(crate) fn window_scales(info: &libc::tcp_info) -> [u8; 2] {
    let byte = info.tcpi_snd_rcv_wscale;
    [byte & 0xf, byte >> 4]
}

/// Lets the socket cut what is sent at once into datagrams of `size` bytes, as late as possible (UDP GSO).
pub(crate) fn set_udp_segment(socket: &impl AsFd, size: i32) {
    // SAFETY: the pointer and the length are those of a live integer.
    check(unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_UDP,
            libc::UDP_SEGMENT,
            (&raw const size).cast(),
            size_of_val(&size) as libc::socklen_t,
        )
    });
}

/// Lets the socket send its first data with the SYN.
pub(crate) fn set_fast_open_connect(socket: &impl AsFd) {
    let on = 1i32;
    // SAFETY: the pointer and the length are those of a live integer.
    check(unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_FASTOPEN_CONNECT,
            (&raw const on).cast(),
            size_of_val(&on) as libc::socklen_t,
        )
    });
}

/// Gives up what this thread may do, but for these capabilities (linux/capability.h).
pub(crate) fn keep_capabilities(capabilities: &[u32]) {
    set_capabilities(capabilities, false).unwrap();
}

/// Sets what this thread may do, and what programs that it starts may inherit.
fn set_capabilities(capabilities: &[u32], inheritable: bool) -> io::Result<()> {
    const _LINUX_CAPABILITY_VERSION_3: u32 = 0x2008_0522;
    let mut header = [_LINUX_CAPABILITY_VERSION_3, 0];
    // Of each half of the capabilities those that are effective, permitted and inheritable.
    let mut sets = [0u32; 6];
    for capability in capabilities {
        for set in &mut sets[*capability as usize / 32 * 3..][..2 + usize::from(inheritable)] {
            *set |= 1 << (capability % 32);
        }
    }
    // SAFETY: the structures are live, and two words and twice three of them.
    done(unsafe { libc::syscall(libc::SYS_capset, header.as_mut_ptr(), sets.as_ptr()) })
}

/// Lets `command` run as this user, of no groups, with these capabilities.
pub(crate) fn run_as(command: &mut Command, user: u32, capabilities: Vec<u32>) {
    // Made between fork and exec, so no function of the C library that waits for other threads.
    let become_user = move || {
        const KEEP: libc::c_ulong = 1;
        // SAFETY: the calls take numbers, and a list of which nothing is read.
        unsafe {
            done(libc::syscall(libc::SYS_setgroups, 0, std::ptr::null::<libc::gid_t>()))?;
            done(libc::syscall(libc::SYS_setresgid, user, user, user))?;
            done(libc::prctl(libc::PR_SET_KEEPCAPS, KEEP).into())?;
            done(libc::syscall(libc::SYS_setresuid, user, user, user))?;
        }
        set_capabilities(&capabilities, true)?;
        for capability in &capabilities {
            let (operation, capability) = (libc::PR_CAP_AMBIENT_RAISE, libc::c_ulong::from(*capability));
            // SAFETY: the call takes numbers only.
            done(unsafe { libc::prctl(libc::PR_CAP_AMBIENT, operation, capability, 0, 0) }.into())?;
        }
        Ok(())
    };
    // SAFETY: the closure makes system calls only, and reads what it owns.
    unsafe { command.pre_exec(become_user) };
}

fn done(result: libc::c_long) -> io::Result<()> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Lifts the limit of locked memory, for this process and those that it starts.
pub(crate) fn allow_locked_memory() {
    let limit = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: the structure is live.
    check(unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &limit) });
}

/// Raises the limit of open files to what it may be.
pub(crate) fn allow_many_files() {
    // SAFETY: the structure is live.
    unsafe {
        let mut limit: libc::rlimit = zeroed();
        check(libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit));
        limit.rlim_cur = limit.rlim_max;
        check(libc::setrlimit(libc::RLIMIT_NOFILE, &limit));
    }
}

fn check(result: i32) -> i32 {
    assert!(result != -1, "{}", io::Error::last_os_error());
    result
}
