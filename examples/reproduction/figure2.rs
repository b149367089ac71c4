//! Figure 2: scores against IoUs of the candidates, and objects for which the score
//! chooses the worse box.

use std::{fmt::Write as _, path::Path, sync::Arc};

use fcos_burn::{
    data::{DetectionDataset, Object},
    model::{Detection, nms::iou},
    train::{
        Detector, DetectorFile, Error,
        artifacts::save_picture,
        device::{DeviceName, Precision},
        drawing::{Annotation, annotated, contact_sheet},
        evaluation::score_iou,
        plots::{ScatterChart, Series},
    },
};

use super::study::{FinishedRun, Study};

/// Score and IoU of a marked candidate differ by more than this.
const INCONSISTENT: f64 = 0.3;

/// The better box of a pair has an IoU that is larger by at least this.
const GAP: f32 = 0.1;

/// Candidates of an object have at least this IoU with it.
const OF_OBJECT: f32 = 0.5;

/// Pictures at most.
const PICTURES: usize = 8;

/// Shorter side of the pictures, in pixels.
const PICTURE_SIDE: u32 = 320;

/// Everything that suppression chooses from, image by image.
type Candidates = Vec<(usize, Vec<Detection>)>;

/// Writes `figure2-ROW` (SVG, PNG and CSV) for the first seed's runs of the first and
/// the last row of `study`, and `figure2-pictures.png` with objects for which the first
/// keeps the worse box and the last the better one.
///
/// # Errors
///
/// Names the file that cannot be read or written.
pub fn write(folder: &Path, study: &Study, device: &DeviceName) -> Result<(), Error> {
    let data = &study.config.data;
    let dataset = Arc::new(data.source.open(&data.val_split)?);
    let mut candidates = Vec::new();
    for row in &study.rows {
        let Some(run) = study.finished_runs(row)?.into_iter().next() else {
            continue;
        };
        let found = candidates_of(&run, study, &dataset, device)?;
        let pairs = score_iou(&dataset, &found)?;
        let stem = format!("figure2-{}", row.name);
        scatter(&row.label, &pairs).save(&folder.join(&stem))?;
        let path = folder.join(format!("{stem}.csv"));
        std::fs::write(&path, csv(&pairs)).map_err(|source| Error::Io { path, source })?;
        candidates.push(found);
    }
    if let [without, .., with] = candidates.as_slice() {
        pictures(folder, &dataset, without, with)?;
    }
    Ok(())
}

/// All candidates of a run's detector: it detects without suppression.
fn candidates_of(
    run: &FinishedRun,
    study: &Study,
    dataset: &Arc<DetectionDataset>,
    device: &DeviceName,
) -> Result<Candidates, Error> {
    let mut file = DetectorFile::open(run.folder.path())?;
    // No IoU is above 1.
    file.model.postprocess.nms_iou_threshold = 1.0;
    file.model.postprocess.detections_per_image = usize::MAX;
    let (detector, _) = Detector::from_file(file, device, Precision::F32)?;
    let config = &study.config;
    detector.detect_dataset(dataset, config.batch_size, config.workers, |_| {})
}

fn scatter(label: &str, pairs: &[(f64, f64)]) -> ScatterChart {
    let (marked, points): (Vec<_>, Vec<_>) = pairs
        .iter()
        .partition(|(score, iou)| (score - iou).abs() > INCONSISTENT);
    let share = 100.0 * marked.len() as f64 / pairs.len().max(1) as f64;
    ScatterChart {
        title: format!("Candidates before suppression, association: {label}"),
        x_label: "score".into(),
        y_label: "IoU with the object".into(),
        x_range: (0.0, 1.0),
        y_range: (0.0, 1.0),
        points,
        marked: Series {
            name: format!("differ by more than {INCONSISTENT}: {share:.0} %"),
            points: marked,
        },
        diagonal: Some("score = IoU".into()),
    }
}

fn csv(pairs: &[(f64, f64)]) -> String {
    let mut text = "score,iou\n".to_owned();
    for (score, iou) in pairs {
        let _ = writeln!(text, "{score:.4},{iou:.4}");
    }
    text
}

/// The candidate that suppression keeps for an object, and the one that fits it best.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Choice {
    kept: Detection,
    kept_iou: f32,
    best: Detection,
    best_iou: f32,
}

