//! Kernels that are too old to be had. The kernel here knows more, so a library between the command and libc refuses
//! what they do not know, as they do: kernel/bpf/syscall.c of that version.

use std::process::Command;

use super::support::bpfecho::{Bpfecho, command};
use super::support::datagram::exchange;
use super::support::network::{self, V4, V6};
use super::support::preload::Library;
use super::support::{stream, tc};

const SOURCE: &str = r#"
#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <linux/bpf.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>

struct kernel {
    const char *release;
    /* Of union bpf_attr, in bytes. */
    unsigned size;
    /* The last command, and all flags of BPF_PROG_LOAD. */
    unsigned commands, flags;
    /* Where what BPF_PROG_TEST_RUN knows ends. */
    unsigned test_run;
};

static const struct kernel kernels[] = {
    { "4.19.0", 72, BPF_TASK_FD_QUERY, 1, 40 },
    { "5.4.0", 112, BPF_BTF_GET_NEXT_ID, 15, 64 },
};

static const struct kernel *kernel(void)
{
    return !strcmp(getenv("OLD_KERNEL"), "4.19") ? &kernels[0] : &kernels[1];
}

int uname(struct utsname *name)
{
    int (*real)(struct utsname *) = dlsym(RTLD_NEXT, "uname");
    int result = real(name);

    strcpy(name->release, kernel()->release);
    return result;
}

/* Before 5.11 memory is charged to RLIMIT_MEMLOCK, which is too low at first. */
static int limit_is_lifted;

int setrlimit(__rlimit_resource_t resource, const struct rlimit *limit)
{
    int (*real)(__rlimit_resource_t, const struct rlimit *) = dlsym(RTLD_NEXT, "setrlimit");

    if (resource != RLIMIT_MEMLOCK)
        return real(resource, limit);
    limit_is_lifted = limit->rlim_cur == RLIM_INFINITY;
    return 0;
}

/* Before 5.7 XDP knows of no program that is expected: so many flags are none to the kernel here either. */
ssize_t sendto(int socket, const void *message, size_t size, int flags, const void *to, unsigned to_size)
{
    ssize_t (*real)(int, const void *, size_t, int, const void *, unsigned) = dlsym(RTLD_NEXT, "sendto");
    const struct nlmsghdr *header = message;
    char copy[4096];
    struct rtattr *xdp = (void *)(copy + NLMSG_SPACE(sizeof(struct ifinfomsg))), *part;

    if (size <= NLMSG_SPACE(sizeof(struct ifinfomsg)) || size > sizeof copy || header->nlmsg_type != RTM_SETLINK)
        return real(socket, message, size, flags, to, to_size);
    memcpy(copy, message, size);
    if ((xdp->rta_type & NLA_TYPE_MASK) == IFLA_XDP) {
        int left = RTA_PAYLOAD(xdp);

        for (part = RTA_DATA(xdp); RTA_OK(part, left); part = RTA_NEXT(part, left))
            if (part->rta_type == IFLA_XDP_FLAGS && *(unsigned *)RTA_DATA(part) & XDP_FLAGS_REPLACE)
                *(unsigned *)RTA_DATA(part) = ~0u;
    }
    return real(socket, copy, size, flags, to, to_size);
}

/* What is behind the end has to be zero. */
static int is_zero(const unsigned char *attribute, unsigned from, unsigned to)
{
    for (; from < to; from++)
        if (attribute[from])
            return 0;
    return 1;
}

/* The verifier does not know skb_change_head (5.8) and xdp_get_buff_len (5.18), if it comes to their calls. It does in the
 * first program of each kind that has one, and not in another that differs from it. */
static int has_new_helper(const union bpf_attr *attribute)
{
    static struct { void *code; unsigned count; } first[2];
    const struct bpf_insn *code = (void *)attribute->insns;
    unsigned count = attribute->insn_cnt, kind = attribute->prog_type == BPF_PROG_TYPE_XDP, i = 0;

    while (i < count && !(code[i].code == 0x85 && !code[i].src_reg && (code[i].imm == 43 || code[i].imm == 188)))
        i++;
    if (i == count)
        return 0;
    if (!first[kind].code) {
        first[kind].code = memcpy(malloc(count * sizeof *code), code, count * sizeof *code);
        first[kind].count = count;
    }
    return count == first[kind].count && !memcmp(code, first[kind].code, count * sizeof *code);
}

static int refusal(unsigned command, const union bpf_attr *attribute, unsigned size)
{
    const unsigned char *bytes = (const void *)attribute;

    if (!is_zero(bytes, kernel()->size, size))
        return E2BIG;
    if (command > kernel()->commands)
        return EINVAL;
    if ((command == BPF_MAP_CREATE || command == BPF_PROG_LOAD) && !limit_is_lifted)
        return EPERM;
    /* Attaching to XDP, and to tcx, came later. */
    if (command == BPF_PROG_QUERY && attribute->query.attach_type >= 37)
        return EINVAL;
    if (command == BPF_PROG_LOAD && (has_new_helper(attribute) || attribute->prog_flags & ~kernel()->flags))
        return EINVAL;
    if (command == BPF_PROG_TEST_RUN && !is_zero(bytes, kernel()->test_run, size))
        return EINVAL;
    return 0;
}

