//! The HTML pages.

mod boxes;
mod chart;
mod details;
mod differences;
mod gallery;
mod tables;
mod threshold;

use fcos_burn_eval::CocoMetric;
use fcos_burn_page::{
    Data, Document, Photos,
    text::{counted, grouped, line},
};
use fcos_burn_plot::{LineChart, Series};
use maud::{Markup, html};
use serde::Serialize;

use self::{
    chart::{Charts, LOOKS, Mark},
    gallery::Gallery,
    tables::percent,
    threshold::Thresholds,
};
use crate::{
    CONFIDENCE, ReportError, charts,
    comparison::{Comparison, Examinee},
    report::Report,
};

/// The largest number of classes in a table.
const MAX_CLASSES: usize = 200;

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("script.js");

impl Report<'_> {
    /// The page. The same run gives the same bytes.
    ///
    /// # Errors
    ///
    /// Fails if the data of the page cannot be written as JSON.
    pub fn html(&self) -> Result<String, ReportError> {
        let mut photos = Photos::default();
        let mut charts = Charts::default();
        let threshold = self.score_threshold();
        let examined = self.examined.as_ref().ok();
        let thresholds = examined.map(|examined| {
            let thresholds = Thresholds::new(0, &examined.matching, threshold);
            thresholds.with_classes(&examined.matching, &self.labels())
        });
        let name = line(&self.run.name);
        let training = self.training(&mut charts);
        let detections = self.detections(&mut charts);
        let gallery = examined.map(|examined| {
            let gallery = Gallery::new(examined, threshold, &mut photos);
            html! { section id="gallery" { h2 { "The costliest errors" } (gallery.markup()) } }
        });
        let body = html! {
            (photos.definitions())
            (header(&name, &self.overview(), &self.sections()))
            main {
                (self.results())
                (training)
                @if let Some(thresholds) = &thresholds { (controls(html! { (thresholds.slider("Score threshold")) })) }
                (detections)
                (self.classes(thresholds.as_ref()))
                (self.errors())
                @if let Some(gallery) = gallery { (gallery) }
                (details::data(&self.run))
                (details::run(&self.run))
            }
            (page_data(&charts, thresholds.as_slice())?)
        };
        Ok(document(&format!("Report of {name}"), body))
    }

    /// The labels of the classes in the table.
    fn labels(&self) -> Vec<usize> {
        let names = self.class_names();
        let analysis = self.analysis.as_ref();
        let rows = analysis.map(|analysis| tables::class_rows(analysis, names));
        let rows = rows.into_iter().flatten();
        rows.filter_map(|(_, label)| label).collect()
    }

    /// The names of the labels; none without the data.
    fn class_names(&self) -> &[String] {
        match &self.examined {
            Ok(examined) => examined.matching.classes(),
            Err(_) => &[],
        }
    }

    /// The ids and titles of the sections.
    fn sections(&self) -> Vec<(&'static str, &'static str)> {
        let (is_examined, is_analyzed) = (self.examined.is_ok(), self.analysis.is_some());
        let sections = [
            (true, ("results", "Results")),
            (true, ("training", "Training")),
            (is_examined, ("detections", "Detections")),
            (is_analyzed, ("classes", "Classes")),
            (is_analyzed, ("errors", "Errors")),
            (is_examined, ("gallery", "Gallery")),
            (true, ("data", "Data")),
            (true, ("run", "Run")),
        ];
        let shown = sections.into_iter().filter(|(is_shown, _)| *is_shown);
        shown.map(|(_, section)| section).collect()
    }

    /// The most important numbers in a sentence.
    fn overview(&self) -> String {
        let evaluation = &self.run.evaluation;
        let counts = [
            counted(evaluation.images, "validation image"),
            counted(evaluation.detections, "detection"),
        ];
        let metrics = [CocoMetric::AP, CocoMetric::AP50, CocoMetric::AP75]
            .map(|metric| format!("{} {}", metric.name(), percent(evaluation.metric(metric))));
        let threshold = match self.analysis.as_ref().map(|of| of.score_threshold) {
            Some(Some(threshold)) => format!(" Score threshold {threshold}."),
            Some(None) => " The run has no score threshold; all detections count.".to_owned(),
            None => String::new(),
        };
        format!("{}. {}.{threshold}", metrics.join(", "), counts.join(", "))
    }

    fn results(&self) -> Markup {
        let run = &self.run;
        html! {
            section id="results" {
                h2 { "Results" }
                (details::warnings(run))
                @if let Err(cause) = &self.examined {
                    p.alarm {
                        "No pictures, no curves of the detections and no slider: the data of the run cannot be examined. "
                        (line(cause))
                    }
                }
                (tables::metrics(&run.evaluation))
                p.quiet { "AP and AR in percent." }
            }
        }
    }

    fn training(&self, charts: &mut Charts) -> Markup {
        let kept = self.run.kept_epoch;
        let label = kept.map(|epoch| format!("kept: epoch {epoch}"));
        let mark = match (kept, &label) {
            (Some(epoch), Some(label)) => Mark::At(epoch as f64, label),
            _ => Mark::None,
        };
        html! {
            section id="training" {
                h2 { "Training" }
                @match details::time(&self.run) {
                    Some(time) => p.quiet { (time) },
                    None => p.quiet { "No epochs were recorded." },
                }
                div.charts { @for curve in &self.run.curves { (charts.lines(curve, &mark)) } }
            }
        }
    }

    fn detections(&self, charts: &mut Charts) -> Markup {
        let Ok(examined) = &self.examined else {
            return html! {};
        };
        let start = self.score_threshold();
        html! {
            section id="detections" {
                h2 { "Detections" }
                p.quiet {
                    "Point at a chart to read its values, or focus it and use the arrow keys. "
                    "The line in the chart of the operating points is the threshold of the slider."
                }
                div.charts {
                    @if let Some(analysis) = &self.analysis {
                        (charts.lines(&charts::operating_points(analysis), &Mark::Threshold { run: 0, start }))
                    }
                    (charts.lines(&charts::precision_recall(&examined.evaluation), &Mark::None))
                    (charts.dots(&charts::score_iou(&examined.evaluation)))
                }
            }
        }
    }

    fn classes(&self, thresholds: Option<&Thresholds>) -> Markup {
        let Some(analysis) = &self.analysis else {
            return html! {};
        };
        html! {
            section id="classes" {
                h2 { "Classes" }
                p.quiet {
                    "Best: the score threshold with the largest F1 of the class, at IoU " (analysis.iou_threshold) ". "
                    @if thresholds.is_some() { "Found to F1: at the threshold of the slider. " }
                    "Detected as: at the threshold of the run."
                }
                (tables::classes(&self.run.evaluation, analysis, thresholds, self.class_names()))
                (tables::confusions(analysis))
            }
        }
    }

    fn errors(&self) -> Markup {
        let Some(analysis) = &self.analysis else {
            return html! {};
        };
        html! {
            section id="errors" {
                h2 { "Errors" }
                p.quiet { "Cost: the rise in AP at IoU " (analysis.iou_threshold) " if these errors alone were corrected, in points." }
                (tables::errors(analysis))
            }
        }
    }
}

