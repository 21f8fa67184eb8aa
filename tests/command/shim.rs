//! A kernel without the parts of traffic control that bpfecho needs. The kernel here has them, so a library
//! between the command and libc gives them other names in what is asked, and the answer is the kernel's own.

use std::process::Command;

use super::support::preload::Library;

/// What the kernel lacks: a kind of qdisc or of filter.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Lacks {
    Clsact,
    Bpf,
}

const SOURCE: &str = r#"
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <linux/netlink.h>

#define AF_NETLINK 16
#define SOL_NETLINK 270

/* A request to make something of the kind SHIM_LACKS asks for a kind that no kernel has. */
ssize_t sendto(int socket, const void *message, size_t size, int flags, const void *to, unsigned to_size)
{
    ssize_t (*real)(int, const void *, size_t, int, const void *, unsigned) = dlsym(RTLD_NEXT, "sendto");
    const struct sockaddr_nl *receiver = to;
    const struct nlmsghdr *header = message;
    const char *kind = getenv("SHIM_LACKS");
    char copy[4096], *found;

    if (!receiver || receiver->nl_family != AF_NETLINK || !(header->nlmsg_flags & NLM_F_CREATE) ||
        size > sizeof copy)
        return real(socket, message, size, flags, to, to_size);
    memcpy(copy, message, size);
    found = memmem(copy, size, kind, strlen(kind) + 1);
    if (found)
        *found = 'X';
    return real(socket, copy, size, flags, to, to_size);
}

/* With SHIM_OLD the kernel is one before 4.12, which has no texts with errors. */
int setsockopt(int socket, int level, int option, const void *value, unsigned size)
{
    int (*real)(int, int, int, const void *, unsigned) = dlsym(RTLD_NEXT, "setsockopt");

    if (level == SOL_NETLINK && option == NETLINK_EXT_ACK && getenv("SHIM_OLD")) {
        errno = ENOPROTOOPT;
        return -1;
    }
    return real(socket, level, option, value, size);
}
"#;

/// The library, compiled.
pub(crate) struct Shim(Library);

impl Shim {
    pub(crate) fn new() -> Self {
        Self(Library::new("shim", SOURCE))
    }

    /// Lets `command` run on a kernel that lacks something, and perhaps is too old to say so in words.
    pub(crate) fn apply<'a>(&self, command: &'a mut Command, lacks: Lacks, old: bool) -> &'a mut Command {
        let kind = match lacks {
            Lacks::Clsact => "clsact",
            Lacks::Bpf => "bpf",
        };
        self.0.preload(command).env("SHIM_LACKS", kind);
        if old {
            command.env("SHIM_OLD", "1");
        }
        command
    }
}
