//! Figure 3: the loss of a positive location over its score and IoU, and its gradient.

use std::{fmt::Write as _, path::Path};

use crate::Error;
use burn::tensor::{Device, Int, Tensor, TensorData};
use fcos_burn::{
    loss::{AssociationLoss, AssociationScore, ClassificationLoss},
    plot::{HeatMap, Series},
};

/// Number of cells along each axis of the heat maps.
const CELLS: usize = 80;

/// Lowest score and IoU, as in the paper.
const LEAST: f64 = 0.001;

const ALPHA: f64 = 0.25;
const GAMMA: f64 = 2.0;

/// One of the losses.
struct Variant {
    file: &'static str,
    title: &'static str,
    classification: ClassificationLoss,
    association: Option<AssociationLoss>,
    /// The IoU `Î` for which the loss is minimal at score `p̂`, in closed form.
    valley: fn(f64) -> Option<f64>,
}

fn variants() -> [Variant; 4] {
    let focal = ClassificationLoss::Focal {
        alpha: ALPHA,
        gamma: GAMMA,
    };
    let pse = |beta| Some(AssociationLoss::Pse { beta, k: 1.0 });
    [
        Variant {
            file: "focal",
            title: "Focal loss",
            classification: focal,
            association: None,
            valley: |_| None,
        },
        Variant {
            file: "pse-0.25",
            title: "Focal loss + PSE, β = 0.25",
            classification: focal,
            association: pse(0.25),
            valley: |score| Some(pse_valley(score, 0.25)),
        },
        Variant {
            file: "pse-1",
            title: "Focal loss + PSE, β = 1",
            classification: focal,
            association: pse(1.0),
            valley: |score| Some(pse_valley(score, 1.0)),
        },
        Variant {
            file: "soft-label-focal",
            title: "Soft-label focal loss, β = 1",
            classification: ClassificationLoss::SOFT_LABEL_FOCAL,
            association: None,
            valley: Some,
        },
    ]
}

/// The IoU at which the gradient of focal loss + PSE vanishes, for k = 1.
///
/// With γ = 0 it is `p̂ − α / (2βp̂)`, from eq. (11) of the paper with its signs corrected. The
/// focal modulation scales the gap.
fn pse_valley(p: f64, beta: f64) -> f64 {
    let modulation = (1.0 - p).powf(GAMMA) * (1.0 - GAMMA * p * p.ln() / (1.0 - p));
    p - ALPHA * modulation / (2.0 * beta * p)
}

/// Loss of a positive location and its gradient with respect to the logit, for every pair of a
/// score and an IoU.
struct Surface {
    /// One row per score, one column per IoU.
    loss: Vec<Vec<f64>>,
    gradient: Vec<Vec<f64>>,
}

impl Surface {
    fn new(variant: &Variant, scores: &[f64], ious: &[f64], device: &Device) -> Self {
        let device = device.clone().autodiff();
        let pairs = || {
            scores
                .iter()
                .flat_map(|score| ious.iter().map(move |iou| (score, iou)))
        };
        let count = scores.len() * ious.len();
        let logits: Vec<f32> = pairs()
            .map(|(score, _)| (score / (1.0 - score)).ln() as f32)
            .collect();
        let logits = Tensor::<2>::from_data(TensorData::new(logits, [count, 1]), &device);
        let logits = logits.require_grad();
        let labels = Tensor::<1, Int>::zeros([count], &device);
        let ious: Vec<f32> = pairs().map(|(_, iou)| *iou as f32).collect();
        let ious = Tensor::<1>::from_data(TensorData::new(ious, [count]), &device);
        let classification =
            variant
                .classification
                .forward(logits.clone(), labels.clone(), ious.clone());
        let mut loss = classification.reshape([count]);
        if let Some(association) = variant.association {
            let scores = AssociationScore::GroundTruthClass.scores(logits.clone(), labels);
            loss = loss + association.forward(scores, ious);
        }
        let gradients = loss.clone().sum().backward();
        let rows = |data: TensorData| -> Vec<Vec<f64>> {
            let values: Vec<f64> = data.iter::<f32>().map(f64::from).collect();
            values
                .chunks(values.len() / scores.len())
                .map(<[f64]>::to_vec)
                .collect()
        };
        Self {
            loss: rows(loss.into_data()),
            gradient: logits
                .grad(&gradients)
                .map(|gradient| rows(gradient.into_data()))
                .unwrap_or_default(),
        }
    }

