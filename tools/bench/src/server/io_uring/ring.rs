//! The requests of an echo server to io_uring(7), and the buffers that the kernel reads into and writes from.
//!
//! # Safety
//!
//! Every function here is safe to call. What the kernel is given addresses of lives as long as the process. A buffer is
//! either the kernel's to fill or that of the one who has its [`Buffer`]; the ring of free buffers is written as
//! io_uring_setup_buf_ring(3) says.

#![allow(unsafe_code)]

use std::alloc::{Layout, alloc_zeroed, handle_alloc_error};
use std::io;
use std::mem::zeroed;
use std::net::TcpStream;
use std::os::fd::{FromRawFd, RawFd};
use std::sync::atomic::{AtomicU16, Ordering};

use ::io_uring::types::{BufRingEntry, Fd, RecvMsgOut};
use ::io_uring::{IoUring, cqueue, opcode, squeue};

/// Entries of the submission queue.
const ENTRIES: u32 = 4096;
/// Entries of the completion queue.
const COMPLETIONS: u32 = 4 * ENTRIES;
/// A power of two, at most 2^15.
const BUFFERS: u16 = 1024;
/// Holds the longest datagram with its header.
const BUFFER: usize = 128 << 10;
/// The group of all buffers.
const GROUP: u16 = 0;

/// A ring that one thread uses.
pub(super) struct Ring {
    ring: IoUring,
    /// The content of all buffers.
    memory: *const u8,
    /// The ring of buffers that the kernel may fill.
    free: *mut BufRingEntry,
    /// Where in it the next one is put.
    tail: u16,
    /// What a datagram's sender may take in its buffer.
    datagram: &'static libc::msghdr,
}

/// Something that the kernel has done for `socket`. Where there is `more`, the request stands, and more will come of it.
pub(super) enum Completion {
    Accepted { socket: RawFd, stream: io::Result<TcpStream>, more: bool },
    Received { socket: RawFd, length: io::Result<u32>, buffer: Option<Buffer>, more: bool },
    ReceivedFrom { socket: RawFd, buffer: Option<Buffer>, more: bool },
    Sent { socket: RawFd, length: io::Result<u32> },
    SentBack { buffer: Buffer },
    Cancelled,
}

/// The number of a buffer that was filled.
pub(super) struct Buffer(u16);

/// A part of a buffer.
pub(super) struct Piece {
    pub(super) buffer: Buffer,
    pub(super) start: u32,
    pub(super) length: u32,
}

/// A ring of one thread, to which completions come when it waits for them (IORING_SETUP_DEFER_TASKRUN, since Linux 6.1).
pub(super) fn set_up() -> io::Result<IoUring> {
    IoUring::builder()
        .setup_cqsize(COMPLETIONS)
        .setup_single_issuer()
        .setup_coop_taskrun()
        .setup_defer_taskrun()
        .build(ENTRIES)
}

impl Ring {
    /// A new one.
    pub(super) fn new() -> io::Result<Self> {
        let ring = set_up()?;
        let free = free_buffers();
        // SAFETY: zeros are a value of the structure.
        let mut datagram: libc::msghdr = unsafe { zeroed() };
        datagram.msg_namelen = size_of::<libc::sockaddr_in6>() as libc::socklen_t;
        let memory = vec![0; usize::from(BUFFERS) * BUFFER].leak().as_ptr();
        // SAFETY: the memory has that many entries, and is never freed.
        unsafe { ring.submitter().register_buf_ring_with_flags(free as u64, BUFFERS, GROUP, 0)? };
        let mut ring = Self { ring, memory, free, tail: 0, datagram: Box::leak(Box::new(datagram)) };
        (0..BUFFERS).for_each(|number| ring.give_back(Buffer(number)));
        Ok(ring)
    }

    /// Accepts whoever connects to `listener`.
    pub(super) fn accept(&mut self, listener: RawFd) -> io::Result<()> {
        let entry = opcode::AcceptMulti::new(Fd(listener)).flags(libc::SOCK_CLOEXEC).build();
        self.push(&entry, Operation::Accept, listener, 0)
    }

    /// Receives what comes over the connection `socket`.
    pub(super) fn receive(&mut self, socket: RawFd) -> io::Result<()> {
        let entry = opcode::RecvMulti::new(Fd(socket), GROUP).build();
        self.push(&entry, Operation::Receive, socket, 0)
    }

    /// No longer receives what comes over `socket`.
    pub(super) fn cancel_receive(&mut self, socket: RawFd) -> io::Result<()> {
        let entry = opcode::AsyncCancel::new(user_data(Operation::Receive, socket, 0)).build();
        self.push(&entry, Operation::Cancel, socket, 0)
    }

    /// Receives the datagrams that come to `socket`, each behind its sender.
    pub(super) fn receive_from(&mut self, socket: RawFd) -> io::Result<()> {
        let entry = opcode::RecvMsgMulti::new(Fd(socket), self.datagram, GROUP).build();
        self.push(&entry, Operation::ReceiveFrom, socket, 0)
    }