impl Comparison<'_> {
    /// The page. The same runs give the same bytes.
    ///
    /// # Errors
    ///
    /// Fails if the data of the page cannot be written as JSON.
    pub fn html(&self) -> Result<String, ReportError> {
        let mut photos = Photos::default();
        let mut charts = Charts::default();
        let names: Vec<String> = (self.runs.iter()).map(|run| line(&run.run.name)).collect();
        let of_run = |(place, run): (usize, &Examinee<'_>)| {
            Thresholds::new(place, &run.examined.matching, run.score_threshold())
        };
        let thresholds: Vec<Thresholds> = self.runs.iter().enumerate().map(of_run).collect();
        let overlaid = self.overlaid();
        let drawn = html! { @for chart in &overlaid { (charts.lines(chart, &Mark::None)) } };
        let images = differences::images(self, &mut photos);
        let title = names.join(", ");
        let body = html! {
            (photos.definitions())
            (header(&title, &self.overview(), &[
                ("metrics", "Metrics"), ("curves", "Curves"), ("images", "Images"), ("configurations", "Configurations"),
            ]))
            main {
                section id="metrics" {
                    h2 { "Metrics" }
                    p.quiet {
                        "In percent. Differences are from " (names.first().map_or("", String::as_str)) ", with their "
                        (100.0 * CONFIDENCE) "% intervals over " (grouped(self.resamples)) " paired bootstrap samples of the images. "
                        "An interval without 0 is marked. It covers the choice of images, not the random seed of the training."
                    }
                    (differences::metrics(self))
                    h3 { "AP of the classes" }
                    (differences::classes(self))
                    @for run in &self.runs {
                        h3 { "Warnings of " (line(&run.run.name)) }
                        (details::warnings(&run.run))
                    }
                }
                section id="curves" {
                    h2 { "Curves" }
                    div.charts { (drawn) }
                }
                (controls(html! { @for (thresholds, name) in thresholds.iter().zip(&names) { (thresholds.slider(name)) } }))
                section id="images" {
                    h2 { "Images that differ most" }
                    (gallery::legend(&gallery::LINES))
                    (images)
                }
                section id="configurations" {
                    h2 { "Configurations" }
                    @for run in &self.runs { @if let Some(time) = details::time(&run.run) {
                        p { (line(&run.run.name)) ": " (time) }
                    } }
                    (differences::configurations(self))
                }
            }
            (page_data(&charts, &thresholds)?)
        };
        Ok(document(&format!("Comparison of {title}"), body))
    }

    fn overview(&self) -> String {
        let runs = counted(self.runs.len(), "run");
        match self.runs.first() {
            Some(first) => {
                let images = counted(first.examined.dataset.len(), "validation image");
                format!("{runs} on the same {images}.")
            }
            None => runs,
        }
    }

    /// The first line of each chart, of all runs. Charts with the same title belong together.
    fn overlaid(&self) -> Vec<LineChart> {
        let mut charts = Vec::<LineChart>::new();
        for run in &self.runs {
            let mut own = run.run.curves.clone();
            own.push(charts::precision_recall(&run.examined.evaluation));
            let points = run.analysis.as_ref().map(charts::operating_points);
            // F1 is the last of its lines.
            own.extend(points.map(|mut chart| {
                chart.series.reverse();
                chart
            }));
            for chart in own {
                let Some(first) = chart.series.into_iter().next() else {
                    continue;
                };
                let title = match first.name == chart.title {
                    true => chart.title.clone(),
                    false => format!("{}: {}", chart.title, first.name),
                };
                let series = Series {
                    name: line(&run.run.name),
                    ..first
                };
                match charts.iter_mut().find(|other| other.title == title) {
                    Some(other) => other.series.push(series),
                    None => charts.push(LineChart {
                        title,
                        series: vec![series],
                        ..chart
                    }),
                }
            }
        }
        charts
    }
}

fn header(title: &str, overview: &str, links: &[(&str, &str)]) -> Markup {
    html! {
        header {
            h1 { (title) }
            p { (overview) }
            nav aria-label="Sections" { ul { @for (id, name) in links { li { a href=(format!("#{id}")) { (name) } } } } }
            noscript { p.quiet { "Without JavaScript, the page shows the detections at the score threshold of the run." } }
        }
    }
}

/// The sliders, which stay in view. The script reveals them.
fn controls(sliders: Markup) -> Markup {
    html! { div.controls role="group" aria-label="Score thresholds" hidden { (sliders) } }
}

fn page_data(charts: &Charts, thresholds: &[Thresholds]) -> serde_json::Result<Data> {
    #[derive(Serialize)]
    struct PageData<'a, C: Serialize> {
        charts: C,
        /// The number of looks of lines in the style.
        looks: usize,
        runs: &'a [Thresholds],
    }
    let data = PageData {
        charts: charts.data(),
        looks: LOOKS,
        runs: thresholds,
    };
    Data::new("page-data", &data)
}

fn document(title: &str, body: Markup) -> String {
    let document = Document {
        title,
        style: STYLE,
        script: Some(SCRIPT),
        body,
    };
    document.html()
}
