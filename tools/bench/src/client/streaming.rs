//! Streams: what can be written is written, and read back at the same time.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Instant;

use socket2::Type;

use super::together::together;
use super::{Endpoint, Limits, lost, pattern};

/// How much is read at once.
const READ: usize = 256 << 10;

type Worker<'a> = Box<dyn FnOnce(Instant) -> Result<u64, String> + Send + 'a>;

/// 10^9 bytes per second each way over so many connections, in writes of `size` bytes.
pub(crate) fn rate(
    endpoint: Endpoint,
    connections: usize,
    size: usize,
    limits: Limits,
) -> Result<Vec<f64>, String> {
    let open = |_| endpoint.connect(Type::STREAM, limits.patience).map(TcpStream::from);
    let streams: Vec<TcpStream> = (0..connections).map(open).collect::<Result<_, _>>()?;
    let workers = streams.iter().flat_map(|stream| -> [Worker; 2] {
        let check = move |_| {
            // The writer ends with the reader, whose error comes first.
            read(stream).inspect_err(|_| drop(stream.shutdown(Shutdown::Both)))
        };
        [Box::new(check), Box::new(move |opened| write(stream, size, opened, limits))]
    });
    let together = together(workers.collect())?;
    for pair in together.results.chunks(2) {
        if let [read, written] = pair
            && read != written
        {
            return Err(format!("the stream ended behind {read} of {written} bytes"));
        }
    }
    let bytes: u64 = together.results.iter().sum::<u64>() / 2;
    Ok(vec![bytes as f64 / together.elapsed.as_secs_f64() / 1e9])
}

/// Writes until the time is over, then ends the stream. Returns how many bytes.
fn write(mut stream: &TcpStream, size: usize, opened: Instant, limits: Limits) -> Result<u64, String> {
    let mut written = 0;
    while opened.elapsed() < limits.duration {
        let piece = pattern::piece(written, size);
        stream.write_all(piece).map_err(|error| format!("writing behind {written} bytes: {error}"))?;
        written += piece.len() as u64;
    }
    stream.shutdown(Shutdown::Write).map_err(|error| format!("shutting down: {error}"))?;
    Ok(written)
}

/// Reads and compares until the stream ends. Returns how many bytes.
fn read(mut stream: &TcpStream) -> Result<u64, String> {
    let mut buffer = vec![0; READ];
    let mut offset = 0;
    loop {
        match stream.read(&mut buffer).map_err(|error| lost(&error, offset))? {
            0 => return Ok(offset),
            read => {
                pattern::compare(&buffer[..read], offset)?;
                offset += read as u64;
            }
        }
    }
}
