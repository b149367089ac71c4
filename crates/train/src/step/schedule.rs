//! The learning rate as a function of the iteration.

use std::f64::consts::PI;

use burn::lr_scheduler::{LrScheduler, LrSchedulerRecord};

use crate::config::{Decay, Milestones, OptimizationConfig, Warmup, WarmupShape};

impl OptimizationConfig {
    /// The learning rate schedule of all parameters that have the full rate.
    pub fn schedule(&self, total_iterations: usize) -> LearningRateSchedule {
        LearningRateSchedule {
            base: self.learning_rate,
            warmup: self.warmup.clone(),
            decay: match &self.decay {
                Decay::Steps { milestones, factor } => Course::Steps {
                    milestones: milestones.iterations(total_iterations),
                    factor: *factor,
                },
                Decay::Cosine { end } => Course::Cosine {
                    end: *end,
                    total: total_iterations,
                },
                Decay::Linear { end } => Course::Linear {
                    end: *end,
                    total: total_iterations,
                },
                Decay::OneCycle {
                    pct_start,
                    div_factor,
                    final_div_factor,
                } => Course::OneCycle {
                    peak: pct_start * total_iterations as f64 - 1.0,
                    last: total_iterations.saturating_sub(1) as f64,
                    start: 1.0 / div_factor,
                    end: 1.0 / div_factor / final_div_factor,
                },
            },
            iteration: 0,
        }
    }
}

impl Milestones {
    /// The iterations of the milestones in a training run of `total` iterations.
    fn iterations(&self, total: usize) -> Vec<usize> {
        match self {
            Self::Iterations(milestones) => milestones.clone(),
            Self::Fractions(shares) => shares
                .iter()
                .map(|share| (share * total as f64).round() as usize)
                .collect(),
        }
    }
}

/// The learning rate as a function of the iteration.
#[derive(Clone, Debug)]
pub struct LearningRateSchedule {
    base: f64,
    warmup: Warmup,
    decay: Course,
    iteration: usize,
}

/// A [`Decay`] resolved for the length of the training.
#[derive(Clone, Debug)]
enum Course {
    Steps {
        milestones: Vec<usize>,
        factor: f64,
    },
    Cosine {
        end: f64,
        total: usize,
    },
    Linear {
        end: f64,
        total: usize,
    },
    OneCycle {
        /// The iteration with the full rate, in general between two iterations.
        peak: f64,
        /// The last iteration.
        last: f64,
        /// The first and the last rate as fractions of the full one.
        start: f64,
        end: f64,
    },
}

impl LearningRateSchedule {
    /// The schedule with `factor` times the rate.
    #[must_use]
    pub(super) fn scaled(self, factor: f64) -> Self {
        Self {
            base: self.base * factor,
            ..self
        }
    }

    /// The share of the course between warm-up and end of the training that is done.
    fn share_done(&self, iteration: usize, total: usize) -> f64 {
        let length = total.saturating_sub(self.warmup.iterations).max(1);
        let done = iteration.saturating_sub(self.warmup.iterations).min(length);
        done as f64 / length as f64
    }

    /// The learning rate of an iteration, counted from 0.
    pub fn at(&self, iteration: usize) -> f64 {
        let warmup = &self.warmup;
        let decay = match &self.decay {
            Course::Steps { milestones, factor } => {
                let passed = milestones.iter().filter(|&&passed| iteration >= passed);
                factor.powi(passed.count() as i32)
            }
            Course::Cosine { end, total } => {
                let share = self.share_done(iteration, *total);
                half_cosine(1.0, *end, share)
            }
            Course::Linear { end, total } => 1.0 - (1.0 - end) * self.share_done(iteration, *total),
            Course::OneCycle {
                peak,
                last,
                start,
                end,
            } => {
                let iteration = (iteration as f64).min(*last);
                if iteration < *peak {
                    half_cosine(*start, 1.0, iteration / peak)
                } else if peak < last {
                    half_cosine(1.0, *end, (iteration - peak) / (last - peak))
                } else {
                    1.0
                }
            }
        };
        let factor = if iteration >= warmup.iterations {
            1.0
        } else {
            match warmup.shape {
                WarmupShape::Constant => warmup.factor,
                WarmupShape::Linear => {
                    let progress = iteration as f64 / warmup.iterations as f64;
                    warmup.factor + (1.0 - warmup.factor) * progress
                }
            }
        };
        self.base * factor * decay
    }
}

/// From `from` at a share of 0 to `to` at a share of 1.
fn half_cosine(from: f64, to: f64, share: f64) -> f64 {
    to + (from - to) * (1.0 + (PI * share).cos()) / 2.0
}

impl LrScheduler for LearningRateSchedule {
    fn step(&mut self) -> f64 {
        let rate = self.at(self.iteration);
        self.iteration += 1;
        rate
    }

    fn to_record(&self) -> LrSchedulerRecord {
        LrSchedulerRecord::new().with_scalar("iteration", self.iteration)
    }

