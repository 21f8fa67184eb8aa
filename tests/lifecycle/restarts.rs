//! One run takes over from another, and no connection notices.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::support::bpfecho::{Bpfecho, run};
use super::support::{mounts, stream, sys, tc};

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
    sys::allow_many_files();
    let start = |hook: &str| run(&format!("127.0.0.1 ::1 1122 --background --hook {hook}"));
    start("tcx");
    let is_streaming = AtomicBool::new(true);
    thread::scope(|scope| {
        let streams: Vec<_> = (0..THREADS).map(|_| scope.spawn(|| stream_while(&is_streaming))).collect();
        let streaming = Streaming(&is_streaming);
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
        drop(streaming);
        let rounds: Vec<u64> = streams.into_iter().map(|stream| stream.join().unwrap()).collect();
        assert!(rounds.iter().all(|rounds| *rounds > 0), "{rounds:?}");
        assert_eq!(run("--stop -q"), "");
        assert!(bpfecho.await_end().status.success());
    });
    assert_eq!((tc::ours(), tc::has_clsact(), mounts::has_pins()), (vec![], false, false));
}

/// Sends to many connections and reads back every byte, again and again. Returns how often.
fn stream_while(is_streaming: &AtomicBool) -> u64 {
    let address = |index: usize| ["127.0.0.1:1122", "[::1]:1122"][index % 2];
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
