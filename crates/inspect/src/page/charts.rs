//! Histograms as SVG.

use fcos_burn_page::text::{grouped, rounded};
use maud::{Markup, html};

use crate::distribution::{Bin, Distribution};

/// The size of a chart in SVG units, which are about pixels on most screens.
const SIZE: [f64; 2] = [400.0, 150.0];

/// Space on the left for the scale, at the top for the largest count, and at the bottom for the values.
const MARGIN: [f64; 3] = [40.0, 8.0, 20.0];

/// The largest number of labels below a chart.
const MAX_LABELS: usize = 8;

/// The histogram of a distribution.
pub(super) fn histogram(distribution: &Distribution, title: &str) -> Markup {
    let [left, top, bottom] = MARGIN;
    let (width, height) = (SIZE[0] - left, SIZE[1] - top - bottom);
    let bins = &distribution.bins;
    let largest = bins.iter().map(|bin| bin.count).max().unwrap_or(0).max(1);
    let step = width / bins.len() as f64;
    let base = SIZE[1] - bottom;
    let x = |index: usize| left + index as f64 * step;
    let labels = bins
        .iter()
        .enumerate()
        .step_by(bins.len().div_ceil(MAX_LABELS));
    html! {
        svg viewBox=(format!("0 0 {} {}", SIZE[0], SIZE[1])) role="img" aria-label=(summary(distribution, title)) {
            line x1=(left) y1=(top) x2=(SIZE[0]) y2=(top) {}
            line x1=(left) y1=(base) x2=(SIZE[0]) y2=(base) {}
            text x=(left - 6.0) y=(top + 8.0) text-anchor="end" { (grouped(largest)) }
            text x=(left - 6.0) y=(base) text-anchor="end" { "0" }
            @for (index, bin) in bins.iter().enumerate() {
                @let bar = height * bin.count as f64 / largest as f64;
                rect x=(unit(x(index) + 0.5)) y=(unit(base - bar)) width=(unit((step - 1.0).max(0.5))) height=(unit(bar)) {
                    title { (range(bin)) ": " (grouped(bin.count)) }
                }
            }
            @for (index, bin) in labels {
                text x=(unit(x(index) + 1.0)) y=(SIZE[1] - 6.0) { (rounded(bin.from)) }
            }
        }
    }
}

/// The distribution in words, for screen readers.
fn summary(of: &Distribution, title: &str) -> String {
    let [min, median, max] = [of.min, of.median, of.max].map(rounded);
    format!("{title}: from {min} to {max}, median {median}")
}

fn range(bin: &Bin) -> String {
    match bin.to - bin.from {
        1.0 if bin.from.fract() == 0.0 => rounded(bin.from),
        _ => format!("{} to {}", rounded(bin.from), rounded(bin.to)),
    }
}

/// A coordinate with one decimal.
fn unit(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}
