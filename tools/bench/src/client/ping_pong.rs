//! Latency: one client, one message at a time.

use std::time::Instant;

use super::Limits;

/// Who sends a message and gets it back.
pub(crate) trait PingPong {
    /// Sends the next message, and receives as much as comes back of it.
    fn exchange(&mut self) -> Result<(), String>;

    /// Compares what has come back. That is not timed.
    fn check(&mut self) -> Result<(), String>;
}

/// The percentiles that [`latency`] returns.
pub(crate) const PERCENTILES: [&str; 3] = ["p50", "p99", "p99.9"];

/// How long `client` waits for its echoes: the [`PERCENTILES`], in nanoseconds.
pub(crate) fn latency(client: &mut impl PingPong, limits: Limits) -> Result<Vec<f64>, String> {
    // Meanwhile the buffers grow, and the kernel learns that the connection is interactive.
    let warm_up = limits.duration / 10;
    let mut samples = Vec::new();
    let begin = Instant::now();
    loop {
        let start = Instant::now();
        client.exchange()?;
        let end = Instant::now();
        client.check()?;
        if start - begin >= warm_up {
            samples.push((end - start).as_nanos() as u64);
        }
        if end - begin >= limits.duration && !samples.is_empty() {
            break;
        }
    }
    samples.sort_unstable();
    Ok([500, 990, 999].map(|per_mille| percentile(&samples, per_mille) as f64).to_vec())
}

/// Of sorted samples, the smallest that so many of a thousand do not exceed.
fn percentile(sorted: &[u64], per_mille: usize) -> u64 {
    sorted[(sorted.len() * per_mille).div_ceil(1000).max(1) - 1]
}

#[cfg(test)]
mod tests {
    use super::percentile;

    #[test]
    fn percentiles_are_samples() {
        let samples: Vec<u64> = (1..=1000).collect();
        assert_eq!([500, 990, 999].map(|per_mille| percentile(&samples, per_mille)), [500, 990, 999]);
        assert_eq!([500, 990, 999].map(|per_mille| percentile(&[1, 2, 3], per_mille)), [2, 3, 3]);
        assert_eq!(percentile(&[7], 1), 7);
    }
}
