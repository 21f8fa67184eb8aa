//! Loaded programs.

use alloc::borrow::Cow;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

use crate::hint::{self, Failure};
use crate::link::LinkedProgram;
use crate::map::{Map, write_hint};
use crate::sys::{self, Errno, Fd, ProgramImage, RunInput};

/// First and last size of the buffer for the verifier's log in bytes. Above the last one old kernels
/// refuse (UINT_MAX >> 8 before kernel commit 7a9f5c65abcc, 5.2).
const LOG_SIZES: (usize, usize) = (64 << 10, (16 << 20) - 1);

/// Longest `BPF_OBJ_NAME_LEN` text, without its NUL.
const NAME_LENGTH: usize = 15;

/// Bytes by which a program may lengthen a packet in a test run.
const TEST_RUN_GROWTH: usize = 512;

/// BPF_F_TEST_XDP_LIVE_FRAMES.
const LIVE_FRAMES: u32 = 1 << 1;

/// BPF_F_TEST_SKB_CHECKSUM_COMPLETE.
const CHECKSUM_COMPLETE: u32 = 1 << 2;

/// For loading (linux/bpf.h).
const BPF_F_XDP_HAS_FRAGS: u32 = 1 << 5;

/// What kind of program to load, `enum bpf_prog_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProgramKind {
    /// A traffic control classifier.
    SchedCls,
    /// An XDP program.
    Xdp,
    /// An XDP program for packets in several buffers, too (5.18+).
    XdpFrags,
}

impl ProgramKind {
    /// In `enum bpf_prog_type`.
    pub(crate) fn number(self) -> u32 {
        match self {
            Self::SchedCls => 3,
            Self::Xdp | Self::XdpFrags => 6,
        }
    }
}

/// A program in the kernel. It goes away with the last attachment and the last `Program` that hold it.
#[derive(Debug)]
pub struct Program {
    fd: Fd,
    name: String,
}

/// What a [test run](Program::test_run) runs on.
#[derive(Debug, Clone, Copy)]
pub struct TestInput<'a> {
    /// The frame from its Ethernet header on, at least 14 bytes.
    pub packet: &'a [u8],
    /// `struct __sk_buff` or `struct xdp_md` in the host's byte order; empty for the kernel's choice
    /// (5.2+).
    pub context: &'a [u8],
    /// How often to run; all runs but the first see the packet as the one before left it.
    pub repeat: u32,
    /// Whether the packet comes with a checksum over all of it (CHECKSUM_COMPLETE), as from a network card,
    /// which the program has to keep right (6.16+).
    pub checksum_complete: bool,
}

impl<'a> From<&'a [u8]> for TestInput<'a> {
    fn from(packet: &'a [u8]) -> Self {
        Self { packet, context: &[], repeat: 1, checksum_complete: false }
    }
}

impl<'a, const LENGTH: usize> From<&'a [u8; LENGTH]> for TestInput<'a> {
    fn from(packet: &'a [u8; LENGTH]) -> Self {
        Self::from(packet.as_slice())
    }
}

impl<'a> From<&'a Vec<u8>> for TestInput<'a> {
    fn from(packet: &'a Vec<u8>) -> Self {
        Self::from(packet.as_slice())
    }
}

/// What a [test run](Program::test_run) gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestRun {
    /// What the program returned.
    pub verdict: i32,
    /// The packet as the last run left it.
    pub packet: Vec<u8>,
    /// Mean duration of one run in nanoseconds.
    pub duration_ns: u32,
}

/// What the kernel knows of a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProgramInfo {
    /// Its id.
    pub id: u32,
    /// When it was loaded, in nanoseconds since the machine was started.
    pub loaded_ns: u64,
    /// Whether it was compiled to instructions of the machine. Without CAP_BPF it seems not to be.
    pub is_native: bool,
    /// The ids of its maps.
    pub maps: Vec<u32>,
}

