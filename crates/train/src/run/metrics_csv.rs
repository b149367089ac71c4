//! `metrics.csv`: the metrics of all epochs as a table.

use std::collections::BTreeSet;

use fcos_burn_eval::{CocoMetric, Evaluation};
use fcos_burn_model::file::write_whole;

use super::{EpochRow, RunFolder};
use crate::Error;

/// Writes the values of `metrics.json` as a table with a row per epoch. Values that are undefined are empty.
///
/// # Errors
///
/// Names the file if it cannot be written.
pub(crate) fn write_metrics_csv(folder: &RunFolder, rows: &[EpochRow]) -> Result<(), Error> {
    let path = folder.metrics_csv_path();
    let table = table(rows).map_err(|error| Error::Run {
        path: path.clone(),
        cause: error.to_string(),
    })?;
    write_whole(&path, &table).map_err(Error::io(&path))
}

/// The value of an epoch as text.
type Cell<'a> = Box<dyn Fn(&EpochRow) -> String + 'a>;

fn table(rows: &[EpochRow]) -> csv::Result<Vec<u8>> {
    let columns = columns(rows);
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(columns.iter().map(|(name, _)| name))?;
    for row in rows {
        writer.write_record(columns.iter().map(|(_, cell)| cell(row)))?;
    }
    writer.into_inner().map_err(|error| error.into_error().into())
}

/// The columns, with the names of `metrics.json`.
fn columns(rows: &[EpochRow]) -> Vec<(String, Cell<'_>)> {
    let evaluations = || rows.iter().filter_map(|row| row.validation.as_ref());
    let trained: BTreeSet<&String> = rows.iter().flat_map(|row| row.train.keys()).collect();
    let classes: BTreeSet<&String> = evaluations().flat_map(|of| of.class_ap.keys()).collect();
    let mut columns: Vec<(String, Cell<'_>)> = vec![
        ("epoch".to_owned(), Box::new(|row| row.epoch.to_string())),
        ("seconds".to_owned(), Box::new(|row| row.seconds.to_string())),
        (
            "learning_rate".to_owned(),
            Box::new(|row| row.learning_rate.to_string()),
        ),
    ];
    columns.extend(trained.into_iter().map(|name| {
        let cell: Cell<'_> = Box::new(|row| text(row.train.get(name).copied()));
        (format!("train/{name}"), cell)
    }));
    columns.extend([
        (
            "clipped_steps".to_owned(),
            Box::new(|row: &EpochRow| row.clipped_steps.to_string()) as Cell<'_>,
        ),
        (
            "unreadable_images".to_owned(),
            Box::new(|row: &EpochRow| row.unreadable_images.to_string()),
        ),
    ]);
    let mut validated = |name: String, value: Box<dyn Fn(&Evaluation) -> Option<f64> + '_>| {
        let cell: Cell<'_> = Box::new(move |row| text(row.validation.as_ref().and_then(&value)));
        columns.push((format!("validation/{name}"), cell));
    };
    for &metric in CocoMetric::ALL {
        validated(metric.name().to_owned(), Box::new(move |of| of.metric(metric)));
    }
    for name in classes {
        validated(
            format!("class_ap/{name}"),
            Box::new(|of| of.class_ap.get(name).copied()),
        );
    }
    validated("PCC".to_owned(), Box::new(|of| of.correlation.pearson));
    validated("SCC".to_owned(), Box::new(|of| of.correlation.spearman));
    validated("KCC".to_owned(), Box::new(|of| of.correlation.kendall));
    validated(
        "calibration_error".to_owned(),
        Box::new(|of| of.calibration_error),
    );
    validated("images".to_owned(), Box::new(|of| Some(of.images as f64)));
    validated(
        "detections".to_owned(),
        Box::new(|of| Some(of.detections as f64)),
    );
    columns
}

/// The shortest text that gives the same number when it is read.
fn text(value: Option<f64>) -> String {
    value.map_or_else(String::new, |value| value.to_string())
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
