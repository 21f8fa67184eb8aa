//! A network namespace for one test.

use std::any::Any;
use std::process::Command;
use std::thread;

use super::sys;

/// Runs `body` in a thread with a new network namespace, in which `lo` is up. Returns the message of a panic.
pub(crate) fn run(body: impl FnOnce() + Send + 'static) -> Result<(), String> {
    let thread = thread::spawn(|| {
        sys::enter_new_namespace();
        body();
    });
    thread.join().map_err(|panic: Box<dyn Any + Send>| {
        let text = panic.downcast_ref::<String>().cloned();
        text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string))
            .unwrap_or_else(|| "panic".into())
    })
}

/// Runs a command that must succeed, in the caller's namespace. Returns what it prints.
pub(crate) fn sh(command: &str) -> String {
    let output = Command::new("sh").args(["-c", command]).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command}: {}{stderr}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

/// A counter of this namespace's TCP, from /proc/net/netstat or /proc/net/snmp.
pub(crate) fn counter(name: &str) -> u64 {
    for table in ["netstat", "snmp"] {
        let table = std::fs::read_to_string(format!("/proc/thread-self/net/{table}")).unwrap();
        let lines: Vec<&str> = table.lines().collect();
        for pair in lines.chunks(2) {
            let names = pair[0].split_whitespace();
            if let Some(column) = names.into_iter().position(|column| column == name) {
                return pair[1].split_whitespace().nth(column).unwrap().parse().unwrap();
            }
        }
    }
    panic!("the kernel has no counter {name}")
}