impl LinkedProgram<'_> {
    /// Loads the program. On a kernel before 5.11 the limit of locked memory is raised when it is in the
    /// way. `verbose_log` asks for a log of every step of the verifier, should it reject the program.
    ///
    /// # Errors
    ///
    /// [`LoadError`] with the verifier's log.
    pub fn load(&self, kind: ProgramKind, verbose_log: bool) -> Result<Program, LoadError> {
        let image = ProgramImage {
            kind: kind.number(),
            flags: if kind == ProgramKind::XdpFrags { BPF_F_XDP_HAS_FRAGS } else { 0 },
            instructions: self.instructions(),
            license: self.license(),
            name: kernel_name(self.name()),
            lines: None,
        };
        let level = if verbose_log { 2 } else { 1 };
        // The first attempt goes without a log: writing one takes longer than the rest of the verifier. And without
        // source lines, which only a log has.
        let (errno, log) = match retry_with_memlock(|| sys::load_program(&image, None)) {
            Ok(fd) => return Ok(self.loaded(fd)),
            // Not a matter of the program.
            Err(Errno::EPERM) => (Errno::EPERM, String::new()),
            Err(_) => match self.load_for_log(&image, level) {
                Ok(fd) => return Ok(self.loaded(fd)),
                Err(failure) => failure,
            },
        };
        let failure = Failure::ProgramLoad { license: self.license().to_bytes(), log: &log };
        let hint = hint::explain(failure, errno);
        Err(LoadError { program: self.name().into(), errno, log, hint })
    }

    /// Loads with a log, with source lines in it if possible; gives the log when that fails.
    fn load_for_log(&self, image: &ProgramImage<'_>, level: u32) -> Result<Fd, (Errno, String)> {
        if let Some(lines) = self.lines()
            && let Ok(btf) = sys::load_btf(lines.btf)
        {
            let image = ProgramImage { lines: Some((&btf, &lines.records)), ..*image };
            match load_with_log(&image, level) {
                // Kernels before 5.0 do not know of lines and say nothing; others say why they refuse these
                // (check_btf_line() in kernel/bpf/verifier.c).
                Err((_, log)) if reason(&log).is_none_or(|reason| reason.contains("line_info")) => {}
                result => return result,
            }
        }
        load_with_log(image, level)
    }

    fn loaded(&self, fd: Fd) -> Program {
        Program { fd, name: self.name().into() }
    }
}

/// Loads with a log that grows until it holds everything; gives the log when that fails.
fn load_with_log(image: &ProgramImage<'_>, level: u32) -> Result<Fd, (Errno, String)> {
    let (mut size, limit) = LOG_SIZES;
    loop {
        let mut buffer = vec![0; size];
        match sys::load_program(image, Some((level, &mut buffer))) {
            Ok(fd) => return Ok(fd),
            // The log was cut off.
            Err(Errno::ENOSPC) if size < limit => size = size.saturating_mul(4).min(limit),
            Err(errno) => {
                return Err((errno, text(&buffer)));
            }
        }
    }
}

/// The last line of a log that is about the program and not about the verifier's work.
fn reason(log: &str) -> Option<&str> {
    let is_statistics = |line: &&str| {
        ["processed ", "verification time ", "stack depth ", "mark_precise:"]
            .iter()
            .any(|start| line.starts_with(start))
    };
    log.lines().rev().map(str::trim).find(|line| !line.is_empty() && !is_statistics(line))
}

/// The source line that a log was at last: text, from 6.9 on with file and number.
fn source_line(log: &str) -> Option<&str> {
    log.lines().rev().find_map(|line| line.strip_prefix("; "))
}

impl Program {
    /// The name of the program's symbol.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The kernel's id of the program.
    ///
    /// # Errors
    ///
    /// [`ProgramError`].
    pub fn id(&self) -> Result<u32, ProgramError> {
        sys::program_id(&self.fd).map_err(|errno| self.error("reading the id", errno))
    }

