//! What needs modules of the kernel that not every kernel has: VLAN devices, and the bad networks of netem. So `cargo test`
//! leaves it out: it is run in the virtual machines of `cargo test-machines`, and with `cargo test --test modules` on a
//! host that has them.

#[path = "modules/netem.rs"]
mod netem;
mod support;
#[path = "modules/vlan.rs"]
mod vlan;

use std::process::ExitCode;

use support::test;

fn main() -> ExitCode {
    support::main([
        test("vlan", vlan::echo),
        test("netem_loss", netem::loss),
        test("netem_reorder", netem::reorder),
        test("netem_duplicate", netem::duplicate),
        test("netem_delay", netem::delay),
        test("netem_corrupt_there", netem::corrupt_there),
        test("netem_corrupt_back", netem::corrupt_back),
        test("netem_all_there", netem::all_there),
        test("netem_all_back", netem::all_back),
    ])
}
