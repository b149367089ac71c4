//! Charts as SVG, which the script of the page lets a pointer or the arrow keys read.

use fcos_burn_page::text::{counted, grouped};
use fcos_burn_plot::{Axis, LineChart, ScatterChart, Series, sample_dots};
use maud::{Markup, PreEscaped, html};
use serde::Serialize;

/// The size of a chart in SVG units, which are about pixels on most screens.
const SIZE: [f64; 2] = [480.0, 270.0];

/// The space to the left, at the top, on the right and at the bottom.
const MARGIN: [f64; 4] = [76.0, 10.0, 14.0, 44.0];

/// The number of looks of lines in the style.
pub(super) const LOOKS: usize = 8;

/// The largest number of rows in the table of a chart.
const MAX_ROWS: usize = 25;

/// The charts of a page, and what its script has to know about them.
#[derive(Default)]
pub(super) struct Charts {
    data: Vec<ChartData>,
}

/// A chart as the script sees it.
#[derive(Serialize)]
struct ChartData {
    id: String,
    kind: &'static str,
    x_label: String,
    /// The values at the left and the right end.
    x: (f64, f64),
    /// The values at the bottom and the top.
    y: (f64, f64),
    /// The left end, the top, the width and the height of the frame in SVG units.
    frame: [f64; 4],
    series: Vec<SeriesData>,
    /// The run whose threshold the chart shows.
    run: Option<usize>,
}

#[derive(Serialize)]
struct SeriesData {
    name: String,
    points: Vec<[f64; 2]>,
}

/// A vertical line.
pub(super) enum Mark<'a> {
    None,
    /// At a value, with a label.
    At(f64, &'a str),
    /// At the score threshold of a run, which a slider sets.
    Threshold {
        run: usize,
        start: f32,
    },
}

impl Charts {
    pub fn data(&self) -> impl Serialize + '_ {
        &self.data
    }

    /// Lines. Nothing if they have no points.
    pub fn lines(&mut self, chart: &LineChart, mark: &Mark<'_>) -> Markup {
        let points = || chart.series.iter().flat_map(|series| &series.points);
        if points().next().is_none() {
            return html! {};
        }
        let x = Axis::around(points().map(|point| point.0));
        let ys = points().map(|point| point.1);
        let y = match chart.y_range {
            Some(range) => Axis::over(range, ys),
            None => Axis::around(ys),
        };
        let frame = Frame { x, y };
        let paths = html! {
            @for (index, series) in chart.series.iter().enumerate() {
                path class=(look(index)) d=(frame.path(series)) {}
                @if let [point] = series.points[..] { (frame.dot(point, index)) }
            }
        };
        let run = match mark {
            Mark::Threshold { run, .. } => Some(*run),
            _ => None,
        };
        let id = self.add("lines", &chart.x_label, &frame, &chart.series, run);
        html! {
            figure.chart {
                figcaption { (chart.title) }
                (legend(&chart.series))
                (frame.svg(&id, &chart.title, &summary(chart), [&chart.x_label, &chart.y_label], html! { (paths) (frame.mark(mark)) }))
                (readout(&id))
                (table(chart))
            }
        }
    }

    /// Dots. If there are many, only a [sample](sample_dots) of them.
    pub fn dots(&mut self, chart: &ScatterChart) -> Markup {
        if chart.points.is_empty() {
            return html! {};
        }
        let shown = sample_dots(&chart.points);
        let frame = Frame {
            x: Axis::over(chart.x_range, shown.iter().map(|point| point.0)),
            y: Axis::over(chart.y_range, shown.iter().map(|point| point.1)),
        };
        let dots: Vec<String> = (shown.iter())
            .filter_map(|&point| frame.place(point))
            .map(|[x, y]| format!("M{x} {y}h0"))
            .collect();
        let corner = |axis: &Axis, other: &Axis| {
            let low = axis.range().0.max(other.range().0);
            let high = axis.range().1.min(other.range().1);
            [low, high].map(|value| frame.place((value, value)))
        };
        let diagonal = corner(&frame.x, &frame.y);
        let content = html! {
            @if let ([Some([x1, y1]), Some([x2, y2])], Some(_)) = (diagonal, &chart.diagonal) {
                line.diagonal x1=(x1) y1=(y1) x2=(x2) y2=(y2) {}
            }
            path.dots d=(PreEscaped(dots.concat())) {}
        };
        let of = match shown.len() == chart.points.len() {
            true => counted(shown.len(), "detection"),
            false => format!(
                "{} of {}",
                grouped(shown.len()),
                counted(chart.points.len(), "detection")
            ),
        };
        let of = match &chart.diagonal {
            Some(diagonal) => format!("{of}. The line is {diagonal}."),
            None => format!("{of}."),
        };
        let series = [Series {
            name: chart.y_label.clone(),
            points: shown,
        }];
        let id = self.add("dots", &chart.x_label, &frame, &series, None);
        html! {
            figure.chart {
                figcaption { (chart.title) }
                p.quiet { (of) }
                (frame.svg(&id, &chart.title, &of, [&chart.x_label, &chart.y_label], content))
                (readout(&id))
            }
        }
    }

    fn add(
        &mut self,
        kind: &'static str,
        x_label: &str,
        frame: &Frame,
        series: &[Series],
        run: Option<usize>,
    ) -> String {
        let id = format!("chart-{}", self.data.len());
        let series = series.iter().map(|series| SeriesData {
            name: series.name.clone(),
            points: (series.points.iter())
                .filter(|(x, y)| x.is_finite() && y.is_finite())
                .map(|&(x, y)| [short(x), short(y)])
                .collect(),
        });
        let [left, top, right, bottom] = MARGIN;
        self.data.push(ChartData {
            id: id.clone(),
            kind,
            x_label: x_label.to_owned(),
            x: frame.x.range(),
            y: frame.y.range(),
            frame: [left, top, SIZE[0] - left - right, SIZE[1] - top - bottom],
            series: series.collect(),
            run,
        });
        id
    }
}

