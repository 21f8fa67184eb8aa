//! Streams of every temper on loopback: all bytes come back, in order, and then the end.

mod support;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use support::bpfecho::Bpfecho;
use support::namespace::counter;
use support::stream::{assert_all_confirmed, connect_with};
use support::{rtnetlink, stream, test};

fn main() -> ExitCode {
    support::main([
        test("four_gib_over_ipv4", || bulk(V4, "cubic")),
        test("four_gib_over_ipv6", || bulk(V6, "cubic")),
        test("four_gib_over_ipv4_with_bbr", || bulk(V4, "bbr")),
        test("four_gib_over_ipv6_with_bbr", || bulk(V6, "bbr")),
        test("aggregates_above_64_kib", big_tcp),
        test("a_slow_reader", slow_reader),
        test("a_tiny_receive_buffer", tiny_buffer),
        test("a_million_writes_of_one_byte", one_byte_writes),
        test("sixteen_streams_at_once", sixteen),
        test("a_writer_that_stops_at_a_full_window", full_window),
        test("a_reader_that_begins_when_nothing_more_fits", nothing_read),
        test("a_stream_goes_on_while_the_program_is_restarted", restart),
    ])
}

const V4: &str = "127.0.0.1:1122";
const V6: &str = "[::1]:1122";
const GIB: u64 = 1 << 30;

/// The families and congestion controls that tests of small volumes alternate between.
const KINDS: [(&str, &str); 2] = [(V4, "cubic"), (V6, "bbr")];

fn start() -> Bpfecho {
    Bpfecho::start("127.0.0.1 ::1 1122")
}

/// Every byte was confirmed, nothing had to be sent twice, and no segment looked wrong.
fn assert_nothing_lost(client: &TcpStream) {
    assert_all_confirmed(client);
    for unwanted in
        ["TCPRcvQDrop", "RcvPruned", "TCPBacklogDrop", "EstabResets", "PAWSEstab", "TCPChallengeACK"]
    {
        assert_eq!(counter(unwanted), 0, "{unwanted}");
    }
}

fn bulk(address: &str, congestion_control: &str) {
    let _bpfecho = start();
    let client = connect_with(address, congestion_control);
    stream::exchange(&client, 4 * GIB, 1 << 17);
    assert_nothing_lost(&client);
}

fn big_tcp() {
    rtnetlink::set_gso_max_size("lo", 400_000);
    for address in [V4, V6] {
        let bpfecho = start();
        let client = connect_with(address, "cubic");
        stream::exchange(&client, GIB, 1 << 20);
        assert_nothing_lost(&client);
        let end = bpfecho.end();
        // "echoed TCP/IPv4 n packets, m bytes": without aggregates above 64 KiB they were more. Half of the
        // packets are acknowledgments.
        let packets: u64 = end.stderr.split_whitespace().nth(3).unwrap().parse().unwrap();
        assert!(packets < 2 * GIB / 65536, "{}", end.stderr);
    }
}

fn slow_reader() {
    let _bpfecho = start();
    for (address, congestion_control) in KINDS {
        let client = connect_with(address, congestion_control);
        const LENGTH: u64 = 16 << 20;
        thread::scope(|scope| {
            scope.spawn(|| stream::write(&client, LENGTH, 1 << 16));
            // The pause is the reader under test.
            stream::read(&client, LENGTH, 1 << 16, || thread::sleep(Duration::from_millis(10)));
        });
        assert_nothing_lost(&client);
    }
}

fn tiny_buffer() {
    let _bpfecho = start();
    for address in [V4, V6] {
        let (socket, address) = stream::socket(address);
        socket.set_recv_buffer_size(4096).unwrap();
        socket.connect(&address).unwrap();
        let client = TcpStream::from(socket);
        stream::exchange(&client, 16 << 20, 1 << 16);
        assert_nothing_lost(&client);
    }
}

fn one_byte_writes() {
    let _bpfecho = start();
    for (address, congestion_control) in KINDS {
        for no_delay in [false, true] {
            let client = connect_with(address, congestion_control);
            client.set_nodelay(no_delay).unwrap();
            stream::exchange(&client, 1_000_000, 1);
            assert_nothing_lost(&client);
        }
    }
}

fn sixteen() {
    let _bpfecho = start();
    thread::scope(|scope| {
        for index in 0..16 {
            scope.spawn(move || {
                let (address, congestion_control) = KINDS[index % 2];
                let client = connect_with(address, congestion_control);
                stream::exchange(&client, GIB / 8, 1 << 16);
            });
        }
    });
}

/// Writes without reading until nothing more fits. Returns how many bytes did.
fn fill(client: &TcpStream, size: usize) -> u64 {
    client.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
    let mut offset = 0;
    let mut writer = client;
    while let Ok(written) = writer.write(stream::piece(offset, size)) {
        offset += written as u64;
    }
    offset
}

fn full_window() {
    let _bpfecho = start();
    for (address, congestion_control) in KINDS {
        let client = connect_with(address, congestion_control);
        let filled = fill(&client, 1 << 16);
        // What is under test is that time passes with a closed window, and that probes keep it alive.
        thread::sleep(Duration::from_secs(5));
        finish(&client, filled, 64 << 20);
        assert_nothing_lost(&client);
    }
}

/// Goes on behind the `filled` bytes up to `length`, and reads all of them.
fn finish(client: &TcpStream, filled: u64, length: u64) {
    client.set_write_timeout(Some(stream::STALL)).unwrap();
    thread::scope(|scope| {
        scope.spawn(|| stream::write_from(client, filled, length, 1 << 16));
        stream::read(client, length, 1 << 16, || ());
    });
}

fn nothing_read() {
    let _bpfecho = start();
    for (buffer, sizes) in [
        (Some(4096), &[1, 100, 1000][..]),
        (Some(20_000), &[1, 100, 1000, 5000]),
        (Some(100_000), &[16, 100, 1000, 5000]),
        (Some(212_992), &[16, 100, 1000, 5000]),
        (None, &[5000, 50_000]),
    ] {
        for &size in sizes {
            let (socket, address) = stream::socket(V4);
            if let Some(buffer) = buffer {
                socket.set_recv_buffer_size(buffer).unwrap();
            }
            socket.set_tcp_nodelay(true).unwrap();
            socket.connect(&address).unwrap();
            let client = TcpStream::from(socket);
            let filled = fill(&client, size);
            finish(&client, filled, filled + (1 << 20));
            // A receiver that is full may refuse what it gets, but then it is sent again.
            assert_all_confirmed(&client);
        }
    }
}

fn restart() {
    let bpfecho = start();
    let client = connect_with(V4, "cubic");
    stream::ping(&client, stream::piece(0, 1000));
    bpfecho.end();
    // The port is nobody's for a moment: what is sent now is answered by nobody, as the port is held no more.
    let _bpfecho = start();
    let mut echo = vec![0; 1000];
    let mut both = &client;
    both.write_all(stream::piece(1000, 1000)).unwrap();
    both.read_exact(&mut echo).unwrap();
    assert!(echo == stream::piece(1000, 1000));
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(both.read(&mut echo).unwrap(), 0);
}
