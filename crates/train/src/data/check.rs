//! The check of a run's images before it begins.

use std::{
    sync::Mutex,
    time::{Duration, Instant},
};

use fcos_burn_data::{DataError, DetectionDataset, SampleReader};

use crate::Error;

/// Least time between two lines of progress.
const INTERVAL: Duration = Duration::from_secs(10);

/// How many images a summary names.
const EXAMPLES: usize = 5;

/// What becomes of images that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unreadable {
    /// Others take their place, as [`SampleReader`] does it, if they are few.
    Replaced,
    /// None may be.
    Refused,
}

/// Decodes every image of `dataset`, with progress on standard error: a summary if any
/// cannot be read.
///
/// # Errors
///
/// Fails with the summary if images cannot be read that are to be refused, or too many;
/// and where `strict`, if anything is wrong with images or annotations.
pub(crate) fn check(
    dataset: &DetectionDataset,
    unreadable: Unreadable,
    strict: bool,
) -> Result<Option<String>, Error> {
    let last_line = Mutex::new(Instant::now());
    let found = dataset.unreadable_images(|done| {
        let Ok(mut last_line) = last_line.try_lock() else {
            return;
        };
        if last_line.elapsed() >= INTERVAL {
            *last_line = Instant::now();
            log::info!(
                "{}: checked {done} of {} images",
                dataset.name(),
                dataset.len()
            );
        }
    });
    let summary = summary(&found, dataset.len());
    let too_many = match unreadable {
        Unreadable::Refused => !found.is_empty(),
        Unreadable::Replaced => SampleReader::too_many(found.len(), dataset.len()),
    };
    let refused = |findings: String| Error::BadData {
        name: dataset.name().to_owned(),
        findings,
    };
    if too_many {
        return Err(refused(summary.unwrap_or_default()));
    }
    let report = dataset.report();
    let annotations = (!report.is_clean()).then(|| report.to_string());
    let findings: Vec<String> = annotations.into_iter().chain(summary.clone()).collect();
    if strict && !findings.is_empty() {
        return Err(refused(format!(
            "{}; the check is strict",
            findings.join("; ")
        )));
    }
    Ok(summary)
}

/// How many of `total` images cannot be read, and what is wrong with the first of them.
fn summary(unreadable: &[(usize, DataError)], total: usize) -> Option<String> {
    if unreadable.is_empty() {
        return None;
    }
    let causes: Vec<String> = unreadable
        .iter()
        .take(EXAMPLES)
        .map(|(_, cause)| cause.to_string())
        .collect();
    let more = match unreadable.len() > EXAMPLES {
        true => "; …",
        false => "",
    };
    Some(format!(
        "{} of {total} images cannot be read ({}{more})",
        unreadable.len(),
        causes.join("; ")
    ))
}
