//! One axis of a chart: the range it covers, its ticks and the position of a value.

/// The number of ticks that an axis has room for.
const TICKS: f64 = 8.0;

/// Larger values count as infinite, so that the length of a range cannot overflow.
const LARGEST: f64 = 1e300;

/// A tick of an [`Axis`].
#[derive(Clone, Debug, PartialEq)]
pub struct Tick {
    /// The value at which it stands.
    pub value: f64,
    /// The value as text.
    pub label: String,
}

/// One axis of a chart: the range it covers, and its ticks.
#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    low: f64,
    high: f64,
    /// The ticks, about eight.
    pub ticks: Vec<Tick>,
}

impl Axis {
    /// An axis over all finite `values`, with a little room at both ends. If all of
    /// these are integers, so are the ticks.
    pub fn around(values: impl Iterator<Item = f64> + Clone) -> Self {
        let finite = values.filter(|v| is_finite(*v));
        let whole = finite.clone().all(|v| v.fract() == 0.0);
        let low = finite.clone().fold(f64::INFINITY, f64::min);
        let high = finite.fold(f64::NEG_INFINITY, f64::max);
        if low > high {
            return Self::new(0.0, 1.0, false);
        }
        let room = if is_wide(low, high) {
            0.04 * (high - low)
        } else {
            (0.05 * high.abs()).max(0.5)
        };
        let within = |value: f64| value.clamp(-LARGEST, LARGEST);
        Self::new(within(low - room), within(high + room), whole)
    }

    /// An axis over a given range, or [around](Self::around) the values if the range
    /// is empty or not finite.
    pub fn over((low, high): (f64, f64), values: impl Iterator<Item = f64> + Clone) -> Self {
        if is_finite(low) && is_finite(high) && is_wide(low, high) {
            Self::new(low, high, false)
        } else {
            Self::around(values)
        }
    }

    fn new(low: f64, high: f64, whole: bool) -> Self {
        Self {
            low,
            high,
            ticks: ticks(low, high, whole),
        }
    }

    /// The position of a value: 0 at the low end, 1 at the high end, below 0 or above 1
    /// outside the range, and `None` for a value that is not finite.
    pub fn position(&self, value: f64) -> Option<f64> {
        is_finite(value).then(|| (value - self.low) / (self.high - self.low))
    }

    /// Whether a value lies in the range covered.
    pub fn covers(&self, value: f64) -> bool {
        (self.low..=self.high).contains(&value)
    }

    /// The range covered.
    pub fn range(&self) -> (f64, f64) {
        (self.low, self.high)
    }
}

/// Whether an axis can show a value, inside its range or not.
pub(super) fn is_finite(value: f64) -> bool {
    value.abs() <= LARGEST
}

/// Whether a range is long enough for the labels of its ticks to differ.
fn is_wide(low: f64, high: f64) -> bool {
    high - low > (1e-9 * low.abs().max(high.abs())).max(1.0 / LARGEST)
}

/// Multiples of 1, 2 or 5 times a power of ten.
fn ticks(low: f64, high: f64, whole: bool) -> Vec<Tick> {
    let rough = (high - low) / TICKS;
    let power = rough.log10().floor();
    let candidates = [1.0, 2.0, 5.0, 10.0].map(|m| m * 10.0_f64.powf(power));
    let step = candidates
        .into_iter()
        .find(|step| *step >= rough)
        .unwrap_or(rough);
    let step = if whole { step.max(1.0) } else { step };
    // Rounding must not drop a tick at the very end of the range.
    let (first, last) = ((low / step - 1e-6).ceil(), (high / step + 1e-6).floor());
    (0..=(last - first) as usize)
        .map(|i| (first + i as f64) * step)
        .map(|value| Tick {
            value,
            label: number(value, step),
        })
        .collect()
}

/// A multiple of `step`, to its last significant digit.
fn number(value: f64, step: f64) -> String {
    let exponent = |v: f64| (v.abs().log10() + 1e-9).floor() as i32;
    if (value / step).abs() < 0.5 {
        "0".into()
    } else if value.abs() >= 1e6 || step < 1e-4 {
        let digits = (exponent(value) - exponent(step)).max(0) as usize;
        format!("{value:.digits$e}").replace('-', "−")
    } else {
        let decimals = (-exponent(step)).max(0) as usize;
        let text = format!("{:.decimals$}", value.abs());
        let (whole, fraction) = text.split_at(text.find('.').unwrap_or(text.len()));
        let sign = if value < 0.0 { "−" } else { "" };
        format!("{sign}{}{fraction}", group_digits(whole))
    }
}

