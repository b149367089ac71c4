//! The data, the configuration, the machine and the time of a run.

use fcos_burn_page::{
    markup::{list, swatch},
    text::{capitalized, counted, grouped, line},
};
use maud::{Markup, html};

use super::MAX_CLASSES;
use crate::{
    provenance::{Provenance, Session},
    run::RunSummary,
};

/// The warnings of a run, or why they are unknown.
pub(super) fn warnings(run: &RunSummary) -> Markup {
    html! {
        @match &run.warnings {
            Ok(warnings) if warnings.is_empty() => p.quiet { "No warnings." },
            Ok(warnings) => div.alarm { (list(warnings)) },
            Err(cause) => p.alarm { "The warnings of the run are unknown: " (line(cause)) },
        }
    }
}

/// The counts of the data, and what its readers dropped or repaired.
pub(super) fn data(run: &RunSummary) -> Markup {
    html! {
        section id="data" {
            h2 { "Data" }
            @match &run.provenance {
                Some(provenance) => (splits(provenance)),
                None => p.quiet { "The counts of the data were not recorded." },
            }
        }
    }
}

fn splits(provenance: &Provenance) -> Markup {
    let splits = &provenance.splits;
    // The validation split may lack classes of the training split.
    let classes = splits.iter().max_by_key(|split| split.classes.len());
    let classes = classes.map_or(&[][..], |split| &split.classes);
    html! {
        div.scroll tabindex="0" role="region" aria-label="Splits" { table {
            thead { tr {
                th scope="col" { "Split" } th scope="col" { "Images" } th scope="col" { "Empty" } th scope="col" { "Objects" }
            } }
            tbody { @for split in splits { tr {
                th.name scope="row" { (capitalized(&line(&split.purpose))) ": " (line(&split.name)) }
                td { (grouped(split.images)) }
                td { (grouped(split.images_without_objects)) }
                td { (grouped(split.objects)) }
            } } }
        } }
        details open[classes.len() <= 20] {
            summary { "Objects by class" }
            div.scroll tabindex="0" role="region" aria-label="Objects by class" { table {
                thead { tr {
                    th scope="col" { "Class" }
                    @for split in splits { th scope="col" { (capitalized(&line(&split.purpose))) } }
                } }
                tbody { @for (label, class) in classes.iter().enumerate().take(MAX_CLASSES) { tr {
                    th.name scope="row" { (swatch(label)) (line(&class.class)) }
                    @for split in splits {
                        @let before = classes[..label].iter().filter(|other| other.class == class.class).count();
                        @let same = split.classes.iter().filter(|other| other.class == class.class).nth(before);
                        td { (same.map_or("–".to_owned(), |class| grouped(class.objects))) }
                    }
                } } }
            } }
            @if classes.len() > MAX_CLASSES { p.quiet { "… " (grouped(classes.len() - MAX_CLASSES)) " more" } }
        }
        @for split in splits { (list(&split.messages)) }
    }
}

/// The configuration, the programs, the machines and the time.
pub(super) fn run(run: &RunSummary) -> Markup {
    let config = serde_json::to_string_pretty(&run.config).unwrap_or_default();
    html! {
        section id="run" {
            h2 { "Run" }
            @if let Some(time) = time(run) { p { (time) } }
            @match &run.provenance {
                Some(provenance) => ul { @for session in &provenance.sessions { li { (line(&described(session))) } } },
                None => p.quiet { "Program and machine were not recorded." },
            }
            @if !run.config.is_null() {
                details {
                    summary { "Configuration" }
                    pre tabindex="0" role="region" aria-label="Configuration" { (config) }
                }
            }
        }
    }
}

/// The time that the epochs took; `None` without epochs.
pub(super) fn time(run: &RunSummary) -> Option<String> {
    if run.epochs.is_empty() {
        return None;
    }
    let seconds: f64 = run.epochs.iter().map(|epoch| epoch.seconds).sum();
    let epochs = run.epochs.len();
    Some(format!(
        "{} of training and validation took {}, {} each.",
        capitalized(&counted(epochs, "epoch")),
        duration(seconds),
        duration(seconds / epochs as f64)
    ))
}

fn duration(seconds: f64) -> String {
    match seconds {
        short if short < 10.0 => format!("{short:.1} s"),
        short if short < 120.0 => format!("{short:.0} s"),
        long if long < 7200.0 => format!(
            "{:.0} min {:02.0} s",
            (long / 60.0).floor(),
            (long % 60.0).floor()
        ),
        long => format!(
            "{:.0} h {:02.0} min",
            (long / 3600.0).floor(),
            (long % 3600.0 / 60.0).floor()
        ),
    }
}

fn described(session: &Session) -> String {
    let start = match session.steps_before {
        0 => "Started".to_owned(),
        steps => format!("Resumed after {}", counted(steps, "step")),
    };
    let processor = match &session.processor {
        Some(processor) => format!("{processor}, "),
        None => String::new(),
    };
    format!(
        "{start} with fcos-burn {} on {} ({} {}, {processor}{})",
        session.version,
        session.devices.join(", "),
        session.system,
        session.architecture,
        counted(session.threads, "thread"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_two_units_at_most() {
        let texts = [1.25, 59.6, 119.9, 125.0, 7199.0, 7300.0].map(duration);
        let expected = [
            "1.2 s",
            "60 s",
            "120 s",
            "2 min 05 s",
            "119 min 59 s",
            "2 h 01 min",
        ];
        assert_eq!(texts, expected);
    }
}
