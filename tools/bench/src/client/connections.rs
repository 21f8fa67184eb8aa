//! Connections per second: one after another, each with one request.

use std::time::Instant;

use super::connection::{Connection, Options};
use super::{Endpoint, Limits};

/// The length of the request.
const SIZE: usize = 64;

/// How a client ends its connections.
#[derive(Clone, Copy, Debug)]
pub(crate) enum End {
    /// Both ends close their streams, the client first.
    Orderly,
    /// The client resets the connection.
    Reset,
}

/// Connections per second.
pub(crate) fn rate(endpoint: Endpoint, end: End, limits: Limits) -> Result<Vec<f64>, String> {
    let mut connections = 0_u64;
    let begin = Instant::now();
    while begin.elapsed() < limits.duration {
        let mut connection = Connection::open(endpoint, Options::Default, SIZE, limits.patience)?;
        connection.request()?;
        match end {
            End::Orderly => connection.close()?,
            End::Reset => connection.reset()?,
        }
        connections += 1;
    }
    Ok(vec![connections as f64 / begin.elapsed().as_secs_f64()])
}
