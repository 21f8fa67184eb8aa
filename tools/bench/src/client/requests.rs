//! Requests per second: a blocking client in a thread of its own for each connection.

use super::connection::{Connection, Options};
use super::together::together;
use super::{Endpoint, Limits};

/// The length of a request.
pub(crate) const SIZE: usize = 128;

/// Requests per second over so many connections, and the nanoseconds that all processors of the machine together worked
/// for each, clients included.
pub(crate) fn rate(endpoint: Endpoint, connections: usize, limits: Limits) -> Result<Vec<f64>, String> {
    let open = |_| Connection::open(endpoint, Options::Default, SIZE, limits.patience);
    let open: Vec<Connection> = (0..connections).map(open).collect::<Result<_, _>>()?;
    let clients = open.into_iter().map(|mut connection| {
        move |opened: std::time::Instant| {
            let mut requests = 0_u64;
            while opened.elapsed() < limits.duration {
                connection.request()?;
                requests += 1;
            }
            Ok((requests, connection))
        }
    });
    let together = together(clients.collect())?;
    let mut requests = 0;
    for (answered, connection) in together.results {
        requests += answered;
        connection.finish()?;
    }
    let requests = requests as f64;
    Ok(vec![requests / together.elapsed.as_secs_f64(), together.cpu.as_nanos() as f64 / requests])
}
