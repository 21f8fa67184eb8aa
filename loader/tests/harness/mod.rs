//! What the tests against the running kernel share. Each runs in a network namespace of its own, which goes away with
//! its thread. Without privileges they are reported as ignored, with the reason; with `CI=true` that fails.
#![allow(dead_code, unreachable_pub)] // each user needs a part of it

use std::error::Error;
use std::os::fd::{AsFd, AsRawFd};
use std::process::Command;
use std::thread;
use std::time::Duration;

use libtest_mimic::{Arguments, Failed, Trial};
use loader::{IfIndex, Map, MapDefinition, Object, Program, ProgramKind};

use crate::objects::{Builder, exit, mov};

pub type Outcome = Result<(), Box<dyn Error>>;

/// The loopback interface's number in a fresh network namespace.
pub const LO: IfIndex = IfIndex(1);

/// Functions with their names.
macro_rules! tests {
    ($($name:ident)*) => { [$((stringify!($name), $name as fn() -> $crate::harness::Outcome)),*] };
}
pub(crate) use tests;

/// Runs `tests`, as the command line wants. One at a time unless it says otherwise: a child process has for a moment
/// all descriptors of this one, also those of a link that another test believes to have closed.
pub fn run(tests: impl IntoIterator<Item = (&'static str, fn() -> Outcome)>) -> ! {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(1);
    let missing = missing_privilege();
    let strict = std::env::var("CI").is_ok_and(|value| value == "true");
    let trials = tests.into_iter().map(|(name, test)| match &missing {
        Some(reason) if strict => {
            let reason = reason.clone();
            Trial::test(name, move || Err(Failed::from(format!("skipped: {reason}"))))
        }
        Some(reason) => Trial::test(name, || Ok(())).with_kind(reason).with_ignored_flag(true),
        None => Trial::test(name, move || isolated(test)),
    });
    libtest_mimic::run(&arguments, trials.collect()).exit()
}

/// Leaves the network namespace of the other threads, or another kind of namespace.
pub fn unshare(kind: i32) -> Result<(), std::io::Error> {
    #[allow(unsafe_code)] // no safe wrapper in the standard library
    // SAFETY: unshare(2) of a namespace touches no memory of this process.
    let result = unsafe { libc::unshare(kind) };
    if result == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}

/// Whether `file` can be read now.
pub fn is_readable(file: &impl AsFd) -> bool {
    let mut poll = libc::pollfd { fd: file.as_fd().as_raw_fd(), events: libc::POLLIN, revents: 0 };
    #[allow(unsafe_code)] // no safe wrapper in the standard library
    // SAFETY: the structure is live, and there is one.
    let ready = unsafe { libc::poll(&mut poll, 1, 0) };
    ready == 1
}

/// Waits until `condition` holds, which the kernel brings about.
pub fn await_that(what: &str, condition: impl Fn() -> Result<bool, Box<dyn Error>>) -> Outcome {
    for _ in 0..3000 {
        if condition()? {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(10));
    }
    Err(format!("this never becomes true: {what}").into())
}

/// What these tests need and can not do here.
fn missing_privilege() -> Option<String> {
    let attempt = || unshare(libc::CLONE_NEWNET).err().map(|error| format!("no network namespace: {error}"));
    let namespace = thread::spawn(attempt).join().unwrap_or_else(|_| Some("no thread".into()));
    namespace.or_else(|| Map::create(&definition("probe", 2, 4, 4)).err().map(|error| error.to_string()))
}

fn isolated(test: fn() -> Outcome) -> Result<(), Failed> {
    let thread = thread::spawn(move || {
        unshare(libc::CLONE_NEWNET).map_err(|error| error.to_string())?;
        test().map_err(|error| error.to_string())
    });
    match thread.join() {
        Ok(result) => result.map_err(Failed::from),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            Err(text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("panic").into())
        }
    }
}

pub fn definition(name: &str, kind: u32, key_size: u32, value_size: u32) -> MapDefinition {
    MapDefinition { name: name.into(), kind, key_size, value_size, max_entries: 4, flags: 0 }
}

pub fn load_as(kind: ProgramKind, code: &[[u8; 8]]) -> Result<Program, Box<dyn Error>> {
    let mut builder = Builder::new();
    builder.program("tc", "test_program", code);
    let bytes = builder.bytes();
    Ok(Object::parse(&bytes)?.link("test_program", &[], &[])?.load(kind, false)?)
}

pub fn load(code: &[[u8; 8]]) -> Result<Program, Box<dyn Error>> {
    load_as(ProgramKind::SchedCls, code)
}

/// A program of traffic control after which the next one sees the packet.
pub fn passing() -> Result<Program, Box<dyn Error>> {
    load(&[mov(-1), exit()])
}

/// Runs iproute2's ip in this thread's namespace.
pub fn ip(arguments: &str) -> Outcome {
    run_tool("ip", &arguments.split(' ').collect::<Vec<_>>())
}

/// Runs iproute2's tc in this thread's namespace.
pub fn tc(arguments: &[&str]) -> Outcome {
    run_tool("tc", arguments)
}

/// Runs a program that must succeed, in this thread's namespaces.
pub fn run_tool(name: &str, arguments: &[&str]) -> Outcome {
    let output = Command::new(name).args(arguments).output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{name} {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr)).into())
}

/// Values of five bytes for `count` CPUs: padded as they are written, and as they are read back, which is zeros for
/// those that this machine cannot have.
pub(crate) fn values_per_cpu(count: usize) -> (Vec<u8>, Vec<Vec<u8>>) {
    let possible = std::fs::read_to_string("/sys/devices/system/cpu/possible").unwrap();
    let last = possible.trim_end().rsplit(['-', ',']).next().unwrap();
    let cpus = last.parse::<usize>().unwrap() + 1;
    assert!(count >= cpus, "{count} values for {cpus} CPUs");
    let value = |cpu: usize| [cpu as u8, 1, 2, 3, 4];
    let padded = (0..count).flat_map(|cpu| [&value(cpu)[..], &[0; 3]].concat()).collect();
    let read = (0..count).map(|cpu| if cpu < cpus { value(cpu) } else { [0; 5] }.to_vec()).collect();
    (padded, read)
}
