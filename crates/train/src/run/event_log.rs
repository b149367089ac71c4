//! Event files for TensorBoard.
//!
//! An event file is a sequence of records, as in a [TFRecord file], each with an [`Event`] message. Only the fields
//! that are written are declared.
//!
//! [TFRecord file]: https://www.tensorflow.org/tutorials/load_data/tfrecord#tfrecords_format_details

use std::{
    fs::{self, File},
    io::{BufWriter, Write},
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use fcos_burn_eval::CocoMetric;
use prost::{Message, Oneof};

use super::EpochRow;
use crate::{Error, step::StepOutput};

/// What the name of an event file starts with; TensorBoard looks for it.
const PREFIX: &str = "events.out.tfevents.";

/// The version of the format. From version 2 on, TensorBoard discards what a restarted run writes again.
const VERSION: &str = "brain.Event:2";

/// `SessionLog::START`: the events of this step and later ones in earlier files are discarded.
const START: i32 = 1;

#[derive(Clone, PartialEq, Message)]
struct Event {
    /// Seconds since 1970.
    #[prost(double, tag = "1")]
    wall_time: f64,
    #[prost(int64, tag = "2")]
    step: i64,
    #[prost(oneof = "What", tags = "3, 5, 7")]
    what: Option<What>,
}

#[derive(Clone, PartialEq, Oneof)]
enum What {
    #[prost(string, tag = "3")]
    FileVersion(String),
    #[prost(message, tag = "5")]
    Summary(Summary),
    #[prost(message, tag = "7")]
    SessionLog(SessionLog),
}

#[derive(Clone, PartialEq, Message)]
struct Summary {
    #[prost(message, repeated, tag = "1")]
    value: Vec<Scalar>,
}

#[derive(Clone, PartialEq, Message)]
struct Scalar {
    #[prost(string, tag = "1")]
    tag: String,
    #[prost(float, optional, tag = "2")]
    simple_value: Option<f32>,
}

#[derive(Clone, PartialEq, Message)]
struct SessionLog {
    #[prost(int32, tag = "1")]
    status: i32,
}

/// Writes scalars for TensorBoard. Steps are those of the training, also for the values of an epoch.
#[derive(Debug)]
pub(crate) struct EventLog {
    path: PathBuf,
    file: BufWriter<File>,
}

impl EventLog {
    /// Starts a file in `folder`, which is created, for the steps after `steps_done`. What earlier files of the folder
    /// say about them is discarded. If there are none, `rows`, each with its last step, are written first.
    ///
    /// # Errors
    ///
    /// Names the file or folder that cannot be written.
    pub fn open(
        folder: &Path,
        steps_done: usize,
        rows: &[(usize, &EpochRow)],
    ) -> Result<Self, Error> {
        fs::create_dir_all(folder).map_err(Error::io(folder))?;
        let earlier = event_files(folder)?;
        let path = folder.join(next_name(&earlier));
        let file = File::create_new(&path).map_err(Error::io(&path))?;
        let mut log = Self {
            path,
            file: BufWriter::new(file),
        };
        log.write(0, What::FileVersion(VERSION.to_owned()))?;
        if earlier.is_empty() {
            for (step, row) in rows {
                log.epoch(*step, row)?;
            }
        } else {
            let start = SessionLog { status: START };
            log.write(steps_done + 1, What::SessionLog(start))?;
        }
        log.flush()?;
        Ok(log)
    }

    /// The metrics and the learning rate of a step.
    pub fn step(&mut self, step: usize, output: &StepOutput, rate: f64) -> Result<(), Error> {
        let metrics = output.metrics().iter();
        let values = metrics.map(|(metric, value)| (format!("step/{}", metric.name()), *value));
        self.scalars(
            step,
            values.chain([("step/Learning rate".to_owned(), rate)]),
        )
    }

    /// The values of an epoch that ends with `step`.
    pub fn epoch(&mut self, step: usize, row: &EpochRow) -> Result<(), Error> {
        let trained = row.train.iter();
        let mut values: Vec<(String, f64)> = trained
            .map(|(name, value)| (format!("epoch/{name}"), *value))
            .collect();
        values.push(("epoch/Seconds".to_owned(), row.seconds));
        if let Some(validation) = &row.validation {
            let metric = |&metric: &CocoMetric| {
                let value = validation.metric(metric)?;
                Some((format!("validation/{}", metric.name()), value))
            };
            values.extend(CocoMetric::ALL.iter().filter_map(metric));
        }
        self.scalars(step, values)?;
        self.flush()
    }

    /// Hands everything to the operating system.
    pub fn flush(&mut self) -> Result<(), Error> {
        self.file.flush().map_err(Error::io(&self.path))
    }

    fn scalars(
        &mut self,
        step: usize,
        values: impl IntoIterator<Item = (String, f64)>,
    ) -> Result<(), Error> {
        let scalar = |(tag, value): (String, f64)| Scalar {
            tag,
            simple_value: Some(value as f32),
        };
        let value = values.into_iter().map(scalar).collect();
        self.write(step, What::Summary(Summary { value }))
    }

    fn write(&mut self, step: usize, what: What) -> Result<(), Error> {
        let event = Event {
            wall_time: since_1970().as_secs_f64(),
            step: i64::try_from(step).unwrap_or(i64::MAX),
            what: Some(what),
        };
        let record = record(&event.encode_to_vec());
        self.file.write_all(&record).map_err(Error::io(&self.path))
    }
}

fn since_1970() -> std::time::Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

/// The names of the event files in a folder, in order.
fn event_files(folder: &Path) -> Result<Vec<String>, Error> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(Error::io(folder))? {
        let name = entry.map_err(Error::io(folder))?.file_name();
        names.extend(
            name.into_string()
                .ok()
                .filter(|name| name.starts_with(PREFIX)),
        );
    }
    names.sort();
    Ok(names)
}

