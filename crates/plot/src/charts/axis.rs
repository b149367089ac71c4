//! One axis of a chart: the range it covers, its ticks, and where a value falls.

/// The number of ticks an axis has room for.
const TICKS: f64 = 8.0;

/// Values beyond this are taken for infinite: the length of a range must not
/// overflow.
const LARGEST: f64 = 1e300;

/// How an axis spaces its values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scale {
    /// Equal differences take equal lengths.
    Linear,
    /// Equal ratios take equal lengths; values that are not positive cannot be shown.
    Logarithmic,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tick {
    pub value: f64,
    pub label: String,
}

#[derive(Clone, Debug)]
pub(super) struct Axis {
    low: f64,
    high: f64,
    scale: Scale,
    pub ticks: Vec<Tick>,
}

impl Axis {
    /// An axis over all of `values` that the scale can show, with a little room at
    /// both ends. Where these are whole numbers, so are the ticks.
    pub fn around(values: impl Iterator<Item = f64> + Clone, scale: Scale) -> Self {
        let shown = values.filter(|v| scale.shows(*v));
        let whole = shown.clone().all(|v| v.fract() == 0.0);
        let low = shown.clone().fold(f64::INFINITY, f64::min);
        let high = shown.fold(f64::NEG_INFINITY, f64::max);
        if low > high {
            return match scale {
                Scale::Linear => Self::new(0.0, 1.0, scale, false),
                Scale::Logarithmic => Self::new(0.1, 1.0, scale, false),
            };
        }
        let (low, high) = (scale.forward(low), scale.forward(high));
        let room = match scale {
            _ if is_wide(low, high) => 0.04 * (high - low),
            Scale::Linear => (0.05 * high.abs()).max(0.5),
            Scale::Logarithmic => 0.5,
        };
        Self::new(
            scale.backward(low - room),
            scale.backward(high + room),
            scale,
            whole,
        )
    }

    /// An axis over a given range, or [around](Self::around) the values where that
    /// range is empty or cannot be shown.
    pub fn over(
        (low, high): (f64, f64),
        values: impl Iterator<Item = f64> + Clone,
        scale: Scale,
    ) -> Self {
        if scale.shows(low) && scale.shows(high) && is_wide(low, high) {
            Self::new(low, high, scale, false)
        } else {
            Self::around(values, scale)
        }
    }

    fn new(low: f64, high: f64, scale: Scale, whole: bool) -> Self {
        let ticks = match scale {
            Scale::Linear => linear_ticks(low, high, whole),
            Scale::Logarithmic => logarithmic_ticks(low, high),
        };
        Self {
            low,
            high,
            scale,
            ticks,
        }
    }

    /// Where a value falls: 0 at the low end, 1 at the high end, beyond for a value
    /// beyond, and `None` for one that the scale cannot show.
    pub fn position(&self, value: f64) -> Option<f64> {
        let at = |v| self.scale.forward(v);
        self.scale
            .shows(value)
            .then(|| (at(value) - at(self.low)) / (at(self.high) - at(self.low)))
    }