/// The axes of a chart.
struct Frame {
    x: Axis,
    y: Axis,
}

impl Frame {
    fn left(&self, value: f64) -> Option<f64> {
        let [left, _, right, _] = MARGIN;
        let position = self.x.position(value)?;
        Some(unit(left + position * (SIZE[0] - left - right)))
    }

    fn top(&self, value: f64) -> Option<f64> {
        let [_, top, _, bottom] = MARGIN;
        let position = self.y.position(value)?.clamp(0.0, 1.0);
        Some(unit(top + (1.0 - position) * (SIZE[1] - top - bottom)))
    }

    fn place(&self, (x, y): (f64, f64)) -> Option<[f64; 2]> {
        Some([self.left(x)?, self.top(y)?])
    }

    /// A line through the points, with gaps at values that are not finite.
    fn path(&self, series: &Series) -> String {
        let mut path = String::new();
        let mut connected = false;
        for &point in &series.points {
            match self.place(point) {
                Some([x, y]) => {
                    let command = if connected { 'L' } else { 'M' };
                    path.push_str(&format!("{command}{x} {y}"));
                    connected = true;
                }
                None => connected = false,
            }
        }
        path
    }

    fn dot(&self, point: (f64, f64), index: usize) -> Markup {
        html! {
            @if let Some([x, y]) = self.place(point) {
                circle class=(format!("dot {}", look(index))) cx=(x) cy=(y) r="3" {}
            }
        }
    }

    fn mark(&self, mark: &Mark<'_>) -> Markup {
        let (top, bottom) = (MARGIN[1], SIZE[1] - MARGIN[3]);
        let line = |value: f64, run: Option<usize>, label: &str| {
            let Some(x) = self.left(value) else {
                return html! {};
            };
            let (anchor, shift) = match x > SIZE[0] / 2.0 {
                true => ("end", -4.0),
                false => ("start", 4.0),
            };
            html! {
                line.mark data-run=[run] x1=(x) y1=(top) x2=(x) y2=(bottom) {}
                @if !label.is_empty() { text.halo x=(x + shift) y=(top + 11.0) text-anchor=(anchor) { (label) } }
            }
        };
        match mark {
            Mark::None => html! {},
            Mark::At(value, label) => line(*value, None, label),
            Mark::Threshold { run, start } => line(f64::from(*start), Some(*run), ""),
        }
    }