long syscall(long number, ...)
{
    long (*real)(long, ...) = dlsym(RTLD_NEXT, "syscall");
    va_list list;
    long arguments[6];

    va_start(list, number);
    for (int i = 0; i < 6; i++)
        arguments[i] = va_arg(list, long);
    va_end(list);
    errno = 0;
    /* 5.3 */
    if (number == SYS_pidfd_open && kernel() == &kernels[0])
        errno = ENOSYS;
    if (number == SYS_bpf)
        errno = refusal(arguments[0], (void *)arguments[1], arguments[2]);
    if (errno)
        return -1;
    return real(number, arguments[0], arguments[1], arguments[2], arguments[3], arguments[4], arguments[5]);
}
"#;

const VERSIONS: [&str; 2] = ["4.19", "5.4"];

/// The old kernels.
struct Old(Library);

impl Old {
    fn new() -> Self {
        Self(Library::new("old-kernel", SOURCE))
    }

    /// The command with these arguments on the kernel `version`.
    fn command(&self, version: &str, arguments: &str) -> Command {
        let mut command = command(arguments);
        self.0.preload(&mut command).env("OLD_KERNEL", version);
        command
    }

    /// What the command says there, which must have the exit status `status`.
    #[track_caller]
    fn run(&self, version: &str, arguments: &str, status: i32) -> String {
        let output = self.command(version, arguments).output().unwrap();
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert_eq!(output.status.code(), Some(status), "{version}: {arguments}: {said}");
        said
    }
}

pub(crate) fn loopback() {
    let old = Old::new();
    for version in VERSIONS {
        let bpfecho = Bpfecho::spawn(&mut old.command(version, "127.0.0.1 ::1 1122"));
        let ready = "bpfecho: echoing TCP and UDP on 127.0.0.1 and ::1 port 1122 (lo, clsact egress)";
        assert_eq!(bpfecho.ready, ready);
        for address in ["127.0.0.1:1122", "[::1]:1122"] {
            exchange(address);
            stream::ping(&stream::connect(address), b"hello");
        }
        let listed = old.run(version, "--status", 0);
        assert!(listed.contains(" clsact egress ") && listed.contains("127.0.0.1 ::1 1122"), "{listed}");
        let end = bpfecho.end();
        assert!(end.status.success() && end.packets("UDP/IPv4") == 1, "{end:?}");
        assert!(!tc::has_clsact());

        let refused = old.run(version, "1122 --hook tcx", 1);
        assert!(
            refused.ends_with(": EINVAL: this kernel has no tcx, which came with Linux 6.6\n"),
            "{refused}"
        );
        let checked = old.run(version, "1122 --check", 0);
        assert!(checked.contains("no tcx, which came with Linux 6.6; clsact is taken instead"), "{checked}");
    }
}

/// Before 5.10 a program has no map that says what it echoes: the name of its filter does.
pub(crate) fn background() {
    let old = Old::new();
    for version in VERSIONS {
        let said = old.run(version, "127.0.0.1 1122 --background", 0);
        assert!(said.contains("(lo, clsact egress), without a process"), "{said}");
        exchange("127.0.0.1:1122");
        let [program] = tc::ours().try_into().unwrap();
        // Taken over.
        old.run(version, "127.0.0.1 1122 --background", 0);
        let [other] = tc::ours().try_into().unwrap();
        assert_ne!(program, other);
        assert_eq!(old.run(version, "--stop", 0), "bpfecho: stopped 127.0.0.1 1122 (lo, clsact egress)\n");
        assert!(!tc::has_clsact());
    }
}

pub(crate) fn wire() {
    let old = Old::new();
    let server = network::server();
    for version in VERSIONS {
        for hook in ["auto", "xdp", "xdp-generic"] {
            let arguments =
                format!("10.9.0.2 fd00:9::2 1122 --ifname vb --allow 10.9.0.0/16,fd00:9::/64 --hook {hook}");
            let bpfecho = server.run(|| Bpfecho::spawn(&mut old.command(version, &arguments)));
            for address in [V4, V6] {
                exchange(address);
                stream::ping(&stream::connect(address), b"hello");
            }
            let with_xdp = server.run(|| !tc::find("vb").unwrap().xdp.is_empty());
            assert_eq!(with_xdp, hook != "auto");
            let listed = server.run(|| old.run(version, "--status", 0));
            assert_eq!(listed.contains(" xdp "), with_xdp, "{listed}");
            assert!(bpfecho.end().status.success());
            assert!(server.run(|| tc::find("vb").unwrap().xdp.is_empty() && tc::ours_on("vb").is_empty()));
        }
    }
}

/// To ask a process to end and to wait for that takes pidfd_open(2).
pub(crate) fn stop() {
    let old = Old::new();
    let bpfecho = Bpfecho::spawn(&mut old.command("4.19", "1122"));
    let pid = bpfecho.pid();
    let said = old.run("4.19", "--stop", 1);
    let expected =
        format!("bpfecho: asking process {pid} to end: ENOSYS: before Linux 5.3 only `kill {pid}` can\n");
    assert_eq!(said, expected);
    exchange("127.0.0.1:1122");
    drop(bpfecho);
    let bpfecho = Bpfecho::spawn(&mut old.command("5.4", "1122"));
    old.run("5.4", "--stop", 0);
    assert!(bpfecho.await_end().status.success());
}
