//! A network namespace for one test.

use std::any::Any;
use std::process::Command;
use std::thread;

use super::{rtnetlink, sys};

/// Runs `body` in a thread with a new network namespace, in which `lo` is up. Returns the message of a panic.
pub(crate) fn run(body: impl FnOnce() + Send + 'static) -> Result<(), String> {
    let thread = thread::spawn(|| {
        enter_new();
        body();
    });
    thread.join().map_err(|panic: Box<dyn Any + Send>| {
        let text = panic.downcast_ref::<String>().cloned();
        text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string))
            .unwrap_or_else(|| "panic".into())
    })
}

/// Moves this thread into a new network namespace, in which `lo` is up.
pub(crate) fn enter_new() {
    sys::enter_new_namespace();
    rtnetlink::set_up("lo");
}

/// Runs a command that must succeed, in the caller's namespace. Returns what it prints.
pub(crate) fn sh(command: &str) -> String {
    let output = Command::new("sh").args(["-c", command]).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command}: {}{stderr}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

/// A counter of this namespace, from /proc/net/netstat or /proc/net/snmp: the sum of all protocols that have it.
pub(crate) fn counter(name: &str) -> u64 {
    let mut found = Vec::new();
    for table in ["netstat", "snmp"] {
        let table = std::fs::read_to_string(format!("/proc/thread-self/net/{table}")).unwrap();
        let lines: Vec<&str> = table.lines().collect();
        for pair in lines.chunks(2) {
            let mut names = pair[0].split_whitespace();
            if let Some(column) = names.position(|column| column == name) {
                found.push(pair[1].split_whitespace().nth(column).unwrap().parse::<u64>().unwrap());
            }
        }
    }
    assert!(!found.is_empty(), "the kernel has no counter {name}");
    found.iter().sum()
}
