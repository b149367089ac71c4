//! Where a run comes from: program, machine and data.

use fcos_burn_data::DetectionDataset;
use serde::{Deserialize, Serialize};

/// The programs and machines that a run was trained with, and the counts of its data.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Provenance {
    /// The start of the training, and each time that it was resumed.
    pub sessions: Vec<Session>,
    /// The training split and the validation split.
    pub splits: Vec<SplitCounts>,
}

/// A start of the program that trained.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Session {
    /// The version of fcos-burn.
    pub version: String,
    /// The operating system, such as `linux`.
    pub system: String,
    /// The processor's architecture, such as `x86_64`.
    pub architecture: String,
    /// The processor's model, if known.
    pub processor: Option<String>,
    /// The number of threads that compute.
    pub threads: usize,
    /// The devices, by name.
    pub devices: Vec<String>,
    /// The number of steps that were done before.
    pub steps_before: usize,
}

impl Session {
    /// A session of this program on this machine, which computes on this number of threads.
    pub fn here(devices: Vec<String>, threads: usize, steps_before: usize) -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            system: std::env::consts::OS.to_owned(),
            architecture: std::env::consts::ARCH.to_owned(),
            processor: processor(),
            threads,
            devices,
            steps_before,
        }
    }
}

/// The processor's model. Read from `/proc/cpuinfo`, so Linux only.
fn processor() -> Option<String> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// The counts of a split, and what its reader dropped or repaired. Crowds do not count as objects.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SplitCounts {
    /// The purpose, such as `training`.
    pub purpose: String,
    /// The name of the data.
    pub name: String,
    /// The number of images.
    pub images: usize,
    /// The number of images without objects.
    pub images_without_objects: usize,
    /// The number of objects.
    pub objects: usize,
    /// The objects of each class, in the order of the labels.
    pub classes: Vec<ClassObjects>,
    /// The findings and remarks of the reader.
    pub messages: Vec<String>,
}

/// The number of objects of a class.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClassObjects {
    /// The name of the class.
    pub class: String,
    /// The number of objects.
    pub objects: usize,
}

impl SplitCounts {
    /// Counts a split.
    pub fn of(purpose: &str, dataset: &DetectionDataset) -> Self {
        let by_label = dataset.objects_by_class();
        let images = dataset.images().iter();
        let empty = images.filter(|image| image.ordinary_objects().next().is_none());
        Self {
            purpose: purpose.to_owned(),
            name: dataset.name().to_owned(),
            images: dataset.len(),
            images_without_objects: empty.count(),
            objects: by_label.iter().sum(),
            classes: (dataset.categories().iter().zip(by_label))
                .map(|(class, objects)| ClassObjects {
                    class: class.name.clone(),
                    objects,
                })
                .collect(),
            messages: dataset.messages(),
        }
    }
}
