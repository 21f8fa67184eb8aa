//! The command as its user meets it: errors, signals, readiness, ports, and others on the same interface.

#[path = "command/check.rs"]
mod check;
#[path = "command/errors.rs"]
mod errors;
#[path = "command/lifecycle.rs"]
mod lifecycle;
#[path = "command/neighbours.rs"]
mod neighbours;
#[path = "command/shim.rs"]
mod shim;
mod support;
#[path = "command/wire.rs"]
mod wire;

use std::process::ExitCode;

use support::datagram::exchange;
use support::test;

fn main() -> ExitCode {
    support::main([
        test("usage_errors_show_the_usage", errors::usage).needs(&["tc"]),
        test("an_argument_that_is_not_utf8", errors::not_utf8).needs(&["tc"]),
        test("help_and_version_go_to_standard_output", errors::help_and_version),
        test("missing_capabilities_are_named", errors::capabilities).needs(&["tc"]),
        test("two_capabilities_are_enough", errors::two_capabilities).needs(&["ip"]),
        test("interfaces_that_cannot_be_used_are_named", errors::interfaces).needs(&["ip", "tc"]),
        test("a_port_in_use_is_refused", errors::port_in_use).needs(&["tc"]),
        test("a_port_of_another_bpfecho_is_refused", errors::port_in_use_by_another_bpfecho).needs(&["tc"]),
        test("force_echoes_in_front_of_a_server", errors::force),
        test("ports_may_need_more_descriptors", errors::descriptors).needs(&["tc"]),
        test("a_kernel_that_lacks_a_part", errors::kernel_without).needs(&["cc", "tc"]),
        test("each_signal_ends_it_and_nothing_is_left", lifecycle::signals).needs(&["tc"]),
        test("the_summary_counts_everything", lifecycle::summary),
        test("nohup_works", lifecycle::nohup),
        test("ready_is_reported_when_it_echoes", lifecycle::readiness).needs(&["tc"]),
        test("quiet_says_nothing", lifecycle::quiet).needs(&["tc"]),
        test("nobody_needs_to_read_standard_error", lifecycle::nobody_reads_stderr).needs(&["tc"]),
        test("ports_are_held", lifecycle::ports_are_held),
        test("a_port_with_connections_in_time_wait_can_be_had", lifecycle::time_wait).needs(&["ss"]),
        test("an_address_of_another_host_can_be_echoed", lifecycle::address_of_another_host)
            .needs(&["ip", "tc"]),
        test("an_interface_that_is_down_is_reported", lifecycle::interface_down).needs(&["ip"]),
        test("several_run_side_by_side", neighbours::side_by_side).needs(&["tc"]),
        test("the_maker_of_clsact_may_end_last", neighbours::the_maker_of_clsact_ends_last).needs(&["tc"]),
        test("foreign_filters_survive", neighbours::foreign_filters_survive).needs(&["cc", "tc"]),
        test("foreign_filters_that_come_later_survive", neighbours::foreign_filters_that_come_later_survive)
            .needs(&["tc"]),
        test("our_filter_may_be_gone_or_replaced", neighbours::our_filter_is_gone_or_replaced).needs(&["tc"]),
        test("leftovers_of_a_killed_run_are_removed", neighbours::leftovers).needs(&["tc"]),
        test("several_interfaces", wire::attached_and_detached).needs(&["ip", "tc"]),
        test("an_interface_without_ethernet", wire::tunnel).needs(&["ip", "tc"]),
        test("what_may_not_be_meant_is_said", wire::warnings).needs(&["ip", "tc"]),
        test("all_multicast_lasts_as_long_as_the_run", wire::all_multicast).needs(&["ip", "tc"]),
        test("ports_are_held_on_own_addresses", wire::held_ports).needs(&["ip", "tc"]),
        test("leftovers_on_several_interfaces", wire::leftovers).needs(&["ip", "tc"]),
        test("the_usual_tools_show_whose_it_is", neighbours::names).needs(&["bpftool", "ip", "tc"]),
        test("a_healthy_host_passes_the_check", check::healthy).needs(&["tc"]),
        test("the_check_finds_ports_in_use", check::ports).needs(&["tc"]),
        test("the_check_finds_missing_interfaces", check::interfaces).needs(&["ip", "tc"]),
        test("the_check_finds_missing_routes", check::routing).needs(&["ip", "tc"]),
        test("the_check_finds_firewalls_in_the_way", check::firewall).needs(&["iptables", "nft", "tc"]),
        test("the_check_finds_missing_capabilities", check::privileges).needs(&["tc"]),
        test("the_check_finds_missing_hooks", check::hooks).needs(&["cc", "tc"]),
        test("the_check_finds_what_is_in_the_way_of_xdp", check::xdp).needs(&["ip", "tc"]),
    ])
}
