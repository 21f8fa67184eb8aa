//! Hosts that have little: old kernels, files that are missing, nothing but this one process.

#[path = "minimal_hosts/container.rs"]
mod container;
#[path = "minimal_hosts/missing_files.rs"]
mod missing_files;
#[path = "minimal_hosts/old_kernel.rs"]
mod old_kernel;
mod support;

use std::process::ExitCode;

use support::test;

fn main() -> ExitCode {
    support::main([
        test("it_echoes_without_any_file", missing_files::foreground)
            .needs(&["mount", "setsid", "tc", "unshare"]),
        test("it_stays_without_any_file", missing_files::background)
            .needs(&["mount", "setsid", "tc", "unshare"]),
        test("nobody_needs_to_be_told", missing_files::silence).needs(&["mount", "setsid", "tc", "unshare"]),
        test("it_is_the_first_process_of_a_container", container::first_process).needs(&["ip", "unshare"]),
        test("old_kernels_echo_on_loopback", old_kernel::loopback).needs(&["cc", "tc"]),
        test("old_kernels_echo_without_a_process", old_kernel::background).needs(&["cc", "tc"]),
        test("old_kernels_echo_on_the_wire", old_kernel::wire).needs(&["cc", "ip", "tc"]),
        test("old_kernels_may_not_stop_processes", old_kernel::stop).needs(&["cc"]),
    ])
}