    /// Sends `piece`, all of it unless the connection breaks. It has to be kept until that is done.
    pub(super) fn send(&mut self, socket: RawFd, piece: &Piece) -> io::Result<()> {
        let start = self.content(&piece.buffer).wrapping_add(piece.start as usize);
        let entry = opcode::Send::new(Fd(socket), start, piece.length).flags(libc::MSG_WAITALL).build();
        self.push(&entry, Operation::Send, socket, 0)
    }

    /// Sends the datagram in `buffer` back.
    pub(super) fn send_back(&mut self, socket: RawFd, buffer: Buffer) -> io::Result<()> {
        // SAFETY: whose buffer it is may read it, and it has that size.
        let content = unsafe { std::slice::from_raw_parts(self.content(&buffer), BUFFER) };
        let datagram = RecvMsgOut::parse(content, self.datagram).expect("a buffer holds the longest header");
        let (payload, sender) = (datagram.payload_data(), datagram.name_data());
        let entry = opcode::Send::new(Fd(socket), payload.as_ptr(), payload.len() as u32)
            .dest_addr(sender.as_ptr().cast())
            .dest_addr_len(sender.len() as libc::socklen_t)
            .build();
        self.push(&entry, Operation::SendBack, socket, buffer.0)
    }

    /// Lets the kernel fill `buffer` again.
    pub(super) fn give_back(&mut self, buffer: Buffer) {
        let address = self.content(&buffer) as u64;
        // SAFETY: the index is below the number of entries, and the kernel reads an entry only when the tail is behind it.
        // The tail is a part of the first entry that has no other use.
        unsafe {
            let entry = &mut *self.free.add(usize::from(self.tail % BUFFERS));
            entry.set_addr(address);
            entry.set_len(BUFFER as u32);
            entry.set_bid(buffer.0);
            self.tail = self.tail.wrapping_add(1);
            let tail = BufRingEntry::tail(self.free).cast::<AtomicU16>();
            (*tail).store(self.tail, Ordering::Release);
        }
    }

    /// Waits until something is done, and adds all that is to `completions`.
    pub(super) fn wait(&mut self, completions: &mut Vec<Completion>) -> io::Result<()> {
        match self.ring.submit_and_wait(1) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        completions.extend(self.ring.completion().map(|entry| completion(&entry)));
        Ok(())
    }

    fn content(&self, buffer: &Buffer) -> *const u8 {
        self.memory.wrapping_add(usize::from(buffer.0) * BUFFER)
    }

    fn push(
        &mut self,
        entry: &squeue::Entry,
        operation: Operation,
        socket: RawFd,
        buffer: u16,
    ) -> io::Result<()> {
        let entry = entry.clone().user_data(user_data(operation, socket, buffer));
        // SAFETY: whatever the entry has the address of is never freed.
        while unsafe { self.ring.submission().push(&entry) }.is_err() {
            self.ring.submit()?;
        }
        Ok(())
    }
}

/// Memory for the ring of free buffers, which starts a page.
fn free_buffers() -> *mut BufRingEntry {
    let layout = Layout::array::<BufRingEntry>(BUFFERS.into())
        .and_then(|layout| layout.align_to(rustix::param::page_size()))
        .expect("a small array");
    // SAFETY: the layout is not empty.
    let memory = unsafe { alloc_zeroed(layout) };
    if memory.is_null() {
        handle_alloc_error(layout);
    }
    memory.cast()
}

/// What a completion is of.
#[derive(Clone, Copy)]
enum Operation {
    Accept,
    Receive,
    ReceiveFrom,
    Send,
    SendBack,
    Cancel,
}

fn user_data(operation: Operation, socket: RawFd, buffer: u16) -> u64 {
    (operation as u64) << 48 | u64::from(buffer) << 32 | u64::from(socket.cast_unsigned())
}

/// What `entry` says, which is read once only, as it may own a buffer or a descriptor.
fn completion(entry: &cqueue::Entry) -> Completion {
    let (data, flags) = (entry.user_data(), entry.flags());
    let (socket, more) = (data as RawFd, cqueue::more(flags));
    let result = u32::try_from(entry.result()).map_err(|_| io::Error::from_raw_os_error(-entry.result()));
    let buffer = cqueue::buffer_select(flags).map(Buffer);
    const ACCEPT: u64 = Operation::Accept as u64;
    const RECEIVE: u64 = Operation::Receive as u64;
    const RECEIVE_FROM: u64 = Operation::ReceiveFrom as u64;
    const SEND: u64 = Operation::Send as u64;
    const SEND_BACK: u64 = Operation::SendBack as u64;
    match data >> 48 {
        ACCEPT => {
            // SAFETY: the descriptor is new, and nobody else's.
            let accepted = |stream: u32| unsafe { TcpStream::from_raw_fd(stream.cast_signed()) };
            let stream = result.map(accepted);
            Completion::Accepted { socket, stream, more }
        }
        RECEIVE => Completion::Received { socket, length: result, buffer, more },
        RECEIVE_FROM => Completion::ReceivedFrom { socket, buffer, more },
        SEND => Completion::Sent { socket, length: result },
        SEND_BACK => Completion::SentBack { buffer: Buffer((data >> 32) as u16) },
        _ => Completion::Cancelled,
    }
}