/// A name after the others: TensorBoard reads the files in the order of their names.
fn next_name(earlier: &[String]) -> String {
    let time = |name: &String| name.strip_prefix(PREFIX)?.split('.').next()?.parse().ok();
    let last: Option<u64> = earlier.iter().filter_map(time).max();
    let now = since_1970().as_secs();
    let time = last.map_or(now, |last| now.max(last.saturating_add(1)));
    format!("{PREFIX}{time:010}.fcos-burn")
}

/// A record: the length and its checksum, the data and their checksum. Numbers are little-endian.
fn record(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    let parts: [&[u8]; 4] = [&length, &checksum(&length), data, &checksum(data)];
    parts.concat()
}

/// CRC-32C, masked as in TFRecord.
fn checksum(data: &[u8]) -> [u8; 4] {
    let crc = crc32c::crc32c(data);
    crc.rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// CRC-32C by its definition: the remainder by the reversed polynomial, bit by bit.
    fn crc(data: &[u8]) -> u32 {
        let shifted = |crc: u32| (crc >> 1) ^ if crc & 1 == 1 { 0x82f6_3b78 } else { 0 };
        let byte = |crc: u32, byte: &u8| (0..8).fold(crc ^ u32::from(*byte), |crc, _| shifted(crc));
        !data.iter().fold(!0, byte)
    }

    fn unmasked(bytes: &[u8]) -> u32 {
        let masked = u32::from_le_bytes(bytes.try_into().unwrap()).wrapping_sub(0xa282_ead8);
        masked.rotate_left(15)
    }

    /// The events of a file. Fails if a checksum is wrong or bytes are left over.
    fn read(path: &Path) -> Vec<Event> {
        let bytes = fs::read(path).unwrap();
        let mut rest = bytes.as_slice();
        let mut events = Vec::new();
        while !rest.is_empty() {
            let (head, tail) = rest.split_at(12);
            assert_eq!(unmasked(&head[8..]), crc(&head[..8]));
            let length = u64::from_le_bytes(head[..8].try_into().unwrap()) as usize;
            let (data, tail) = tail.split_at(length);
            let (check, tail) = tail.split_at(4);
            assert_eq!(unmasked(check), crc(data));
            events.push(Event::decode(data).unwrap());
            rest = tail;
        }
        events
    }

    fn row(epoch: usize) -> EpochRow {
        EpochRow {
            epoch,
            seconds: 2.5,
            learning_rate: 0.01,
            train: [("Loss".to_owned(), 1.0 / epoch as f64)].into(),
            clipped_steps: 0,
            unreadable_images: 0,
            validation: None,
        }
    }

    /// The check value of the catalog of parameterized CRC algorithms.
    #[test]
    fn the_checksum_of_the_tests_is_crc_32c() {
        assert_eq!(crc(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn events_are_read_back_and_a_resumed_run_discards_what_it_repeats() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("tensorboard");
        let mut log = EventLog::open(&folder, 10, &[(10, &row(1))]).unwrap();
        log.epoch(20, &row(2)).unwrap();
        drop(log);
        drop(EventLog::open(&folder, 12, &[(10, &row(1))]).unwrap());
        drop(EventLog::open(&folder, 14, &[]).unwrap());
        let names = event_files(&folder).unwrap();
        assert_eq!(names.len(), 3);
        let [first, second, third] =
            [0, 1, 2].map(|index: usize| read(&folder.join(&names[index])));
        let version = Some(What::FileVersion(VERSION.to_owned()));
        for events in [&first, &second, &third] {
            assert_eq!((events[0].step, &events[0].what), (0, &version));
            assert!(events[0].wall_time > 1.5e9);
        }
        let loss = |event: &Event| match &event.what {
            Some(What::Summary(summary)) => {
                let loss = summary.value.iter().find(|of| of.tag == "epoch/Loss");
                loss.unwrap().simple_value
            }
            _ => None,
        };
        let losses: Vec<_> = first[1..]
            .iter()
            .map(|event| (event.step, loss(event)))
            .collect();
        assert_eq!(losses, [(10, Some(1.0)), (20, Some(0.5))]);
        let start = Some(What::SessionLog(SessionLog { status: START }));
        assert_eq!((second.len(), second[1].step), (2, 13));
        assert_eq!((&second[1].what, third[1].step), (&start, 15));
    }
}
