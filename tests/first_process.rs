//! The command as the first process of a virtual machine, on which there is nothing else but a kernel and its modules. The
//! network of that ends in the namespace of the test. As it takes a kernel, it runs only if it is asked for:
//!
//!     KERNEL=vmlinuz MODULES=lib/modules/RELEASE BPFECHO=static/bpfecho cargo test --test first_process

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, ExitCode, Stdio};
use std::time::Duration;

use support::datagram::{client, exchange};
use support::namespace::sh;
use support::network::await_that;
use support::{stream, test};

fn main() -> ExitCode {
    const TOOLS: &[&str] = &["cpio", "ip", "qemu-system-x86_64"];
    support::main([
        test("it_is_all_that_a_machine_needs", echoes).needs(TOOLS),
        test("it_says_why_it_ends", fails).needs(TOOLS),
        test("it_needs_no_console", mute).needs(TOOLS),
    ])
}

/// What drives the network card, and what kernels without tcx attach to. Those that a kernel has built in are no files.
const NEEDED: &str = "failover net_failover virtio virtio_ring virtio_pci_modern_dev virtio_pci_legacy_dev virtio_pci \
                      virtio_net sch_ingress cls_bpf";

/// A machine that is switched on. Killed with the value, if it is still on.
struct Machine {
    folder: PathBuf,
    qemu: Child,
    console: BufReader<ChildStdout>,
    said: String,
}

impl Machine {
    /// Switches one on with this console, whose first process has these arguments, and with a network card whose other
    /// end is `tap0`.
    fn boot(console: &str, arguments: &str) -> Self {
        let folder = PathBuf::from(format!("{}/machine-{}", env!("CARGO_TARGET_TMPDIR"), std::process::id()));
        let path = folder.display();
        sh(&format!(
            "mkdir -p {path}/root/lib/modules && cp \"$BPFECHO\" {path}/root/init && cd {path}/root || exit
            for name in {NEEDED}; do
                file=$(find \"$MODULES\" -name $name.ko -o -name $name.ko.xz)
                case $file in
                *.xz) xz --decompress --stdout $file >lib/modules/$name.ko ;;
                ?*) cp $file lib/modules ;;
                esac
            done
            find . | cpio --quiet --create --format=newc >../initramfs"
        ));
        let mut qemu = Command::new("qemu-system-x86_64");
        qemu.args([
            "-accel",
            "tcg",
            "-cpu",
            "max",
            "-m",
            "256",
            "-nodefaults",
            "-display",
            "none",
            "-no-reboot",
        ]);
        qemu.args(["-netdev", "tap,id=net,ifname=tap0,script=no,downscript=no"]);
        qemu.args(["-device", "virtio-net-pci,netdev=net", "-serial", "stdio"]);
        qemu.args(["-monitor", &format!("unix:{path}/monitor,server,nowait")]);
        qemu.arg("-kernel").arg(std::env::var_os("KERNEL").expect("KERNEL names the kernel"));
        qemu.args(["-initrd", &format!("{path}/initramfs")]);
        qemu.args(["-append", &format!("console={console} quiet panic=-1 -- {arguments}")]);
        let mut qemu = qemu.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let console = BufReader::new(qemu.stdout.take().unwrap());
        Self { folder, qemu, console, said: String::new() }
    }

    /// Waits until `what` is said on the console.
    fn await_line(&mut self, what: &str) {
        while !self.said.contains(what) {
            assert_ne!(self.console.read_line(&mut self.said).unwrap(), 0, "off: {}", self.said);
        }
    }

    /// Presses Ctrl-Alt-Del.
    fn press(&self) {
        let mut monitor = UnixStream::connect(self.folder.join("monitor")).unwrap();
        monitor.write_all(b"sendkey ctrl-alt-delete\n").unwrap();
        // The answer ends with the next prompt.
        let mut answer = String::new();
        while answer.matches("(qemu)").count() < 2 {
            let mut byte = [0];
            monitor.read_exact(&mut byte).unwrap();
            answer.push(byte[0].into());
        }
    }

    /// Waits until it is off. Returns what was said on the console.
    fn await_end(mut self) -> String {
        self.console.read_to_string(&mut self.said).unwrap();
        let status = self.qemu.wait().unwrap();
        assert!(status.success() && !self.said.contains("panic"), "{status}: {}", self.said);
        std::mem::take(&mut self.said)
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn plug_in() {
    sh("ip tuntap add tap0 mode tap
        ip address add 10.0.2.2/24 dev tap0
        ip address add fd00:2::2/64 dev tap0 nodad
        ip link set tap0 up");
}

const ECHO: &str = "--ifname eth0 --virtual-hosts 10.0.2.15,fd00:2::15 --allow 10.0.2.0/24,fd00:2::/64 1122";

fn echoes() {
    plug_in();
    let mut machine = Machine::boot("ttyS0", ECHO);
    machine.await_line("bpfecho: echoing TCP and UDP on virtual hosts");
    for address in ["10.0.2.15:1122", "[fd00:2::15]:1122"] {
        exchange(address);
        stream::ping(&stream::connect(address), b"hello");
        stream::exchange(&stream::connect(address), 1 << 20, 10_000);
    }
    machine.press();
    let said = machine.await_end();
    assert!(said.contains("bpfecho: echoed TCP/IPv4 "), "{said}");
}

fn fails() {
    plug_in();
    for (arguments, error) in [
        ("--ifname eth7 1122", "no interface is called `eth7`: there are lo, eth0"),
        (
            "--background 1122",
            "--background leaves no process, and without its first one this machine would end",
        ),
    ] {
        let said = Machine::boot("ttyS0", arguments).await_end();
        assert!(said.contains(&format!("bpfecho: {error}\r\n")), "{said}");
    }
}

/// Then all of its descriptors are closed, and there is no /dev/null.
fn mute() {
    plug_in();
    let machine = Machine::boot("null", ECHO);
    let client = client("10.0.2.15:1122");
    client.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    await_that("it echoes", || client.send(b"hello").is_ok() && client.recv(&mut [0; 8]).is_ok());
    machine.press();
    assert_eq!(machine.await_end(), "");
}
