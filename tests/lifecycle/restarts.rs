//! One run takes over from another, and no connection notices.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use loader::XdpMode;

use super::support::bpfecho::{Bpfecho, run};
use super::support::{mounts, network, stream, sys, tc};

const THREADS: usize = 4;
const CONNECTIONS: usize = 200 / THREADS;

/// What is written to each connection before it is read back; it fits into any buffer.
const PIECE: usize = 4096;

/// Ends the streams, whatever ends the test.
struct Streaming<'a>(&'a AtomicBool);

impl Drop for Streaming<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

pub(crate) fn restarts() {
    mounts::own_bpffs();
    let start = |hook: &str| run(&format!("127.0.0.1 ::1 1122 --background --hook {hook}"));
    start("tcx");
    under_connections(["127.0.0.1:1122", "[::1]:1122"], || {
        for round in 0..50 {
            let hook = if round % 10 == 9 { "clsact" } else { "tcx" };
            let before = tc::ours();
            start(hook);
            let now = tc::ours();
            assert_eq!((now.len(), before == now), (1, false), "round {round}");
        }
        // The last one has a process, and goes with it.
        let bpfecho = Bpfecho::start("127.0.0.1 ::1 1122");
        assert_eq!((tc::ours().len(), mounts::has_pins(), tc::has_clsact()), (1, false, false));
        bpfecho
    });
    assert_eq!((tc::ours(), tc::has_clsact(), mounts::has_pins()), (vec![], false, false));
}

/// From hook to hook on a network, where XDP has room for one program in one mode.
pub(crate) fn restarts_on_the_wire() {
    mounts::own_bpffs();
    let server = network::server();
    // So that this end takes what XDP sends.
    let _peer = Bpfecho::start("10.99.0.1 9 --ifname va --hook xdp");
    let arguments = "10.9.0.2 fd00:9::2 1122 --ifname vb --allow 10.9.0.0/16,fd00:9::/64";
    let start = |hook: &str| server.run(|| run(&format!("{arguments} --background --hook {hook}")));
    let modes =
        || server.run(|| tc::find("vb").unwrap().xdp.iter().map(|(mode, _)| *mode).collect::<Vec<_>>());
    start("tcx");
    under_connections([network::V4, network::V6], || {
        for round in 0..50 {
            let (hook, expected) = match round % 5 {
                0 | 1 => ("xdp", vec![XdpMode::Native]),
                2 | 3 => ("xdp-generic", vec![XdpMode::Generic]),
                _ => ("tcx", vec![]),
            };
            start(hook);
            assert_eq!((modes(), server.run(|| tc::ours_on("vb")).len()), (expected, 1), "round {round}");
        }
        server.run(|| Bpfecho::start(&format!("{arguments} --hook xdp")))
    });
    assert_eq!((modes(), server.run(|| tc::ours_on("vb")), mounts::has_pins()), (vec![], vec![], false));
}

/// Has many clients stream to `addresses` while `restarts` are done, the last of which has a process, which is stopped
/// in the end.
fn under_connections(addresses: [&str; 2], restarts: impl FnOnce() -> Bpfecho) {
    sys::allow_many_files();
    let is_streaming = AtomicBool::new(true);
    thread::scope(|scope| {
        let streams: Vec<_> =
            (0..THREADS).map(|_| scope.spawn(|| stream_while(&is_streaming, addresses))).collect();
        let streaming = Streaming(&is_streaming);
        let bpfecho = restarts();
        drop(streaming);
        let rounds: Vec<u64> = streams.into_iter().map(|stream| stream.join().unwrap()).collect();
        assert!(rounds.iter().all(|rounds| *rounds > 0), "{rounds:?}");
        assert!(bpfecho.end().status.success());
    });
}

/// Sends to many connections and reads back every byte, again and again. Returns how often.
fn stream_while(is_streaming: &AtomicBool, addresses: [&str; 2]) -> u64 {
    let address = |index: usize| addresses[index % 2];
    let clients: Vec<TcpStream> = (0..CONNECTIONS).map(|index| stream::connect(address(index))).collect();
    let mut rounds = 0;
    let mut buffer = [0; PIECE];
    while is_streaming.load(Ordering::Relaxed) {
        let piece = stream::piece(rounds * PIECE as u64, PIECE);
        for mut client in &clients {
            client.write_all(piece).unwrap();
        }
        for mut client in &clients {
            client.read_exact(&mut buffer).unwrap();
            assert!(buffer == piece, "round {rounds}");
        }
        rounds += 1;
    }
    for mut client in &clients {
        client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(client.read(&mut buffer).unwrap(), 0, "the stream goes on behind the echo");
    }
    rounds
}
