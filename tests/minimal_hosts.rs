//! Hosts that have little: old kernels, files that are missing, nothing but this one process.

#[path = "minimal_hosts/old_kernel.rs"]
mod old_kernel;
mod support;

use std::process::ExitCode;

use support::test;

fn main() -> ExitCode {
    support::main([
        test("old_kernels_echo_on_loopback", old_kernel::loopback).needs(&["cc", "tc"]),
        test("old_kernels_echo_without_a_process", old_kernel::background).needs(&["cc", "tc"]),
        test("old_kernels_echo_on_the_wire", old_kernel::wire).needs(&["cc", "ip", "tc"]),
        test("old_kernels_may_not_stop_processes", old_kernel::stop).needs(&["cc"]),
    ])
}
