//! Other hosts as clients: over cables with and without offloads, routers, loss, bridges and tunnels; and
//! what the rest of the host's network notices, which is nothing.

#[path = "wire/bystanders.rs"]
mod bystanders;
#[path = "wire/clients.rs"]
mod clients;
#[path = "wire/interfaces.rs"]
mod interfaces;
#[path = "wire/paths.rs"]
mod paths;
#[path = "wire/streams.rs"]
mod streams;
mod support;

use std::process::ExitCode;

use support::bpfecho::Bpfecho;
use support::network::Host;
use support::test;

fn main() -> ExitCode {
    const IP: &[&str] = &["ip"];
    const OFFLOADS: &[&str] = &["ip", "ethtool"];
    const FIREWALL: &[&str] = &["ip", "iptables", "ip6tables"];
    const LOSS: &[&str] = &["ip", "ethtool", "sysctl", "iptables", "ip6tables"];
    support::main([
        test("one_gib_over_ipv4_with_offloads", streams::v4_with_offloads).needs(IP),
        test("one_gib_over_ipv6_with_offloads", streams::v6_with_offloads).needs(IP),
        test("one_gib_over_ipv4_without_offloads", streams::v4_without_offloads).needs(OFFLOADS),
        test("one_gib_over_ipv6_without_offloads", streams::v6_without_offloads).needs(OFFLOADS),
        test("one_gib_over_ipv4_that_the_server_merges", streams::v4_merged).needs(OFFLOADS),
        test("one_gib_over_ipv6_that_the_server_merges", streams::v6_merged).needs(OFFLOADS),
        test("a_clean_path_sees_nothing_twice", streams::clean_path).needs(&["ip", "sysctl"]),
        test("sixteen_streams_from_another_host", streams::sixteen).needs(IP),
        test("a_reader_that_pauses_at_a_full_window", streams::full_window).needs(IP),
        test("a_slow_reader_on_another_host", streams::slow_reader).needs(IP),
        test("a_tiny_receive_buffer_on_another_host", streams::tiny_buffer).needs(IP),
        test("each_side_of_a_connection_ends_by_itself", streams::half_close).needs(IP),
        test("a_stream_survives_a_restart", streams::restart).needs(FIREWALL),
        test("twenty_thousand_connections_one_after_another", clients::connections).needs(&["ip", "sysctl"]),
        test("ports_in_time_wait_are_used_again", clients::time_wait).needs(&["ip", "sysctl"]),
        test("datagrams_of_every_length_with_offloads", clients::datagrams_with_offloads).needs(IP),
        test("datagrams_of_every_length_without_offloads", clients::datagrams_without_offloads)
            .needs(OFFLOADS),
        test("bursts_of_datagrams_that_travel_as_one", clients::bursts).needs(OFFLOADS),
        test("pings_of_every_length", clients::pings).needs(&["ip", "sysctl"]),
        test("a_connection_has_sack_timestamps_and_window_scaling", clients::options).needs(IP),
        test("the_smaller_mtu_decides_the_segment_size", clients::segment_size).needs(IP),
        test("a_client_with_nagle_is_nudged", clients::nagle).needs(IP),
        test("a_client_with_nagle_and_without_timestamps_is_nudged", clients::nagle_without_timestamps)
            .needs(&["ip", "sysctl"]),
        test("a_client_without_nagle_is_not_nudged", clients::no_delay).needs(IP),
        test("keepalive_probes_are_answered", clients::keepalive).needs(IP),
        test("only_allowed_hosts_are_answered", clients::allowed).needs(IP),
        test("a_router_with_a_small_leg_to_the_client", paths::small_client_leg).needs(&["ip", "sysctl"]),
        test("a_router_with_a_small_leg_to_the_server", paths::small_server_leg).needs(&["ip", "sysctl"]),
        test("a_path_that_is_smaller_than_either_end_knows", paths::small_middle).needs(&["ip", "sysctl"]),
        test("jumbo_frames", paths::jumbo).needs(OFFLOADS),
        test("five_percent_loss_each_way_over_ipv4", paths::loss_v4).needs(LOSS),
        test("five_percent_loss_each_way_over_ipv6", paths::loss_v6).needs(LOSS),
        test("a_tunnel_without_a_link_layer", interfaces::tunnel).needs(IP),
        test("a_bridge", interfaces::bridge).needs(IP),
        test("a_macvlan", interfaces::macvlan).needs(&["ip", "sysctl"]),
        test("loopback_and_the_wire_in_one_run", interfaces::several).needs(IP),
        test("two_echoes_that_face_each_other_end", bystanders::echo_of_an_echo).needs(FIREWALL),
        test("the_host_answers_all_else_as_ever", bystanders::same_answers).needs(&["ip", "sysctl"]),
        test("sessions_with_other_services_work", bystanders::other_services).needs(IP),
    ])
}

/// Starts an echo on all addresses of the usual server.
fn start(server: &Host) -> Bpfecho {
    server.run(|| Bpfecho::start("10.9.0.2 fd00:9::2 1122 --ifname vb"))
}

/// The packet that `build` writes.
fn packet(build: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut packet = Vec::new();
    build(&mut packet);
    packet
}
