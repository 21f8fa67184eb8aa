//! Hosts: network namespaces without a name, which exist as long as somebody has them open.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::fd::{AsFd, AsRawFd};
use std::process::{self, Command};
use std::thread;

use bpfecho::sys::enter_new_network;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// A host with a network of its own.
pub(super) struct Host {
    namespace: File,
}

impl Host {
    /// A new host, whose interfaces will have no IPv6, so that nothing is sent on them by itself.
    pub(super) fn new() -> Result<Self, String> {
        in_thread(|| {
            enter_new_network().map_err(|error| format!("making a network namespace: {error}"))?;
            match fs::write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1") {
                // The kernel has no IPv6.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                result => {
                    result.map_err(|error| format!("disabling IPv6 in a network namespace: {error}"))?
                }
            }
            let own = "/proc/thread-self/ns/net";
            File::open(own)
                .map(|namespace| Self { namespace })
                .map_err(|error| format!("opening {own}: {error}"))
        })
    }

    /// Runs `body` on this host.
    pub(super) fn run<T: Send>(&self, body: impl FnOnce() -> Result<T, String> + Send) -> Result<T, String> {
        in_thread(|| {
            move_into_link_name_space(self.namespace.as_fd(), Some(LinkNameSpaceType::Network))
                .map_err(|error| format!("entering a network namespace: {error}"))?;
            body()
        })
    }

    /// Runs ip(8) on this host.
    pub(super) fn ip(&self, arguments: &str) -> Result<(), String> {
        self.run(|| {
            let output = Command::new("ip").args(arguments.split_whitespace()).output();
            let output = output.map_err(|error| format!("starting ip, of iproute2: {error}"))?;
            if output.status.success() {
                return Ok(());
            }
            Err(format!("ip {arguments}: {}", String::from_utf8_lossy(&output.stderr).trim_end()))
        })
    }

    /// The host as a file that other processes can open.
    pub(super) fn path(&self) -> String {
        format!("/proc/{}/fd/{}", process::id(), self.namespace.as_raw_fd())
    }
}

/// Runs `body` in a thread of its own, whose namespace goes with it.
fn in_thread<T: Send>(body: impl FnOnce() -> Result<T, String> + Send) -> Result<T, String> {
    thread::scope(|scope| {
        let thread = scope.spawn(body);
        thread.join().unwrap_or_else(|_| Err("a thread in a network namespace panicked".into()))
    })
}
