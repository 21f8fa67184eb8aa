//! What the product promises, on any kernel and any machine: echo of every kind, each hook, runs without a process, killed
//! runs, few privileges. Needs no other program, so that it runs as well where there is nothing but a kernel: in the virtual
//! machines of `cargo test-machines`, for whose emulated processors the sizes are made. Other suites have more of
//! everything.

#[path = "acceptance/echo.rs"]
mod echo;
#[path = "acceptance/hooks.rs"]
mod hooks;
#[path = "acceptance/line.rs"]
mod line;
#[path = "acceptance/runs.rs"]
mod runs;
mod support;

use std::process::ExitCode;

use line::Line;
use support::test;

fn main() -> ExitCode {
    support::main([
        test("loopback_streams", || echo::streams(&Line::Loopback)),
        test("loopback_datagrams", || echo::datagrams(&Line::Loopback)),
        test("loopback_connections", || echo::connections(&Line::Loopback)),
        test("loopback_nagle", || echo::nagle(&Line::Loopback)),
        test("cable_streams", || echo::streams(&Line::cable())),
        test("cable_datagrams", || echo::datagrams(&Line::cable())),
        test("cable_fragments", || echo::fragments(&Line::cable())),
        test("cable_connections", || echo::connections(&Line::cable())),
        test("cable_nagle", || echo::nagle(&Line::cable())),
        test("virtual_hosts", echo::virtual_hosts),
        test("loopback_auto", || hooks::echoes_by("auto", &Line::Loopback)),
        test("loopback_tcx", || hooks::echoes_by("tcx", &Line::Loopback)),
        test("loopback_clsact", || hooks::echoes_by("clsact", &Line::Loopback)),
        test("cable_auto", || hooks::echoes_by("auto", &Line::cable())),
        test("cable_tcx", || hooks::echoes_by("tcx", &Line::cable())),
        test("cable_clsact", || hooks::echoes_by("clsact", &Line::cable())),
        test("cable_xdp", || hooks::echoes_by("xdp", &Line::cable())),
        test("cable_xdp_generic", || hooks::echoes_by("xdp-generic", &Line::cable())),
        test("xdp_answers", || hooks::xdp_answers("xdp")),
        test("xdp_generic_answers", || hooks::xdp_answers("xdp-generic")),
        test("background", runs::background),
        test("killed", runs::killed),
        test("two_capabilities", runs::two_capabilities),
        test("missing_capabilities", runs::missing_capabilities),
        test("check", runs::check),
    ])
}