    /// Pairs of an IoU and the score at which the gradient changes its sign, if it does.
    fn valley(&self, scores: &[f64], ious: &[f64]) -> Vec<(f64, f64)> {
        let crossing = |column: usize| {
            (1..scores.len()).find_map(|row| {
                let (below, above) = (self.gradient[row - 1][column], self.gradient[row][column]);
                (below < 0.0 && above >= 0.0).then(|| {
                    let share = below / (below - above);
                    scores[row - 1] + share * (scores[row] - scores[row - 1])
                })
            })
        };
        ious.iter()
            .enumerate()
            .filter_map(|(column, iou)| Some((*iou, crossing(column)?)))
            .collect()
    }
}

/// Writes the heat maps `figure3-VARIANT-loss` and `figure3-VARIANT-gradient`, and their values as
/// `figure3.csv` and `figure3-valleys.csv`, to `folder`.
///
/// # Errors
///
/// Names the file that cannot be written.
pub fn write(folder: &Path, device: &Device) -> Result<(), Error> {
    let step = (1.0 - LEAST) / CELLS as f64;
    let centers: Vec<f64> = (0..CELLS)
        .map(|cell| LEAST + (cell as f64 + 0.5) * step)
        .collect();
    let variants = variants();
    let surfaces = variants
        .each_ref()
        .map(|variant| Surface::new(variant, &centers, &centers, device));
    let mut valleys = "loss,score,iou,iou in closed form\n".to_owned();
    for (variant, surface) in variants.iter().zip(&surfaces) {
        let mut lines = Vec::new();
        let valley = surface.valley(&centers, &centers);
        for (iou, score) in &valley {
            let closed = (variant.valley)(*score).unwrap_or(f64::NAN);
            let _ = writeln!(valleys, "{},{score:.5},{iou:.5},{closed:.5}", variant.file);
        }
        if !valley.is_empty() {
            let fine = (1..1000).map(|score| f64::from(score) / 1000.0);
            let closed: Vec<(f64, f64)> = fine
                .filter_map(|score| Some(((variant.valley)(score)?, score)))
                .filter(|(iou, _)| (LEAST..=1.0).contains(iou))
                .collect();
            lines = vec![
                Series {
                    name: "gradient 0, by autodiff".into(),
                    points: valley,
                },
                Series {
                    name: "gradient 0, closed form".into(),
                    points: closed,
                },
            ];
        }
        let magnitude = surface
            .gradient
            .iter()
            .map(|row| row.iter().map(|value| value.abs()).collect())
            .collect();
        for (kind, label, values) in [
            ("loss", "loss", surface.loss.clone()),
            ("gradient", "absolute gradient for the logit", magnitude),
        ] {
            let chart = HeatMap {
                title: format!("{}: {kind} of a positive", variant.title),
                x_label: "IoU".into(),
                y_label: "score".into(),
                value_label: label.into(),
                x_range: (LEAST, 1.0),
                y_range: (LEAST, 1.0),
                values,
                value_range: None,
                lines: lines.clone(),
            };
            chart.save(&folder.join(format!("figure3-{}-{kind}", variant.file)))?;
        }
    }
    for (name, text) in [
        ("figure3.csv", csv(&variants, &surfaces, &centers)),
        ("figure3-valleys.csv", valleys),
    ] {
        let path = folder.join(name);
        std::fs::write(&path, text).map_err(Error::io(&path))?;
    }
    Ok(())
}

fn csv(variants: &[Variant], surfaces: &[Surface], centers: &[f64]) -> String {
    let mut text = "score,iou".to_owned();
    for variant in variants {
        let _ = write!(text, ",{0} loss,{0} gradient", variant.file);
    }
    text.push('\n');
    for (row, score) in centers.iter().enumerate() {
        for (column, iou) in centers.iter().enumerate() {
            let _ = write!(text, "{score:.5},{iou:.5}");
            for surface in surfaces {
                let (loss, gradient) = (surface.loss[row][column], surface.gradient[row][column]);
                let _ = write!(text, ",{loss:.5},{gradient:.5}");
            }
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn valleys_by_autodiff_match_the_closed_forms() {
        let scores: Vec<f64> = (1..400).map(|score| f64::from(score) / 400.0).collect();
        let ious = [0.1, 0.3, 0.5, 0.7, 0.9];
        for variant in &variants()[1..] {
            let valley = Surface::new(variant, &scores, &ious, &Device::flex());
            let valley = valley.valley(&scores, &ious);
            assert_eq!(valley.len(), ious.len(), "{}", variant.title);
            for (iou, score) in valley {
                let expected = (variant.valley)(score);
                let near = expected.is_some_and(|expected| (expected - iou).abs() < 2e-3);
                assert!(near, "{}: {iou}, {score}: {expected:?}", variant.title);
            }
        }
    }
}
