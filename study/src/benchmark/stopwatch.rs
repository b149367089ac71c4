//! A stopwatch for stages that are repeated over several rounds.

use std::time::{Duration, Instant};

use crate::Error;
use burn::tensor::Device;
use serde::Serialize;

/// Number of rounds.
#[derive(Clone, Copy, Debug)]
pub struct Rounds {
    /// Warm-up rounds, which are not counted.
    pub warm_up: usize,
    /// Rounds that are counted.
    pub measured: usize,
}

/// Times of a stage.
#[derive(Clone, Debug, Serialize)]
pub struct Stage {
    /// Name of the stage.
    pub name: &'static str,
    /// The median of `milliseconds`.
    pub median: f64,
    /// Milliseconds of each round.
    pub milliseconds: Vec<f64>,
}

/// Times stages. A stage ends when the device has finished its work.
#[derive(Debug)]
pub struct Stopwatch {
    device: Device,
    stages: Vec<Stage>,
}

impl Stopwatch {
    /// Creates a stopwatch for work on `device`.
    pub fn new(device: &Device) -> Self {
        Self {
            device: device.clone(),
            stages: Vec::new(),
        }
    }

    /// Times `work` as one round of the stage `name`.
    ///
    /// # Errors
    ///
    /// Fails if the device fails.
    pub fn time<T>(&mut self, name: &'static str, work: impl FnOnce() -> T) -> Result<T, Error> {
        let start = Instant::now();
        let result = work();
        synchronize(&self.device)?;
        self.add(name, start.elapsed());
        Ok(result)
    }

    /// Adds the time of one round of the stage `name`.
    pub fn add(&mut self, name: &'static str, time: Duration) {
        let milliseconds = time.as_secs_f64() * 1e3;
        match self.stages.iter_mut().find(|stage| stage.name == name) {
            Some(stage) => stage.milliseconds.push(milliseconds),
            None => self.stages.push(Stage {
                name,
                median: 0.0,
                milliseconds: vec![milliseconds],
            }),
        }
    }

    /// The stages in the order of their first round, without the warm-up rounds.
    pub fn stages(mut self, rounds: Rounds) -> Vec<Stage> {
        for stage in &mut self.stages {
            stage
                .milliseconds
                .drain(..rounds.warm_up.min(stage.milliseconds.len()));
            stage.median = median(&stage.milliseconds);
        }
        self.stages
    }
}

fn synchronize(device: &Device) -> Result<(), Error> {
    device
        .sync()
        .map_err(|error| Error::Failed(error.to_string()))
}

/// The middle value, or the mean of the two middle values; 0 if there are none.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match (sorted.len(), sorted.get(sorted.len() / 2)) {
        (len, Some(upper)) if len % 2 == 0 => (sorted[len / 2 - 1] + upper) / 2.0,
        (_, middle) => middle.copied().unwrap_or(0.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_of_odd_even_and_empty_lists() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(median(&[]), 0.0);
    }

    #[test]
    fn warm_up_rounds_are_not_counted() {
        let mut stopwatch = Stopwatch::new(&Device::flex());
        for round in [900, 1, 3, 2] {
            stopwatch.add("first", Duration::from_millis(round));
            stopwatch.add("second", Duration::from_millis(2 * round));
        }
        let stages = stopwatch.stages(Rounds {
            warm_up: 1,
            measured: 3,
        });
        let found: Vec<_> = stages
            .iter()
            .map(|stage| (stage.name, stage.median))
            .collect();
        assert_eq!(found, [("first", 2.0), ("second", 4.0)]);
        assert_eq!(stages[0].milliseconds, [1.0, 3.0, 2.0]);
    }
}