/// Digits with a comma between thousands: `12,345`.
pub(super) fn group_digits(digits: &str) -> String {
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn around(values: &[f64]) -> Axis {
        Axis::around(values.iter().copied())
    }

    fn over(low: f64, high: f64) -> Axis {
        Axis::over((low, high), std::iter::empty())
    }

    fn labels(axis: &Axis) -> Vec<&str> {
        axis.ticks.iter().map(|tick| tick.label.as_str()).collect()
    }

    #[test]
    fn common_ranges_have_round_ticks() {
        assert_eq!(
            labels(&over(0.0, 1.0)),
            ["0", "0.2", "0.4", "0.6", "0.8", "1.0"]
        );
        assert_eq!(
            labels(&over(-0.05, 0.1)),
            [
                "−0.04", "−0.02", "0", "0.02", "0.04", "0.06", "0.08", "0.10"
            ]
        );
        assert_eq!(
            labels(&over(0.0, 90_000.0)),
            ["0", "20,000", "40,000", "60,000", "80,000"]
        );
        assert_eq!(labels(&over(0.0, 4e6)).last(), Some(&"4.0e6"));
    }

    #[test]
    fn integers_have_integer_ticks() {
        assert_eq!(labels(&around(&[1.0])), ["1"]);
        assert_eq!(labels(&around(&[1.0, 2.0, 3.0])), ["1", "2", "3"]);
        assert!(labels(&around(&[1.0, 2.5])).contains(&"1.5"));
    }

    #[test]
    fn positions_are_fractions_of_the_range() {
        let axis = over(10.0, 30.0);
        assert_eq!(
            [10.0, 15.0, 30.0, 40.0].map(|v| axis.position(v).unwrap()),
            [0.0, 0.25, 1.0, 1.5]
        );
        assert_eq!(axis.position(f64::NAN), None);
        assert_eq!(axis.position(f64::NEG_INFINITY), None);
        assert!(axis.covers(30.0) && !axis.covers(30.1));
    }

    #[test]
    fn ticks_are_evenly_spaced_in_any_range_and_labeled_with_their_values() {
        let mut rng = ChaCha8Rng::seed_from_u64(11);
        for _ in 0..2000 {
            let size = 10.0_f64.powf(rng.random_range(-9.0..9.0));
            let low = size * rng.random_range(-2.0..2.0);
            let high = low + size * rng.random_range(0.1..3.0);
            let ticks = over(low, high).ticks;
            assert!((3..=9).contains(&ticks.len()), "{low} to {high}: {ticks:?}");
            let step = ticks[1].value - ticks[0].value;
            let slack = 1e-5 * step;
            for pair in ticks.windows(2) {
                assert!((pair[1].value - pair[0].value - step).abs() < slack);
            }
            for tick in &ticks {
                assert!(tick.value >= low - slack && tick.value <= high + slack);
                let read: f64 = tick
                    .label
                    .replace('−', "-")
                    .replace(',', "")
                    .parse()
                    .unwrap();
                assert!((read - tick.value).abs() < 0.01 * step, "{tick:?}");
            }
        }
    }

    #[test]
    fn an_axis_leaves_room_around_its_values() {
        let axis = around(&[3.0, f64::NAN, 0.2, f64::INFINITY, 7.0]);
        let (low, high) = axis.range();
        assert!(low < 0.2 && low > -0.2);
        assert!(high > 7.0 && high < 7.4);
    }

    #[test]
    fn odd_values_still_give_an_axis() {
        let odd: [&[f64]; 9] = [
            &[],
            &[f64::NAN],
            &[-1.0],
            &[0.0],
            &[0.0, 5e-324],
            &[1e300, -1e300],
            &[1e-300, 1e300],
            &[f64::MAX, f64::MIN],
            &[1.0, 1.0 + f64::EPSILON],
        ];
        for values in odd {
            let axis = around(values);
            let (low, high) = axis.range();
            assert!(
                low < high && high.is_finite(),
                "{values:?}: {low} to {high}"
            );
            assert!(
                (1..=12).contains(&axis.ticks.len()),
                "{values:?}: {:?}",
                axis.ticks
            );
            assert_eq!(axis.position(low), Some(0.0));
            assert_eq!(axis.position(high), Some(1.0));
        }
    }

    #[test]
    fn an_empty_range_is_replaced_by_that_of_the_values() {
        let axis = Axis::over((5.0, 5.0), [1.0, 2.0].into_iter());
        assert!(axis.covers(1.0) && axis.covers(2.0));
    }

    #[test]
    fn commas_separate_thousands() {
        let written = ["0", "999", "1000", "12345", "1234567"].map(group_digits);
        assert_eq!(written, ["0", "999", "1,000", "12,345", "1,234,567"]);
    }
}
