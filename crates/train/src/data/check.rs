//! The check of all images before a run starts.

use std::{
    sync::Mutex,
    time::{Duration, Instant},
};

use fcos_burn_data::{DataError, DetectionDataset, SampleReader};

use crate::Error;

/// The minimum time between two lines of progress.
const INTERVAL: Duration = Duration::from_secs(10);

/// The number of images that a summary names.
const EXAMPLES: usize = 5;

/// How unreadable images are handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unreadable {
    /// A few are allowed: [`SampleReader`] replaces them.
    Replaced,
    /// Any is an error.
    Refused,
}

/// Decodes every image of `dataset` and logs its progress. Returns a summary of the unreadable
/// images, if there are any.
///
/// # Errors
///
/// Fails with the summary if more images are unreadable than `unreadable` allows, and, if
/// `strict`, if there is any problem in the images or annotations.
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
            "{}; strict checking allows none",
            findings.join("; ")
        )));
    }
    Ok(summary)
}

/// The number of unreadable images out of `total`, and the causes of the first few.
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
