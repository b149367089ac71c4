//! The error type of this crate.

use std::path::PathBuf;

use fcos_burn_model::ConfigError;

/// Why a detector could not be exported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OnnxError {
    /// A layer cannot be written as ONNX nodes.
    #[error("{layer} cannot be exported: {cause}")]
    Layer {
        /// The layer, by its path in the detector, such as `backbone.stages.0.blocks.1.convs.0`.
        layer: String,
        /// The cause.
        cause: String,
    },
    /// A backbone wrote a different number of feature maps than the pyramid takes.
    #[error("feature maps in the backbone's graph: {found}, but the pyramid takes {expected}")]
    FeatureMaps {
        /// The number of maps in the graph.
        found: usize,
        /// The number of maps that the pyramid takes.
        expected: usize,
    },
    /// The detections depend on a setting that a graph cannot express.
    #[error(
        "{field} is {value}, which cannot be exported with detections as outputs: export boxes and scores, or \
         choose {alternative}"
    )]
    Setting {
        /// The field of the configuration.
        field: &'static str,
        /// Its value.
        value: String,
        /// What can be exported.
        alternative: &'static str,
    },
    /// A configuration has an invalid value.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The metadata could not be written as JSON.
    #[error("metadata: {0}")]
    Metadata(#[from] serde_json::Error),
    /// The model does not fit into a protobuf file.
    #[error("the model has {bytes} bytes, but an ONNX file holds at most 2^31 - 1")]
    TooLarge {
        /// The length that the file would have.
        bytes: usize,
    },
    /// The file could not be written.
    #[error("{}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        source: std::io::Error,
    },
}
