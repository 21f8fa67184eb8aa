//! A firewall that drops what connection tracking calls invalid, and the rules that README.md gives for it.

mod support;

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use support::bpfecho::Bpfecho;
use support::namespace::sh;
use support::{stream, test};

fn main() -> ExitCode {
    support::main([
        test("without_notrack_such_a_firewall_stops_tcp", without).needs(&["nft"]),
        test("with_notrack_tcp_and_udp_pass_the_firewall", with).needs(&["nft"]),
        test("the_readme_shows_the_rules", readme),
    ])
}

/// The rules that README.md gives, each byte of them.
const REMEDY: &str = include_str!("notrack.nft");

const BOTH: [&str; 2] = ["127.0.0.1:1122", "[::1]:1122"];

/// A firewall as many hosts have it.
fn raise_firewall() {
    sh("nft 'table inet t {
        chain in { type filter hook input priority 0; ct state invalid drop; }
        chain out { type filter hook output priority 0; ct state invalid drop; }
    }'");
}

/// Whether TCP echoes within a time that is plenty.
fn tcp_works(address: &str) -> bool {
    const PLENTY: Duration = Duration::from_secs(2);
    let address: SocketAddr = address.parse().unwrap();
    let Ok(mut client) = TcpStream::connect_timeout(&address, PLENTY) else { return false };
    client.set_read_timeout(Some(PLENTY)).unwrap();
    client.write_all(b"hello\n").is_ok() && client.read_exact(&mut [0; 6]).is_ok()
}

fn without() {
    let _bpfecho = Bpfecho::start("127.0.0.1 ::1 1122");
    for address in BOTH {
        assert!(tcp_works(address));
    }
    raise_firewall();
    for address in BOTH {
        assert!(!tcp_works(address), "{address}: the remedy is not needed");
    }
}

fn with() {
    let _bpfecho = Bpfecho::start("127.0.0.1 ::1 1122");
    raise_firewall();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/notrack.nft");
    sh(&format!("nft -f '{path}'"));
    for address in BOTH {
        // To the end of the stream, more than fits a window and next to nothing.
        for length in [6, 4 << 20] {
            stream::exchange(&stream::connect(address), length, 1 << 16);
        }
        // The client may be the second to close, too.
        let mut client = stream::connect(address);
        stream::ping(&client, b"hello\n");
        client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(client.read(&mut [0]).unwrap(), 0);

        let local = if address.starts_with('[') { "[::1]:0" } else { "127.0.0.1:0" };
        let client = UdpSocket::bind(local).unwrap();
        client.set_read_timeout(Some(stream::STALL)).unwrap();
        client.connect(address).unwrap();
        for length in [0, 6, 9000] {
            let sent = stream::piece(0, length);
            client.send(sent).unwrap();
            let mut buffer = [0; 65536];
            let received = client.recv(&mut buffer).unwrap();
            assert!(buffer[..received] == *sent);
        }
    }
}

fn readme() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    // In an indented code block.
    let block: String = REMEDY.lines().map(|line| format!("    {line}\n")).collect();
    assert!(readme.contains(&format!("\n\n{block}\n")), "README.md lacks tests/notrack.nft:\n\n{block}");
}