    fn load_record(&mut self, record: LrSchedulerRecord) {
        if let Some(iteration) = record.scalar("iteration") {
            self.iteration = iteration;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paper() -> OptimizationConfig {
        crate::config::RunConfig::paper().optimization
    }

    #[test]
    fn the_paper_schedule_warms_up_at_a_third_and_drops_twice() {
        let schedule = paper().schedule(90_000);
        for (iteration, rate) in [
            (0, 0.01 / 3.0),
            (499, 0.01 / 3.0),
            (500, 0.01),
            (59_999, 0.01),
            (60_000, 0.001),
            (80_000, 0.0001),
            (89_999, 0.0001),
        ] {
            assert!((schedule.at(iteration) - rate).abs() < 1e-12, "{iteration}");
        }
    }

    #[test]
    fn a_linear_warmup_rises_in_equal_steps() {
        let mut config = paper();
        config.warmup = Warmup {
            iterations: 4,
            factor: 0.0,
            shape: WarmupShape::Linear,
        };
        config.decay = Decay::Steps {
            milestones: Milestones::Fractions(vec![0.75]),
            factor: 0.1,
        };
        let schedule = config.schedule(8);
        let rates: Vec<f64> = (0..8).map(|i| schedule.at(i) / 0.01).collect();
        let expected = [0.0, 0.25, 0.5, 0.75, 1.0, 1.0, 0.1, 0.1];
        for (rate, expected) in rates.iter().zip(expected) {
            assert!((rate - expected).abs() < 1e-12, "{rates:?}");
        }
    }

    #[test]
    fn a_cosine_falls_from_the_warm_up_to_the_end() {
        let mut config = paper();
        config.warmup = Warmup {
            iterations: 2,
            factor: 0.5,
            shape: WarmupShape::Linear,
        };
        config.decay = Decay::Cosine { end: 0.2 };
        let schedule = config.schedule(8);
        let rates: Vec<f64> = (0..10).map(|i| schedule.at(i) / 0.01).collect();
        // cos 0°, 30°, 60°, 90°, 120°, 150° between 1 and 0.2, then constant.
        let half = 3f64.sqrt() / 2.0;
        let cosines = [1.0, half, 0.5, 0.0, -0.5, -half, -1.0, -1.0];
        let expected = cosines.map(|cosine| 0.2 + 0.8 * (1.0 + cosine) / 2.0);
        for (rate, expected) in rates.iter().zip([0.5, 0.75].into_iter().chain(expected)) {
            assert!((rate - expected).abs() < 1e-12, "{rates:?}");
        }
    }

    #[test]
    fn a_schedule_resumes_from_its_record() {
        let mut schedule = paper().schedule(90_000);
        for _ in 0..60_000 {
            schedule.step();
        }
        let mut resumed = paper().schedule(90_000);
        resumed.load_record(schedule.to_record());
        assert_eq!(resumed.step(), schedule.step());
    }

    #[test]
    fn a_line_falls_in_equal_steps_from_the_warm_up_to_the_end() {
        let config = paper()
            .with_warmup(Warmup::linear(2, 0.5))
            .with_decay(Decay::Linear { end: 0.2 });
        let schedule = config.schedule(6);
        let rates: Vec<f64> = (0..8).map(|i| schedule.at(i) / 0.01).collect();
        let expected = [0.5, 0.75, 1.0, 0.8, 0.6, 0.4, 0.2, 0.2];
        for (rate, expected) in rates.iter().zip(expected) {
            assert!((rate - expected).abs() < 1e-12, "{rates:?}");
        }
    }

    /// `pct_start`, `div_factor` and `final_div_factor`, `total_steps`, and the rates of PyTorch's
    /// `OneCycleLR(optimizer, max_lr=0.01, …)`, as `optimizer.param_groups[0]["lr"]` has them.
    const ONE_CYCLES: [([f64; 3], usize, &[f64]); 4] = [
        (
            [0.3, 25.0, 1e4],
            10,
            &[
                0.0003999999999999993,
                0.0052,
                0.01,
                0.009504846320134737,
                0.008117456539497631,
                0.0061126202193628925,
                0.003887419780637108,
                0.00188258346050237,
                0.0004951936798652628,
                4e-08,
            ],
        ),
        (
            [0.45, 10.0, 100.0],
            8,
            &[
                0.0009999999999999992,
                0.003904278008308589,
                0.008868298366769955,
                0.009797667403204416,
                0.00770550088319071,
                0.004294137382824941,
                0.0012300308761004817,
                1e-05,
            ],
        ),
        (
            [0.0, 4.0, 1.0],
            5,
            &[
                0.009283813728906052,
                0.007408813728906052,
                0.005091186271093947,
                0.0032161862710939474,
                0.0025,
            ],
        ),
        (
            [1.0, 2.0, 3.0],
            4,
            &[0.005, 0.00625, 0.008749999999999999, 0.01],
        ),
    ];

    #[test]
    fn one_cycle_has_the_rates_of_pytorch() {
        for ([pct_start, div_factor, final_div_factor], total, expected) in ONE_CYCLES {
            let decay = Decay::OneCycle {
                pct_start,
                div_factor,
                final_div_factor,
            };
            let config = paper().with_warmup(Warmup::none()).with_decay(decay);
            let schedule = config.schedule(total);
            for (iteration, rate) in expected.iter().enumerate() {
                let found = schedule.at(iteration);
                assert!((found - rate).abs() < 1e-15, "{iteration}: {found} {rate}");
            }
            // After the end of the training, the rate stays.
            assert_eq!(schedule.at(total), schedule.at(total - 1));
        }
    }

    #[test]
    fn one_cycle_of_any_length_is_finite_and_at_most_the_full_rate() {
        for total in [1, 2, 3, 7, 1000, usize::MAX] {
            for pct_start in [0.0, 0.1, 0.5, 1.0, 1.0 / total as f64] {
                let decay = Decay::OneCycle {
                    pct_start,
                    div_factor: 25.0,
                    final_div_factor: 1e4,
                };
                let config = paper().with_warmup(Warmup::none()).with_decay(decay);
                let schedule = config.schedule(total);
                for iteration in (0..total.min(1000)).chain([total - 1, total]) {
                    let rate = schedule.at(iteration);
                    assert!(rate > 0.0 && rate <= 0.01 + 1e-15, "{pct_start}: {rate}");
                }
            }
        }
    }
}
