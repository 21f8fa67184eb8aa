//! The first three descriptors.

/// Where one of them is closed, the standard library opens /dev/null in its place before `main`, and where there is none
/// it ends the program without a word (sanitize_standard_fds() in library/std/src/sys/pal/unix). An init without a
/// console is such a program. So whoever starts gets them all.
#[used]
#[unsafe(link_section = ".init_array")]
static BEFORE_MAIN: extern "C" fn() = open_all;

/// Puts the root in the place of those that are closed: it can always be opened, and nobody reads it or writes to it.
extern "C" fn open_all() {
    // SAFETY: the path is terminated, and the descriptor that is closed is nobody else's.
    unsafe {
        loop {
            // The lowest number that is free.
            let descriptor = libc::open(c"/".as_ptr(), libc::O_RDONLY);
            if descriptor > libc::STDERR_FILENO {
                libc::close(descriptor);
            }
            if !(0..=libc::STDERR_FILENO).contains(&descriptor) {
                return;
            }
        }
    }
}
