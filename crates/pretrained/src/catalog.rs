//! The weights that have names.

use crate::error::Error;

/// Published weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PretrainedWeights {
    /// The name: the project, a slash, and the network.
    pub name: &'static str,
    /// What the weights are for.
    pub network: Network,
    /// The data set that they were trained on.
    pub trained_on: &'static str,
    /// The accuracy that the project states.
    pub accuracy: &'static str,
    /// The SPDX identifier of the project's license. Terms of the data set may apply, too.
    pub license: &'static str,
    /// The name of the file, which ends with the first digits of [`sha256`](Self::sha256).
    pub file: &'static str,
    /// The size of the file in bytes, within 1 KiB: torchvision states sizes to a thousandth of a
    /// MiB.
    pub size: u64,
    /// The SHA-256 of the file in lowercase hexadecimal digits.
    pub sha256: &'static str,
}

/// What weights are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Network {
    /// A detector, ready for use.
    Detector,
    /// A classification network, whose layers below the classifier serve as a backbone.
    Backbone,
}

/// The license of torchvision.
const TORCHVISION: &str = "BSD-3-Clause";

/// All weights that have a name.
///
/// Of torchvision's ResNets, these are the weights that it calls `IMAGENET1K_V1`: its detectors,
/// including FCOS, were trained from them, and ResNet-18 and ResNet-34 have no others.
pub const WEIGHTS: &[PretrainedWeights] = &[
    PretrainedWeights {
        name: "torchvision/fcos_resnet50_fpn",
        network: Network::Detector,
        trained_on: "COCO",
        accuracy: "AP 39.2",
        license: TORCHVISION,
        file: "fcos_resnet50_fpn_coco-99b0c9b7.pth",
        size: 129_612_099,
        sha256: "99b0c9b7cfb1527d782db86b91d207f00547c792fb4103fc612b651d0a07b9e7",
    },
    PretrainedWeights {
        name: "torchvision/resnet18",
        network: Network::Backbone,
        trained_on: "ImageNet",
        accuracy: "top-1 69.8%",
        license: TORCHVISION,
        file: "resnet18-f37072fd.pth",
        size: 46_830_571,
        sha256: "f37072fd47e89c5e827621c5baffa7500819f7896bbacec160b1a16c560e07ec",
    },
    PretrainedWeights {
        name: "torchvision/resnet34",
        network: Network::Backbone,
        trained_on: "ImageNet",
        accuracy: "top-1 73.3%",
        license: TORCHVISION,
        file: "resnet34-b627a593.pth",
        size: 87_319_819,
        sha256: "b627a593bcbe140c234610266fe4f8ae95ea42fc881d091c9b6052e6b1d0590f",
    },
    PretrainedWeights {
        name: "torchvision/resnet50",
        network: Network::Backbone,
        trained_on: "ImageNet",
        accuracy: "top-1 76.1%",
        license: TORCHVISION,
        file: "resnet50-0676ba61.pth",
        size: 102_530_333,
        sha256: "0676ba61b6795bbe1773cffd859882e5e297624d384b6993f7c9e683e722fb8a",
    },
    PretrainedWeights {
        name: "torchvision/resnet101",
        network: Network::Backbone,
        trained_on: "ImageNet",
        accuracy: "top-1 77.4%",
        license: TORCHVISION,
        file: "resnet101-63fe2227.pth",
        size: 178_793_742,
        sha256: "63fe2227b86e8f1f2063f43a75c84d195911b6a0eace650907dd3dc62dd49a0a",
    },
];

/// The weights of this name.
///
/// # Errors
///
/// [`Error::UnknownName`], with similar names.
pub fn find(name: &str) -> Result<&'static PretrainedWeights, Error> {
    let found = WEIGHTS.iter().find(|weights| weights.name == name);
    found.ok_or_else(|| Error::UnknownName {
        name: name.to_owned(),
        similar: similar(name),
    })
}

/// The names whose network resembles that of `name`; all names if none does.
fn similar(name: &str) -> Vec<&'static str> {
    /// The largest number of typing errors.
    const ERRORS: usize = 3;
    let wanted = network(name).to_lowercase();
    let distance = |known: &str| match known.contains(&wanted) {
        true => 0,
        false => strsim::damerau_levenshtein(known, &wanted),
    };
    let distances = WEIGHTS
        .iter()
        .map(|weights| (distance(network(weights.name)), weights.name));
    let closest = distances.clone().map(|(distance, _)| distance).min();
    let limit = closest.filter(|closest| *closest <= ERRORS);
    let limit = limit.unwrap_or(usize::MAX);
    distances
        .filter(|(distance, _)| *distance <= limit)
        .map(|(_, name)| name)
        .collect()
}

/// The part of a name after the project.
fn network(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn file_names_end_with_the_first_digits_of_their_hash() {
        for weights in WEIGHTS {
            let stem = weights.file.strip_suffix(".pth").unwrap();
            let (_, prefix) = stem.rsplit_once('-').unwrap();
            assert_eq!(prefix.len(), 8, "{stem}");
            assert_eq!(weights.sha256.len(), 64, "{stem}");
            assert!(weights.sha256.starts_with(prefix), "{stem}");
            assert!(
                weights
                    .sha256
                    .bytes()
                    .all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
            );
        }
    }

    #[test]
    fn sizes_are_those_that_torchvision_states_in_mebibytes() {
        for (name, stated) in [
            ("torchvision/fcos_resnet50_fpn", 123.608),
            ("torchvision/resnet18", 44.661),
            ("torchvision/resnet34", 83.275),
            ("torchvision/resnet50", 97.781),
            ("torchvision/resnet101", 170.511),
        ] {
            let mebibytes = find(name).unwrap().size as f64 / (1 << 20) as f64;
            assert!((mebibytes - stated).abs() < 6e-4, "{name}: {mebibytes}");
        }
    }

    #[test]
    fn names_are_found_exactly_once() {
        for weights in WEIGHTS {
            assert_eq!(find(weights.name).unwrap(), weights);
        }
    }

    #[test]
    fn unknown_names_suggest_similar_ones() {
        for (name, expected) in [
            ("resnet18", &["torchvision/resnet18"][..]),
            ("torchvision/resent34", &["torchvision/resnet34"]),
            ("torchvision/ResNet101", &["torchvision/resnet101"]),
            ("torchvision/fcos", &["torchvision/fcos_resnet50_fpn"]),
        ] {
            assert_eq!(similar(name), expected, "{name}");
        }
        assert_eq!(similar("yolo/v26x-large").len(), WEIGHTS.len());
    }
}