    /// The program with the kernel's id `id`; it need not have been loaded here. Needs CAP_SYS_ADMIN.
    ///
    /// # Errors
    ///
    /// [`ProgramError`]: ENOENT when there is none.
    pub fn open(id: u32) -> Result<Self, ProgramError> {
        let failed = |errno| ProgramError {
            program: format!("{id}"),
            operation: "opening it",
            errno,
            hint: hint::explain(Failure::OpenById, errno),
        };
        let fd = sys::program_by_id(id).map_err(failed)?;
        let (info, _) = sys::program_info(&fd).map_err(failed)?;
        Ok(Self { fd, name: text(&info.name) })
    }

    /// What the kernel knows of the program.
    ///
    /// # Errors
    ///
    /// [`ProgramError`].
    pub fn info(&self) -> Result<ProgramInfo, ProgramError> {
        let info =
            sys::program_info(&self.fd).map_err(|errno| self.error("reading what is known of it", errno));
        info.map(|(info, maps)| ProgramInfo {
            id: info.id,
            loaded_ns: info.load_time,
            is_native: info.jited_prog_len != 0,
            maps,
        })
    }

    /// Has `map` live as long as the program, and be listed with it, although the program does not use it (5.10+).
    ///
    /// # Errors
    ///
    /// [`ProgramError`]: EINVAL before 5.10.
    pub fn bind(&self, map: &Map) -> Result<(), ProgramError> {
        sys::bind_map(&self.fd, map.raw()).map_err(|errno| self.error("binding a map", errno))
    }

    /// Runs the program in the kernel without a network: a packet alone, or [`TestInput`].
    ///
    /// # Errors
    ///
    /// [`ProgramError`]; EINVAL for a packet of less than 14 bytes and for `checksum_complete` before 6.16,
    /// EBADMSG when the program left that checksum wrong, ENOSPC when it lengthens the packet by more than
    /// 512.
    pub fn test_run<'a>(&self, input: impl Into<TestInput<'a>>) -> Result<TestRun, ProgramError> {
        let TestInput { packet, context, repeat, checksum_complete } = input.into();
        let flags = if checksum_complete { CHECKSUM_COMPLETE } else { 0 };
        let room = packet.len().saturating_add(TEST_RUN_GROWTH);
        let output = sys::run_program(&self.fd, &RunInput { packet, context, repeat, flags, batch: 0, room })
            .map_err(|errno| self.error("test run", errno))?;
        Ok(TestRun {
            verdict: output.result.cast_signed(),
            packet: output.packet,
            duration_ns: output.duration,
        })
    }

    /// Runs an XDP program on `count` frames and does with each what it says, `batch` at a time (5.18+). A frame is
    /// `packet` when it is new, but the memory of one that is gone is used again, with what is in it. Returns the mean
    /// duration for one frame in nanoseconds, with what else this CPU did for it at once.
    ///
    /// # Errors
    ///
    /// [`ProgramError`]; EINVAL before 5.18, E2BIG for a batch of more than 256.
    pub fn run_live(&self, packet: &[u8], count: u32, batch: u32) -> Result<u32, ProgramError> {
        let input = RunInput { packet, context: &[], repeat: count, flags: LIVE_FRAMES, batch, room: 0 };
        let output = sys::run_program(&self.fd, &input);
        output.map(|output| output.duration).map_err(|errno| self.error("run on live frames", errno))
    }

    /// Another descriptor for the same program.
    #[cfg(feature = "std")]
    pub(crate) fn duplicate(&self) -> Result<Self, ProgramError> {
        let fd = self.fd.duplicate().map_err(|errno| self.error("duplicating its descriptor", errno))?;
        Ok(Self { fd, name: self.name.clone() })
    }

    pub(crate) fn fd(&self) -> &Fd {
        &self.fd
    }

    fn error(&self, operation: &'static str, errno: Errno) -> ProgramError {
        let hint = hint::explain(Failure::Bpf, errno);
        ProgramError { program: self.name.clone(), operation, errno, hint }
    }
}

