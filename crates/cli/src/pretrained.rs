//! Pretrained weights by name.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use fcos_burn_pretrained::{Options, PretrainedWeights, Progress, fetch};

use crate::{Error, terminal::message};

/// Where weights are fetched from, and where they are kept.
///
/// # Errors
///
/// Fails if there is no cache folder.
pub fn options(offline: bool) -> Result<Options, Error> {
    Ok(Options::from_environment()?.with_offline(offline))
}

/// The file with these weights. If it has to be fetched, the progress is printed.
///
/// # Errors
///
/// Fails if it can neither be found nor fetched.
pub fn file(weights: &PretrainedWeights, options: &Options) -> Result<PathBuf, Error> {
    let mut lines = ProgressLines::new(weights.name);
    Ok(fetch(weights.name, options, &mut |progress| {
        lines.update(progress)
    })?)
}

/// A number of bytes in megabytes, without the unit.
pub fn megabytes(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / 1e6)
}

/// Prints how much of a file has been received, at every tenth and at least every ten seconds.
struct ProgressLines {
    name: &'static str,
    /// When the first bytes came, and how many there were.
    start: Option<(Instant, u64)>,
    /// When the last line was printed, and the number of its tenth.
    last: (Instant, u64),
}

impl ProgressLines {
    fn new(name: &'static str) -> Self {
        Self {
            name,
            start: None,
            last: (Instant::now(), 0),
        }
    }

    fn update(&mut self, progress: Progress) {
        const SILENCE: Duration = Duration::from_secs(10);
        let Progress {
            received, total, ..
        } = progress;
        let now = Instant::now();
        let (since, first) = *self.start.get_or_insert((now, received));
        let tenth = received * 10 / total.max(1);
        let (printed, last_tenth) = self.last;
        if tenth <= last_tenth && now - printed < SILENCE {
            return;
        }
        self.last = (now, tenth);
        let seconds = (now - since).as_secs_f64().max(1e-3);
        let speed = received.saturating_sub(first) as f64 / 1e6 / seconds;
        message(format_args!(
            "{}: {} of {} MB ({speed:.1} MB/s)",
            self.name,
            megabytes(received),
            megabytes(total)
        ));
    }
}