impl Choice {
    /// `None` of an object that was not found.
    fn new(object: &Object, candidates: &[Detection]) -> Option<Self> {
        let bbox = object.bbox;
        let bbox = [bbox.x1, bbox.y1, bbox.x2, bbox.y2];
        let fitting: Vec<(Detection, f32)> = candidates
            .iter()
            .filter(|candidate| candidate.label == object.label)
            .map(|candidate| (*candidate, iou(&candidate.bbox, &bbox)))
            .filter(|(_, iou)| *iou >= OF_OBJECT)
            .collect();
        let (kept, kept_iou) = *fitting
            .iter()
            .max_by(|a, b| a.0.score.total_cmp(&b.0.score))?;
        let (best, best_iou) = *fitting.iter().max_by(|a, b| a.1.total_cmp(&b.1))?;
        Some(Self {
            kept,
            kept_iou,
            best,
            best_iou,
        })
    }

    fn gap(&self) -> f32 {
        self.best_iou - self.kept_iou
    }
}

/// Objects for which `without` keeps a box that is worse by [`GAP`] than its best, and
/// `with` keeps a better one; and says how many there are, of both kinds.
fn pictures(
    folder: &Path,
    dataset: &DetectionDataset,
    without: &Candidates,
    with: &Candidates,
) -> Result<(), Error> {
    let mut cases = Vec::new();
    let (mut found, mut better, mut worse) = (0, 0, 0);
    for ((image, without), (_, with)) in without.iter().zip(with) {
        for object in dataset
            .record(*image)?
            .objects
            .iter()
            .filter(|o| !o.iscrowd)
        {
            let (Some(a), Some(b)) = (Choice::new(object, without), Choice::new(object, with))
            else {
                continue;
            };
            found += 1;
            if a.gap() >= GAP && b.kept_iou >= a.kept_iou + GAP {
                better += 1;
                cases.push((*image, object.clone(), a, b));
            }
            if b.gap() >= GAP && a.kept_iou >= b.kept_iou + GAP {
                worse += 1;
            }
        }
    }
    println!(
        "of {found} objects that both find, the first keeps a box worse by {GAP} and the second a better one for \
         {better}, the other way round for {worse}"
    );
    cases.sort_by(|a, b| b.2.gap().total_cmp(&a.2.gap()));
    let mut sheet = Vec::new();
    for (image, object, a, b) in cases.into_iter().take(PICTURES) {
        let pixels = dataset.image(image)?;
        for choice in [a, b] {
            let label = |name: &str, detection: &Detection, iou: f32| {
                format!("{name} {:.2}, IoU {iou:.2}", detection.score)
            };
            let bbox = object.bbox;
            let annotations = [
                Annotation {
                    bbox: [bbox.x1, bbox.y1, bbox.x2, bbox.y2],
                    text: String::new(),
                    class: 2,
                },
                Annotation {
                    bbox: choice.best.bbox,
                    text: label("best", &choice.best, choice.best_iou),
                    class: 0,
                },
                Annotation {
                    bbox: choice.kept.bbox,
                    text: label("kept", &choice.kept, choice.kept_iou),
                    class: 1,
                },
            ];
            sheet.push(annotated(&pixels, &annotations, PICTURE_SIDE));
        }
    }
    if !sheet.is_empty() {
        let path = folder.join("figure2-pictures.png");
        save_picture(&path, &contact_sheet(&sheet, 4, 12))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use fcos_burn::data::BoundingBox;

    use super::*;

    #[test]
    fn the_score_keeps_and_the_iou_is_best() {
        let object = Object {
            id: 1,
            bbox: BoundingBox {
                x1: 0.0,
                y1: 0.0,
                x2: 10.0,
                y2: 10.0,
            },
            label: 1,
            area: 100.0,
            iscrowd: false,
        };
        let candidate = |x2: f32, score, label| Detection {
            bbox: [0.0, 0.0, x2, 10.0],
            score,
            label,
        };
        let candidates = [
            candidate(6.0, 0.9, 1),
            candidate(10.0, 0.5, 1),
            candidate(10.0, 0.95, 0),
            candidate(4.0, 0.99, 1),
        ];
        let choice = Choice::new(&object, &candidates);
        assert_eq!(choice.map(|c| c.kept), Some(candidates[0]));
        assert_eq!(choice.map(|c| c.best), Some(candidates[1]));
        assert!(choice.is_some_and(|c| (c.gap() - 0.4).abs() < 1e-6));
        assert_eq!(Choice::new(&object, &candidates[2..]), None);
    }
}
