//! `metrics.csv`: the metrics of all epochs as a table.

use std::collections::{HashMap, HashSet};

use fcos_burn_eval::{CocoMetric, Evaluation};
use fcos_burn_model::file::write_whole;

use super::{EpochRow, RunFolder};

/// Writes the values of `metrics.json` as a table with a row per epoch. Values that are undefined are empty.
///
/// A table that another program holds open does not end a training: `metrics.json` has the same values. The failure is
/// logged.
pub(crate) fn write_metrics_csv(folder: &RunFolder, rows: &[EpochRow]) {
    let path = folder.metrics_csv_path();
    let table = table(rows).map_err(|error| error.to_string());
    let written =
        table.and_then(|table| write_whole(&path, &table).map_err(|error| error.to_string()));
    if let Err(cause) = written {
        log::warn!("{} was not written: {cause}", path.display());
    }
}

fn table(rows: &[EpochRow]) -> csv::Result<Vec<u8>> {
    let rows: Vec<Vec<(String, String)>> = rows.iter().map(values).collect();
    let mut seen = HashSet::<&str>::new();
    let names = rows.iter().flatten().map(|(name, _)| name.as_str());
    let columns: Vec<&str> = names.filter(|&name| seen.insert(name)).collect();
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(&columns)?;
    for row in &rows {
        let cells = row
            .iter()
            .map(|(name, text)| (name.as_str(), text.as_str()));
        let cells: HashMap<&str, &str> = cells.collect();
        let cell = |column: &&str| cells.get(column).copied().unwrap_or_default();
        writer.write_record(columns.iter().map(cell))?;
    }
    writer
        .into_inner()
        .map_err(|error| error.into_error().into())
}

/// The values of an epoch by their paths in `metrics.json`, without `figures` and `correlation`, as the shortest texts
/// that give the same numbers when they are read.
fn values(row: &EpochRow) -> Vec<(String, String)> {
    let mut values = vec![
        ("epoch".to_owned(), row.epoch.to_string()),
        ("seconds".to_owned(), row.seconds.to_string()),
        ("learning_rate".to_owned(), row.learning_rate.to_string()),
    ];
    let trained = row.train.iter();
    values.extend(trained.map(|(name, value)| (format!("train/{name}"), value.to_string())));
    values.push(("clipped_steps".to_owned(), row.clipped_steps.to_string()));
    values.push((
        "unreadable_images".to_owned(),
        row.unreadable_images.to_string(),
    ));
    values.extend(row.validation.iter().flat_map(validated));
    values
}

fn validated(evaluation: &Evaluation) -> Vec<(String, String)> {
    let text = |value: Option<f64>| value.map_or_else(String::new, |value| value.to_string());
    let metrics = CocoMetric::ALL.iter();
    let mut values: Vec<(String, String)> = metrics
        .map(|&metric| (metric.name().to_owned(), text(evaluation.metric(metric))))
        .collect();
    let classes = evaluation.class_ap.iter();
    values.extend(classes.map(|(name, ap)| (format!("class_ap/{name}"), ap.to_string())));
    let correlation = &evaluation.correlation;
    values.extend(
        [
            ("PCC", text(correlation.pearson)),
            ("SCC", text(correlation.spearman)),
            ("KCC", text(correlation.kendall)),
            ("calibration_error", text(evaluation.calibration_error)),
            ("images", evaluation.images.to_string()),
            ("detections", evaluation.detections.to_string()),
        ]
        .map(|(name, value)| (name.to_owned(), value)),
    );
    let named = values.into_iter();
    named
        .map(|(name, value)| (format!("validation/{name}"), value))
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use fcos_burn_data::{
        DetectionDataset,
        shapes::{ShapesConfig, ShapesSplit},
    };

    use super::*;

    #[test]
    fn every_value_is_read_back_and_a_missing_one_is_empty() {
        let shapes = ShapesConfig::default().with_val_images(3);
        let dataset = DetectionDataset::shapes(&shapes, ShapesSplit::Val).unwrap();
        let row = |epoch: usize, name: &str, validation| EpochRow {
            epoch,
            seconds: 1.0 / 3.0,
            learning_rate: 1e-5,
            train: [(name.to_owned(), 0.1 + 0.2)].into(),
            clipped_steps: 4,
            unreadable_images: 0,
            validation,
        };
        let evaluation = Evaluation::new(&dataset, &[]).unwrap();
        let hostile = "a \"quoted\", term\n";
        let rows = [row(1, "Loss", Some(evaluation)), row(2, hostile, None)];
        let bytes = table(&rows).unwrap();
        let mut reader = csv::Reader::from_reader(bytes.as_slice());
        let names = reader.headers().unwrap().clone();
        let read: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
        let cell = |row: usize, name: &str| {
            let column = names.iter().position(|other| other == name).unwrap();
            read[row][column].to_owned()
        };
        assert_eq!(read.len(), 2);
        assert_eq!(cell(0, "train/Loss").parse(), Ok(0.1 + 0.2));
        assert_eq!(cell(1, "seconds").parse(), Ok(1.0 / 3.0));
        assert_eq!(cell(1, "learning_rate").parse(), Ok(1e-5));
        assert_eq!(cell(1, &format!("train/{hostile}")).parse(), Ok(0.1 + 0.2));
        assert_eq!(cell(1, "train/Loss"), "");
        assert_eq!(cell(0, "clipped_steps"), "4");
        assert_eq!(cell(0, "validation/AP"), "0");
        assert_eq!(cell(0, "validation/PCC"), "");
        assert_eq!(cell(0, "validation/images"), "3");
        assert_eq!(cell(1, "validation/AP"), "");
    }
}
