//! What a run may do once it echoes.

use super::support::bpfecho::{Bpfecho, command};
use super::support::datagram::exchange;
use super::support::ordinary::Ordinary;
use super::support::tc;

const CAP_NET_ADMIN: u64 = 1 << 12;

pub(crate) fn given_up() {
    let ordinary = Ordinary::new();
    // What is attached by a link goes with its descriptor, but a filter has to be taken away.
    for (hook, needed) in [("tcx", 0), ("clsact", CAP_NET_ADMIN)] {
        let arguments = ["1122", "--hook", hook];
        // Who may decide it, as root may, lets no program have any again.
        for (mut command, bounds) in [(ordinary.command(&["bpf", "net_admin"]), None), (command(""), Some(0))]
        {
            let bpfecho = Bpfecho::spawn(command.args(arguments));
            let status = std::fs::read_to_string(format!("/proc/{}/status", bpfecho.pid())).unwrap();
            let field = |name: &str| {
                let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t"));
                u64::from_str_radix(line.unwrap(), 16).unwrap()
            };
            assert_eq!(["CapInh", "CapAmb", "CapPrm", "CapEff"].map(field), [0, 0, needed, needed], "{hook}");
            assert!(bounds.is_none_or(|bounds| field("CapBnd") == bounds), "{hook}");
            assert_eq!(field("NoNewPrivs"), 1);
            exchange("127.0.0.1:1122");
            let end = bpfecho.end();
            assert_eq!(end.stderr, "bpfecho: echoed UDP/IPv4 1 packet, 6 bytes\n");
            assert_eq!((end.status.code(), tc::ours(), tc::has_clsact()), (Some(0), vec![], false));
        }
    }
}