    /// Whether a value can be shown on this kind of axis, inside its range or not.
    pub fn shows(&self, value: f64) -> bool {
        self.scale.shows(value)
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

/// Whether a range is long enough for ticks to differ in their digits.
fn is_wide(low: f64, high: f64) -> bool {
    high - low > (1e-9 * low.abs().max(high.abs())).max(1.0 / LARGEST)
}

impl Scale {
    /// Whether an axis of this kind can show a value.
    pub fn shows(self, value: f64) -> bool {
        value.abs() <= LARGEST && (self == Self::Linear || value >= 1.0 / LARGEST)
    }

    fn forward(self, value: f64) -> f64 {
        match self {
            Self::Linear => value,
            Self::Logarithmic => value.log10(),
        }
    }

    fn backward(self, value: f64) -> f64 {
        match self {
            Self::Linear => value.clamp(-LARGEST, LARGEST),
            Self::Logarithmic => 10.0_f64.powf(value).clamp(1.0 / LARGEST, LARGEST),
        }
    }
}

/// Multiples of 1, 2 or 5 times a power of ten.
fn linear_ticks(low: f64, high: f64, whole: bool) -> Vec<Tick> {
    let rough = (high - low) / TICKS;
    let power = rough.log10().floor();
    let candidates = [1.0, 2.0, 5.0, 10.0].map(|m| m * 10.0_f64.powf(power));
    let step = candidates
        .into_iter()
        .find(|step| *step >= rough)
        .unwrap_or(rough);
    let step = if whole { step.max(1.0) } else { step };
    // A tick at the very end of the range must not fall to rounding.
    let (first, last) = ((low / step - 1e-6).ceil(), (high / step + 1e-6).floor());
    (0..=(last - first) as usize)
        .map(|i| (first + i as f64) * step)
        .map(|value| Tick {
            value,
            label: number(value, step),
        })
        .collect()
}

/// Powers of ten, with 2 and 5 times these where there are few.
fn logarithmic_ticks(low: f64, high: f64) -> Vec<Tick> {
    let (first, last) = (low.log10().floor() as i32, high.log10().ceil() as i32);
    let decades = last - first;
    let multiples: &[f64] = if decades <= 3 {
        &[1.0, 2.0, 5.0]
    } else {
        &[1.0]
    };
    let stride = (f64::from(decades) / TICKS).ceil().max(1.0) as usize;
    (first..=last)
        .step_by(stride)
        .flat_map(|decade| multiples.iter().map(move |m| (m, 10.0_f64.powi(decade))))
        .map(|(m, power)| Tick {
            value: m * power,
            label: number(m * power, power),
        })
        .filter(|tick| tick.value >= low * (1.0 - 1e-9) && tick.value <= high * (1.0 + 1e-9))
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
        format!("{sign}{}{fraction}", group(whole))
    }
}

/// Thousands apart: `12,345`.
pub(super) fn grouped(n: usize) -> String {
    group(&n.to_string())
}

fn group(digits: &str) -> String {
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

    fn around(values: &[f64], scale: Scale) -> Axis {
        Axis::around(values.iter().copied(), scale)
    }

    fn over(low: f64, high: f64, scale: Scale) -> Axis {
        Axis::over((low, high), std::iter::empty(), scale)
    }

    fn labels(axis: &Axis) -> Vec<&str> {
        axis.ticks.iter().map(|tick| tick.label.as_str()).collect()
    }

    #[test]
    fn ticks_of_common_axes() {
        assert_eq!(
            labels(&over(0.0, 1.0, Scale::Linear)),
            ["0", "0.2", "0.4", "0.6", "0.8", "1.0"]
        );
        assert_eq!(
            labels(&over(-0.05, 0.1, Scale::Linear)),
            [
                "−0.04", "−0.02", "0", "0.02", "0.04", "0.06", "0.08", "0.10"
            ]
        );
        assert_eq!(
            labels(&over(0.0, 90_000.0, Scale::Linear)),
            ["0", "20,000", "40,000", "60,000", "80,000"]
        );
        assert_eq!(
            labels(&over(0.0, 4e6, Scale::Linear)).last(),
            Some(&"4.0e6")
        );
        assert_eq!(
            labels(&over(0.05, 2.0, Scale::Logarithmic)),
            ["0.05", "0.1", "0.2", "0.5", "1", "2"]
        );
        assert_eq!(
            labels(&over(1e-4, 10.0, Scale::Logarithmic)),
            ["0.0001", "0.001", "0.01", "0.1", "1", "10"]
        );
    }

    #[test]
    fn whole_numbers_have_whole_ticks() {
        assert_eq!(labels(&around(&[1.0], Scale::Linear)), ["1"]);
        assert_eq!(
            labels(&around(&[1.0, 2.0, 3.0], Scale::Linear)),
            ["1", "2", "3"]
        );
        assert!(labels(&around(&[1.0, 2.5], Scale::Linear)).contains(&"1.5"));
    }

    #[test]
    fn positions_are_shares_of_the_range() {
        let linear = over(10.0, 30.0, Scale::Linear);
        assert_eq!(
            [10.0, 15.0, 30.0, 40.0].map(|v| linear.position(v).unwrap()),
            [0.0, 0.25, 1.0, 1.5]
        );
        assert_eq!(linear.position(f64::NAN), None);
        assert_eq!(linear.position(f64::NEG_INFINITY), None);
        assert!(linear.covers(30.0) && !linear.covers(30.1));

        let logarithmic = over(0.01, 100.0, Scale::Logarithmic);
        assert!((logarithmic.position(10.0).unwrap() - 0.75).abs() < 1e-12);
        assert_eq!(logarithmic.position(0.0), None);
    }

    #[test]
    fn ticks_lie_evenly_within_any_range_and_read_as_their_values() {
        let mut rng = ChaCha8Rng::seed_from_u64(11);
        for _ in 0..2000 {
            let size = 10.0_f64.powf(rng.random_range(-9.0..9.0));
            let low = size * rng.random_range(-2.0..2.0);
            let high = low + size * rng.random_range(0.1..3.0);
            let ticks = over(low, high, Scale::Linear).ticks;
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
    fn values_are_covered_with_room_to_spare() {
        for scale in [Scale::Linear, Scale::Logarithmic] {
            let axis = around(&[3.0, f64::NAN, 0.2, f64::INFINITY, 7.0], scale);
            let (low, high) = axis.range();
            assert!(low < 0.2 && low > 0.0 || scale == Scale::Linear && low < 0.2 && low > -0.2);
            assert!(high > 7.0 && high < 10.0);
        }
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
            for scale in [Scale::Linear, Scale::Logarithmic] {
                let axis = around(values, scale);
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
        let fallback = Axis::over((5.0, 5.0), [1.0, 2.0].into_iter(), Scale::Linear);
        assert!(fallback.covers(1.0) && fallback.covers(2.0));
    }

    #[test]
    fn thousands_are_set_apart() {
        let written = [0, 999, 1000, 12_345, 1_234_567].map(grouped);
        assert_eq!(written, ["0", "999", "1,000", "12,345", "1,234,567"]);
    }
}
