//! Figure 2: score against IoU of the candidates, and objects for which the score selects a worse
//! box.

use std::{fmt::Write as _, path::Path, sync::Arc};

use crate::Error;
use fcos_burn::{
    boxes::Detection,
    data::{DetectionDataset, Object},
    detect::json::read_json,
    eval::{CocoResult, detections, score_iou},
    plot::{DrawnBox, ScatterChart, Series, annotated, contact_sheet, save_picture},
};

use fcos_burn_cli::terminal::print;

use super::{
    candidates::{ByImage, Choice, candidates},
    study::Study,
};

/// A candidate is marked if its score and IoU differ by more than this.
const INCONSISTENT: f64 = 0.3;

/// One box is better than another if its IoU is higher by at least this.
const GAP: f32 = 0.1;

/// Maximum number of objects that are drawn.
const PICTURES: usize = 4;

/// Short side of the pictures, in pixels.
const PICTURE_SIDE: u32 = 320;

/// Detections and candidates of a run.
struct Found {
    detections: ByImage,
    candidates: ByImage,
}

impl Found {
    fn choice(&self, image: usize, object: &Object) -> Option<Choice> {
        let (detections, candidates) = (self.detections.of(image), self.candidates.of(image));
        Choice::new(object, detections, candidates)
    }
}

/// Writes the figure for the runs with the first seed.
///
/// Each row of `study` gets a `figure2-ROW` (SVG, PNG and CSV). `figure2-pictures.png` shows
/// objects for which the first row keeps the worse box and the last row the better one.
/// `figure2.md` gives their number.
///
/// # Errors
///
/// Names the file that cannot be read or written.
pub fn write(folder: &Path, study: &Study) -> Result<(), Error> {
    let data = &study.config.data;
    let dataset = Arc::new(data.open(&data.val_split)?);
    let mut all = Vec::new();
    for row in &study.rows {
        let seed = study.config.seed;
        let mut runs = study.finished_runs(row)?.into_iter();
        let Some(run) = runs.find(|run| run.seed == seed) else {
            continue;
        };
        let found = candidates(&run.folder, &dataset, &study.config)?;
        let pairs = score_iou(&dataset, &found)?;
        let stem = format!("figure2-{}", row.name);
        scatter(&row.label, &pairs).save(&folder.join(&stem))?;
        let path = folder.join(format!("{stem}.csv"));
        std::fs::write(&path, csv(&pairs)).map_err(Error::io(&path))?;
        let results: Vec<CocoResult> = read_json(&run.folder.results_path())?;
        all.push(Found {
            detections: ByImage::new(detections(&dataset, &results)?),
            candidates: ByImage::new(found),
        });
    }
    if let [without, .., with] = all.as_slice() {
        pictures(folder, &dataset, without, with)?;
    }
    Ok(())
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
            name: format!("differ by more than {INCONSISTENT}: {share:.0}%"),
            points: marked,
        },
        diagonal: Some("score = IoU".into()),
    }
}

fn csv(pairs: &[(f64, f64)]) -> String {
    let mut text = "score,iou\n".to_owned();
    for (score, iou) in pairs {
        let _ = writeln!(text, "{score:.3},{iou:.3}");
    }
    text
}

/// Counts and draws the objects for which `without` keeps a box that is worse by [`GAP`] than its
/// best candidate, while `with` keeps a better one. The opposite cases are counted too.
fn pictures(
    folder: &Path,
    dataset: &DetectionDataset,
    without: &Found,
    with: &Found,
) -> Result<(), Error> {
    let mut cases = Vec::new();
    let (mut found, mut better, mut worse) = (0, 0, 0);
    for (index, image) in dataset.images().iter().enumerate() {
        for object in image.ordinary_objects() {
            let (Some(a), Some(b)) = (without.choice(index, object), with.choice(index, object))
            else {
                continue;
            };
            found += 1;
            if a.gap() >= GAP && b.kept_iou >= a.kept_iou + GAP {
                better += 1;
                cases.push((index, object.clone(), a, b));
            }
            if b.gap() >= GAP && a.kept_iou >= b.kept_iou + GAP {
                worse += 1;
            }
        }
    }
    let said = format!(
        "Of {found} objects that both detectors find, for {better} the first keeps a box whose IoU is at least {GAP} below \
         that of its best candidate, while the second keeps one that is better by at least {GAP}; for {worse} it is the \
         other way around."
    );
    print(format_args!("{said}\n"))?;
    let path = folder.join("figure2.md");
    std::fs::write(&path, said + "\n").map_err(Error::io(&path))?;
    cases.sort_by(|a, b| b.2.gap().total_cmp(&a.2.gap()));
    let mut sheet = Vec::new();
    for (image, object, a, b) in cases.into_iter().take(PICTURES) {
        let pixels = dataset.image(image)?;
        for choice in [a, b] {
            let label = |name: &str, detection: &Detection, iou: f32| {
                format!("{name} {:.2}, IoU {iou:.2}", detection.score)
            };
            let boxes = [
                DrawnBox {
                    bbox: object.bbox.to_xyxy(),
                    text: String::new(),
                    class: 2,
                },
                DrawnBox {
                    bbox: choice.best.bbox,
                    text: label("best", &choice.best, choice.best_iou),
                    class: 0,
                },
                DrawnBox {
                    bbox: choice.kept.bbox,
                    text: label("kept", &choice.kept, choice.kept_iou),
                    class: 1,
                },
            ];
            sheet.push(annotated(&pixels, &boxes, PICTURE_SIDE));
        }
    }
    if !sheet.is_empty() {
        let path = folder.join("figure2-pictures.png");
        save_picture(&path, &contact_sheet(&sheet, 4, 12))?;
    }
    Ok(())
}