    fn svg(
        &self,
        id: &str,
        title: &str,
        description: &str,
        [x_label, y_label]: [&str; 2],
        content: Markup,
    ) -> Markup {
        let [left, top, right, bottom] = MARGIN;
        let (end, base) = (SIZE[0] - right, SIZE[1] - bottom);
        let middle = (top + base) / 2.0;
        html! {
            svg id=(id) viewBox=(format!("0 0 {} {}", SIZE[0], SIZE[1])) role="img"
                aria-labelledby=(format!("{id}-title {id}-text")) {
                title id=(format!("{id}-title")) { (title) }
                desc id=(format!("{id}-text")) { (description) " The arrow keys read its values." }
                @for tick in &self.y.ticks { @if let Some(y) = self.top(tick.value) {
                    line x1=(left) y1=(y) x2=(end) y2=(y) {}
                    text x=(left - 6.0) y=(y + 4.0) text-anchor="end" { (tick.label) }
                } }
                @for tick in &self.x.ticks { @if let Some(x) = self.left(tick.value) {
                    line x1=(x) y1=(base) x2=(x) y2=(base + 4.0) {}
                    text x=(x) y=(base + 17.0) text-anchor="middle" { (tick.label) }
                } }
                text x=((left + end) / 2.0) y=(SIZE[1] - 6.0) text-anchor="middle" { (x_label) }
                text x="14" y=(middle) text-anchor="middle" transform=(format!("rotate(-90 14 {middle})")) { (y_label) }
                (content)
            }
        }
    }
}

fn look(index: usize) -> String {
    format!("line look-{}", index % LOOKS)
}

fn legend(series: &[Series]) -> Markup {
    html! {
        ul.legend { @for (index, series) in series.iter().enumerate() { li {
            svg.key viewBox="0 0 28 8" aria-hidden="true" { path class=(look(index)) d="M0 4H28" {} }
            (series.name)
        } } }
    }
}

/// Where the script writes the values at the pointer.
fn readout(id: &str) -> Markup {
    html! { p.readout id=(format!("{id}-values")) aria-live="polite" {} }
}

/// The chart in words.
fn summary(chart: &LineChart) -> String {
    let series = chart.series.iter().filter_map(|series| {
        let (_, first) = series.points.first()?;
        let (_, last) = series.points.last()?;
        let (name, first, last) = (&series.name, short(*first), short(*last));
        Some(format!("{name} from {first} to {last}"))
    });
    let series: Vec<String> = series.collect();
    format!(
        "{} by {}: {}.",
        chart.y_label,
        chart.x_label.to_lowercase(),
        series.join(", ")
    )
}

/// Some of the values as a table. The lines share their positions, unless some values are missing.
fn table(chart: &LineChart) -> Markup {
    let points = chart.series.iter().flat_map(|series| &series.points);
    let mut positions: Vec<f64> = points.map(|point| point.0).collect();
    positions.sort_by(f64::total_cmp);
    positions.dedup();
    let last = positions.len().saturating_sub(1);
    let step = positions.len().div_ceil(MAX_ROWS).max(1);
    let kept = positions.iter().enumerate();
    let kept = kept.filter(|(index, _)| index % step == 0 || *index == last);
    let value = |series: &Series, x: f64| {
        let point = series.points.iter().find(|point| point.0 == x);
        point.map_or_else(|| "–".to_owned(), |point| short(point.1).to_string())
    };
    html! {
        details {
            summary { "Values of " (chart.title) }
            div.scroll tabindex="0" role="region" aria-label=(chart.title) { table {
                thead { tr {
                    th scope="col" { (chart.x_label) }
                    @for series in &chart.series { th scope="col" { (series.name) } }
                } }
                tbody { @for (_, &x) in kept { tr {
                    th scope="row" { (short(x)) }
                    @for series in &chart.series { td { (value(series, x)) } }
                } } }
            } }
        }
    }
}

/// A coordinate with one decimal.
fn unit(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

/// A value with four significant digits.
fn short(value: f64) -> f64 {
    format!("{value:.3e}").parse().unwrap_or(value)
}
