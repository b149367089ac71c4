//! What reads files that come from elsewhere, each as one function of a file's bytes: for
//! fuzzing and for the tests of what it found.

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

/// A kind of file that somebody may have from somewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// COCO's annotations, JSON.
    Coco,
    /// The annotations of one image in VOC's layout, XML.
    Voc,
    /// The labels of one image in YOLO's layout, text; `data.yaml` before them where a NUL
    /// separates the two.
    Yolo,
    /// Weights in any format.
    Weights,
    /// A run's configuration, JSON.
    Configuration,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 5] = [
        Self::Coco,
        Self::Voc,
        Self::Yolo,
        Self::Weights,
        Self::Configuration,
    ];

    /// The name of the folder of its samples.
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

/// Why a file was refused.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub enum Refusal {
    /// As annotations.
    Data(#[from] DataError),
    /// As weights.
    Weights(#[from] WeightsError),
    /// As the configuration of a model.
    Model(#[from] ConfigError),
    /// As the configuration of a run.
    Run(#[from] Error),
    /// In the evaluation.
    Evaluation(#[from] EvaluationError),
    /// There is no processor to read it for.
    Device(#[from] DeviceError),
    /// The file could not be put where it is read.
    Io(#[from] std::io::Error),
}

/// A reader, with a folder in which the file that it reads is the only one of interest.
#[derive(Debug)]
pub struct Reader {
    kind: Kind,
    folder: TempDir,
}

impl Reader {
    /// A reader of files of that kind, in a new folder.
    ///
    /// # Errors
    ///
    /// Fails if the folder cannot be filled.
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

    /// Reads `file` and uses what it says, as a training or a detection would.
    ///
    /// # Errors
    ///
    /// Why it was refused.
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
                let (_, splits) = fcos_burn::data::splits(self.folder.path())?;
                let split = splits.first().map(String::as_str);
                use_annotations(&DetectionDataset::yolo(self.folder.path(), split)?)
            }
            Kind::Weights => {
                let path = self.path("weights");
                fs::write(&path, file)?;
                let checkpoint = WeightsFile::open(&path)?;
                let device = DeviceName::CPU.open(Precision::F32)?;
                let model = checkpoint.detector().unwrap_or_else(tiny).init(&device)?;
                let (_, loaded) = checkpoint.load(model)?;
                // What came of the file, as a command tells it.
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

/// Classes of data sets that are evaluated: each takes a tenth of a megabyte, which is the
/// evaluation's and not the file's.
const EVALUATED_CLASSES: usize = 1000;

fn use_annotations(dataset: &DetectionDataset) -> Result<(), Refusal> {
    drop(dataset.report().to_string());
    if dataset.categories().len() <= EVALUATED_CLASSES {
        Evaluation::new(dataset, &[])?;
    }
    Ok(())
}

/// The smallest detector, of three classes.
pub fn tiny() -> FcosConfig {
    let mut config = FcosConfig::small(3);
    config.backbone.width = 1;
    config.fpn.channels = 1;
    config.head.tower_depth = 1;
    config
}
