//! The readers of untrusted files, each as a function of the bytes of a file. Used by the fuzz
//! targets and by the tests that replay their findings.

use std::{fs, path::PathBuf};

use fcos_burn::{
    data::{DataError, DataFolder, DetectionDataset},
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
    /// YOLO's `data.yaml`, opened by its path.
    DataYaml,
    /// CVAT's and darknet's lists: `obj.data`, `obj.names` and `train.txt`, with a NUL between them.
    Darknet,
    /// A table of boxes, optionally followed by a NUL and a table of classes.
    Csv,
    /// Create ML annotations, JSON.
    CreateMl,
    /// Weights in any supported format.
    Weights,
    /// The configuration of a run, JSON.
    Configuration,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 9] = [
        Self::Coco,
        Self::Voc,
        Self::Yolo,
        Self::DataYaml,
        Self::Darknet,
        Self::Csv,
        Self::CreateMl,
        Self::Weights,
        Self::Configuration,
    ];

    /// The name of the folder with its samples.
    pub fn name(self) -> &'static str {
        match self {
            Self::Coco => "coco",
            Self::Voc => "voc",
            Self::Yolo => "yolo",
            Self::DataYaml => "data_yaml",
            Self::Darknet => "darknet",
            Self::Csv => "csv",
            Self::CreateMl => "createml",
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
                let folder = DataFolder::open(self.folder.path())?;
                let split = folder.splits().first().map(String::as_str);
                use_annotations(&DetectionDataset::yolo(self.folder.path(), split)?)
            }
            Kind::DataYaml => {
                fs::write(self.path("labels/a.txt"), "0 .5 .5 .1 .1")?;
                self.open(&["data.yaml"], file)
            }
            Kind::Darknet => {
                fs::write(self.path("images/a.txt"), "0 .5 .5 .1 .1")?;
                self.open(&["obj.data", "obj.names", "train.txt"], file)
            }
            Kind::Csv => self.open(&["train.csv", "classes.csv"], file),
            Kind::CreateMl => self.open(&["train.json"], file),
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

impl Reader {
    /// Writes the parts of `file` that NULs separate to files of these names, and opens the first.
    fn open(&self, names: &[&str], file: &[u8]) -> Result<(), Refusal> {
        let mut parts = file.splitn(names.len(), |byte| *byte == 0);
        for name in names {
            fs::write(self.path(name), parts.next().unwrap_or_default())?;
        }
        let folder = DataFolder::open(self.path(names[0]))?;
        match folder.splits().first() {
            Some(split) => use_annotations(&folder.read(split)?),
            None => Ok(()),
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