#[cfg(feature = "std")]
impl std::os::fd::AsFd for Program {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// `name` as the kernel takes it: at most 15 bytes of letters, digits, `_` and `.`.
pub(crate) fn kernel_name(name: &str) -> [u8; NAME_LENGTH + 1] {
    let mut result = [0; NAME_LENGTH + 1];
    for (to, from) in result.iter_mut().zip(name.bytes().take(NAME_LENGTH)) {
        let allowed = from.is_ascii_alphanumeric() || from == b'_' || from == b'.';
        *to = if allowed { from } else { b'_' };
    }
    result
}

/// The text in a name as the kernel gives it.
pub(crate) fn text(name: &[u8]) -> String {
    let text = name.split(|&byte| byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(text).into_owned()
}

/// Does `attempt`; where locked memory may be why it got EPERM, raises that limit and does it once more.
pub(crate) fn retry_with_memlock<T>(attempt: impl Fn() -> Result<T, Errno>) -> Result<T, Errno> {
    match attempt() {
        Err(Errno::EPERM) if hint::charges_memlock(sys::kernel_release()) && sys::raise_memlock() => {
            attempt()
        }
        result => result,
    }
}

/// Why the kernel did not load a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadError {
    program: String,
    errno: Errno,
    log: String,
    hint: Option<Cow<'static, str>>,
}

impl LoadError {
    /// The error number of BPF_PROG_LOAD.
    pub fn errno(&self) -> Errno {
        self.errno
    }

    /// The verifier's whole log; empty when the verifier was not reached.
    pub fn log(&self) -> &str {
        &self.log
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "program {:?}: loading it: {}", self.program, self.errno)?;
        if let Some(reason) = reason(&self.log) {
            write!(formatter, ": {reason}")?;
        }
        if let Some(line) = source_line(&self.log) {
            write!(formatter, " ({line})")?;
        }
        write_hint(formatter, self.hint.as_deref())
    }
}

impl core::error::Error for LoadError {}

/// Why an operation on a loaded program failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProgramError {
    program: String,
    operation: &'static str,
    errno: Errno,
    hint: Option<Cow<'static, str>>,
}

impl ProgramError {
    /// The error number of bpf(2).
    pub fn errno(&self) -> Errno {
        self.errno
    }
}

impl fmt::Display for ProgramError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "program {:?}: {}: {}", self.program, self.operation, self.errno)?;
        write_hint(formatter, self.hint.as_deref())
    }
}

impl core::error::Error for ProgramError {}

#[cfg(test)]
mod tests {
    use super::{Errno, LoadError, kernel_name};
    use alloc::string::ToString;

    #[test]
    fn names_are_cut_and_cleaned() {
        assert_eq!(&kernel_name("echo<u8>::run"), b"echo_u8___run\0\0\0");
        assert_eq!(&kernel_name("0123456789abcdefgh"), b"0123456789abcde\0");
    }

    #[test]
    fn last_meaningful_line() {
        let log = "0: R1=ctx() R10=fp0\n0: (95) exit\nR0 !read_ok\nprocessed 1 insns (limit 1000000) \
                   max_states_per_insn 0\n\n";
        let error = LoadError { program: "echo".into(), errno: Errno::EACCES, log: log.into(), hint: None };
        assert_eq!(error.to_string(), "program \"echo\": loading it: EACCES: R0 !read_ok");
        let error = LoadError { log: std::format!("; one();\n; two(); @ echo.rs:2\n{log}"), ..error };
        let expected = "program \"echo\": loading it: EACCES: R0 !read_ok (two(); @ echo.rs:2)";
        assert_eq!(error.to_string(), expected);
        let error = LoadError { log: "".into(), hint: Some("why".into()), ..error };
        assert_eq!(error.to_string(), "program \"echo\": loading it: EACCES: why");
    }
}
