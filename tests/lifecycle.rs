//! Runs that begin, end, are killed, stay without a process and are taken over: nothing is left behind, and nothing
//! of others is touched.

#[path = "lifecycle/background.rs"]
mod background;
#[path = "lifecycle/interfaces.rs"]
mod interfaces;
#[path = "lifecycle/json.rs"]
mod json;
#[path = "lifecycle/killed.rs"]
mod killed;
#[path = "lifecycle/neighbours.rs"]
mod neighbours;
#[path = "lifecycle/privileges.rs"]
mod privileges;
#[path = "lifecycle/restarts.rs"]
mod restarts;
mod support;

use std::process::ExitCode;

use support::test;

fn main() -> ExitCode {
    support::main([
        test("a_killed_run_on_tcx_leaves_nothing", || killed::killed("tcx", "lo")).needs(&["tc"]),
        test("a_killed_run_on_clsact_is_cleaned_up_after", || killed::killed("clsact", "lo")).needs(&["tc"]),
        test("a_killed_run_on_xdp_leaves_nothing", || killed::killed_on_a_cable("xdp")).needs(&["ip", "tc"]),
        test("a_killed_run_on_generic_xdp_leaves_nothing", || killed::killed_on_a_cable("xdp-generic"))
            .needs(&["ip", "tc"]),
        test("connections_outlive_restarts", restarts::restarts).needs(&["tc"]),
        test("connections_outlive_restarts_on_the_wire", restarts::restarts_on_the_wire).needs(&["ip", "tc"]),
        test("it_echoes_without_a_process", background::without_a_process).needs(&["tc"]),
        test("the_bpf_filesystem_may_be_mounted_anew", background::mounted_anew).needs(&["tc"]),
        test("the_bpf_filesystem_may_be_hidden", background::hidden).needs(&["tc"]),
        test("stop_takes_what_it_is_told", background::twenty).needs(&["ip", "tc"]),
        test("several_start_and_stop_at_the_same_time", background::at_the_same_time).needs(&["ip", "tc"]),
        test("status_has_the_counters", background::status).needs(&["tc"]),
        test("stop_waits_for_processes", background::stop_waits).needs(&["tc"]),
        test("privileges_are_given_up", privileges::given_up).needs(&["tc"]),
        test("an_interface_that_goes_ends_it", interfaces::gone).needs(&["ip"]),
        test("an_interface_can_be_waited_for", interfaces::awaited).needs(&["ip", "tc"]),
        test("neighbours_on_tcx_see_their_packets", neighbours::see_their_packets),
        test("the_place_among_neighbours", neighbours::places),
        test("the_end_of_a_chain", neighbours::end_of_the_chain),
        test("a_run_in_json", json::run).needs(&["tc"]),
        test("errors_in_json", json::errors),
        test("statistics_for_people", json::for_people).needs(&["script"]),
    ])
}
