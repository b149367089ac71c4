//! The readers of untrusted files, each as a function of the bytes of a file. Used by the fuzz
//! targets and by the tests that replay their findings.

use std::{fs, path::PathBuf};

use fcos_burn::{
    data::{DataError, DetectionDataset},
    detect::device::{DeviceError, DeviceName, Precision},
    eval::{Evaluation, EvaluationError},
    model::weights::{WeightsError, WeightsFile},
    model::{ConfigError, FcosConfig},
    train::{Error, RunConfig},
};
use image::RgbImage;
use tempfile::TempDir;

/// A kind of file that may come from an untrusted source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// COCO annotations, JSON.
    Coco,
    /// VOC annotations of one image, XML.
    Voc,
    /// YOLO labels of one image, text, optionally preceded by `data.yaml` and a NUL.
    Yolo,
    /// Weights in any supported format.
    Weights,
    /// The configuration of a run, JSON.
    Configuration,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 5] = [
        Self::Coco,
        Self::Voc,
        Self::Yolo,
        Self::Weights,
        Self::Configuration,
    ];

    /// The name of the folder with its samples.
    pub fn name(self) -> &'static str {
        match self {
            Self::Coco => "coco",
            Self::Voc => "voc",
            Self::Yolo => "yolo",
            Self::Weights => "weights",
            Self::Configuration => "configuration",
        }
    }
}

/// Why a file was rejected.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub enum Refusal {
    /// Invalid annotations.
    Data(#[from] DataError),
    /// Invalid weights.
    Weights(#[from] WeightsError),
    /// Invalid configuration of a model.
    Model(#[from] ConfigError),
    /// Invalid configuration of a run.
    Run(#[from] Error),
    /// The annotations cannot be evaluated.
    Evaluation(#[from] EvaluationError),
    /// The CPU device is unavailable.
    Device(#[from] DeviceError),
    /// The file could not be written to the folder of the reader.
    Io(#[from] std::io::Error),
}

/// A reader, with a temporary folder that holds the file and whatever it refers to.
#[derive(Debug)]
pub struct Reader {
    kind: Kind,
    folder: TempDir,
}

impl Reader {
    /// Creates a reader of files of that kind, with a new temporary folder.
    ///
    /// # Errors
    ///
    /// Fails if the folder cannot be created or filled.
    pub fn new(kind: Kind) -> Result<Self, Refusal> {
        let reader = Self {
            kind,
            folder: tempfile::tempdir()?,
        };
        let image = RgbImage::new(40, 30);
        for place in ["a.png", "JPEGImages/a.png", "images/a.png"] {
            let path = reader.path(place);
            fs::create_dir_all(path.parent().unwrap_or(&path))?;
            image.save(&path).map_err(std::io::Error::other)?;
        }
        for place in ["Annotations", "labels"] {
            fs::create_dir_all(reader.path(place))?;
        }
        Ok(reader)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Reads `file` and uses its contents as training or detection would.
    ///
    /// # Errors
    ///
    /// Says why the file was rejected.
    pub fn read(&self, file: &[u8]) -> Result<(), Refusal> {
        match self.kind {
            Kind::Coco => {
                let path = self.path("annotations.json");
                fs::write(&path, file)?;
                use_annotations(&DetectionDataset::coco(self.folder.path(), path)?)
            }
            Kind::Voc => {
                fs::write(self.path("Annotations/a.xml"), file)?;
                use_annotations(&DetectionDataset::voc(self.folder.path(), None)?)
            }
            Kind::Yolo => {
                let (yaml, labels) = match file.iter().position(|byte| *byte == 0) {
                    Some(end) => (&file[..end], &file[end + 1..]),
                    None => (&b"names: [cat, dog]"[..], file),
                };
                fs::write(self.path("data.yaml"), yaml)?;
                fs::write(self.path("labels/a.txt"), labels)?;
                let folder = fcos_burn::data::DataFolder::open(self.folder.path())?;
                let split = folder.splits().first().map(String::as_str);
                use_annotations(&DetectionDataset::yolo(self.folder.path(), split)?)
            }
            Kind::Weights => {
                let path = self.path("weights");
                fs::write(&path, file)?;
                let checkpoint = WeightsFile::open(&path)?;
                let device = DeviceName::CPU.open(Precision::F32)?;
                let model = checkpoint.detector().unwrap_or_else(tiny).init(&device)?;
                let (_, loaded) = checkpoint.load(model)?;
                // The summary that a command would print.
                drop(loaded.to_string());
                Ok(())
            }
            Kind::Configuration => {
                let path = self.path("config.json");
                fs::write(&path, file)?;
                let config = RunConfig::small().merge_file(&path)?;
                config.validate()?;
                config.model.init(&DeviceName::CPU.open(Precision::F32)?)?;
                Ok(())
            }
        }
    }
}

/// Data sets with more classes are not evaluated. The evaluation takes a tenth of a megabyte per
/// class, however small the file is.
const EVALUATED_CLASSES: usize = 1000;

fn use_annotations(dataset: &DetectionDataset) -> Result<(), Refusal> {
    drop(dataset.report().to_string());
    if dataset.categories().len() <= EVALUATED_CLASSES {
        Evaluation::new(dataset, &[])?;
    }
    Ok(())
}

/// The smallest detector, with three classes.
pub fn tiny() -> FcosConfig {
    let mut config = FcosConfig::small(3);
    config.backbone.width = 1;
    config.fpn.channels = 1;
    config.head.tower_depth = 1;
    config
}
