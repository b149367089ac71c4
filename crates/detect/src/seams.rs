//! Merging the detections of overlapping windows.

use fcos_burn_boxes::{Detection, Suppression, iou, share_inside};
use fcos_burn_model::postprocess::PostprocessConfig;

/// A box that is at most this share of its width or height away from an edge touches the edge, and so does one that is
/// at most a pixel away.
const TOUCH: f32 = 0.05;

/// A cut box of which more than this share lies in another box is a part of the same object.
const COVERED: f32 = 0.5;

/// Cut boxes with at least this IoU of their extents along a seam continue each other.
const CONTINUED: f32 = 0.5;

/// Left, top, right and bottom.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sides(pub(crate) [bool; 4]);

/// What the network saw at once.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct View {
    /// `[x1, y1, x2, y2]` in pixels of the image.
    pub(crate) edges: [f32; 4],
    /// The edges that are inside the image.
    pub(crate) inner: Sides,
}

/// A detection, and the edges at which the object may continue.
#[derive(Clone, Copy, Debug)]
struct Piece {
    detection: Detection,
    cut: Sides,
}

/// The detections of several views of an image, without repetitions, by descending score. See
/// [`Detector::detect_tiled`](crate::Detector::detect_tiled) for the rule.
pub(crate) fn merged(found: Vec<(Detection, View)>, config: &PostprocessConfig) -> Vec<Detection> {
    let suppression = config.suppression;
    let related = |a: &Detection, b: &Detection| suppression.relates(a, b);
    let repeats = |a: &Detection, b: &Detection| {
        related(a, b) && config.nms_method.overlap(&a.bbox, &b.bbox) > config.nms_iou_threshold
    };
    let (mut whole, mut cut) = (Vec::new(), Vec::new());
    for (detection, view) in found {
        let piece = Piece::new(detection, view);
        match piece.cuts() {
            0 => whole.push((detection, view)),
            _ => cut.push(piece),
        }
    }
    whole.sort_by(|(a, _), (b, _)| by_score(a, b));
    // The detections of a view have already suppressed each other.
    let mut unrepeated: Vec<(Detection, View)> = Vec::with_capacity(whole.len());
    for (detection, view) in whole {
        let seen = (unrepeated.iter())
            .any(|(better, other)| *other != view && repeats(&detection, better));
        if !seen {
            unrepeated.push((detection, view));
        }
    }
    let mut kept: Vec<Detection> = unrepeated.into_iter().map(|(kept, _)| kept).collect();
    let is_part = |part: &Detection, of: &Detection| {
        related(part, of) && share_inside(&part.bbox, &of.bbox) > COVERED
    };
    cut.retain(|piece| !kept.iter().any(|other| is_part(&piece.detection, other)));
    let mut cut = joined(cut, suppression);
    cut.sort_by(|a, b| {
        (a.cuts().cmp(&b.cuts())).then_with(|| by_score(&a.detection, &b.detection))
    });
    for Piece { detection, .. } in cut {
        if !kept
            .iter()
            .any(|other| is_part(&detection, other) || repeats(&detection, other))
        {
            kept.push(detection);
        }
    }
    kept.sort_by(by_score);
    kept
}

fn by_score(a: &Detection, b: &Detection) -> std::cmp::Ordering {
    b.score.total_cmp(&a.score)
}

/// The pieces, of which those that continue each other are joined, the best ones first.
fn joined(mut pieces: Vec<Piece>, suppression: Suppression) -> Vec<Piece> {
    pieces.sort_by(|a, b| by_score(&a.detection, &b.detection));
    let mut joined: Vec<Piece> = Vec::with_capacity(pieces.len());
    // A joined piece may continue another one at a second seam: it is compared again.
    let mut open: Vec<Piece> = pieces.into_iter().rev().collect();
    while let Some(piece) = open.pop() {
        let partner = joined.iter().enumerate().find_map(|(place, other)| {
            let related = suppression.relates(&piece.detection, &other.detection);
            let whole = related.then(|| piece.joined(other)).flatten();
            whole.map(|whole| (place, whole))
        });
        match partner {
            Some((place, whole)) => {
                joined.remove(place);
                open.push(whole);
            }
            None => joined.push(piece),
        }
    }
    joined
}

impl Piece {
    fn new(detection: Detection, view: View) -> Self {
        let cut = std::array::from_fn(|side| {
            let [start, end] = extent(&detection.bbox, side % 2);
            let near = (TOUCH * (end - start)).max(1.0);
            view.inner.0[side] && (detection.bbox[side] - view.edges[side]).abs() <= near
        });
        Self {
            detection,
            cut: Sides(cut),
        }
    }

    fn cuts(&self) -> usize {
        self.cut.0.iter().filter(|cut| **cut).count()
    }

    /// Both as one, if they continue each other.
    fn joined(&self, other: &Self) -> Option<Self> {
        [0, 1].into_iter().find_map(|axis| {
            let forward = self
                .continued_by(other, axis)
                .then(|| self.followed_by(other, axis));
            forward.or_else(|| {
                other
                    .continued_by(self, axis)
                    .then(|| other.followed_by(self, axis))
            })
        })
    }

    /// Whether the object goes on in `next`, to the right (axis 0) or to the bottom (axis 1).
    fn continued_by(&self, next: &Self, axis: usize) -> bool {
        let [start, end] = extent(&self.detection.bbox, axis);
        let [next_start, next_end] = extent(&next.detection.bbox, axis);
        let near = (TOUCH * (end - start).min(next_end - next_start)).max(1.0);
        let along = 1 - axis;
        self.cut.0[axis + 2]
            && next.cut.0[axis]
            && start <= next_start
            && end <= next_end
            && next_start <= end + near
            && overlap(
                extent(&self.detection.bbox, along),
                extent(&next.detection.bbox, along),
            ) >= CONTINUED
    }

    /// The object that starts here and ends in `next`.
    fn followed_by(&self, next: &Self, axis: usize) -> Self {
        let (a, b) = (&self.detection, &next.detection);
        let better = if a.score >= b.score { a } else { b };
        let bbox = std::array::from_fn(|side| match side < 2 {
            true => a.bbox[side].min(b.bbox[side]),
            false => a.bbox[side].max(b.bbox[side]),
        });
        let cut = std::array::from_fn(|side| match side {
            side if side == axis => self.cut.0[side],
            side if side == axis + 2 => next.cut.0[side],
            side => self.cut.0[side] || next.cut.0[side],
        });
        Self {
            detection: Detection { bbox, ..*better },
            cut: Sides(cut),
        }
    }
}

/// Start and end of a box along an axis: 0 for x, 1 for y.
fn extent(bbox: &[f32; 4], axis: usize) -> [f32; 2] {
    [bbox[axis], bbox[axis + 2]]
}

/// Intersection over union of two intervals.
fn overlap(a: [f32; 2], b: [f32; 2]) -> f32 {
    iou(&[a[0], 0.0, a[1], 1.0], &[b[0], 0.0, b[1], 1.0])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Windows of 100×100 pixels that overlap by 20, in an image of 180×180.
    fn window(column: usize, row: usize) -> View {
        let [x, y] = [column, row].map(|place| 80.0 * place as f32);
        View {
            edges: [x, y, x + 100.0, y + 100.0],
            inner: Sides([column > 0, row > 0, column < 1, row < 1]),
        }
    }

    const WHOLE: View = View {
        edges: [0.0, 0.0, 180.0, 180.0],
        inner: Sides([false; 4]),
    };

    fn detection(bbox: [f32; 4], score: f32) -> Detection {
        Detection {
            bbox,
            label: 0,
            score,
        }
    }

    /// What a window sees of an object.
    fn seen(bbox: [f32; 4], view: View, score: f32) -> (Detection, View) {
        let [x1, y1, x2, y2] = view.edges;
        let bbox = [
            bbox[0].max(x1),
            bbox[1].max(y1),
            bbox[2].min(x2),
            bbox[3].min(y2),
        ];
        (detection(bbox, score), view)
    }

    fn boxes(found: Vec<(Detection, View)>) -> Vec<[f32; 4]> {
        let merged = merged(found, &PostprocessConfig::default());
        merged.iter().map(|detection| detection.bbox).collect()
    }

    #[test]
    fn the_window_that_sees_an_object_whole_wins_over_a_better_piece() {
        // It fits into the second window, and the first one sees 16 of 22 columns.
        let object = [84.0, 10.0, 106.0, 30.0];
        let found = vec![
            seen(object, window(0, 0), 0.9),
            seen(object, window(1, 0), 0.5),
        ];
        assert_eq!(boxes(found), [object]);
    }

    #[test]
    fn an_object_that_no_window_sees_whole_is_joined() {
        let wide = [30.0, 10.0, 140.0, 40.0];
        let pieces = |columns: [usize; 2]| {
            columns.map(|column| seen(wide, window(column, 0), 0.5 + 0.1 * column as f32))
        };
        assert_eq!(boxes(pieces([0, 1]).into()), [wide]);
        let joined = merged(pieces([1, 0]).into(), &PostprocessConfig::default());
        assert_eq!((joined[0].bbox, joined[0].score), (wide, 0.6));
        // Across both seams, from four windows.
        let large = [30.0, 20.0, 140.0, 150.0];
        let views = [window(0, 0), window(1, 0), window(0, 1), window(1, 1)];
        let found = views.map(|view| seen(large, view, 0.7));
        assert_eq!(boxes(found.into()), [large]);
    }

    #[test]
    fn the_whole_image_sees_large_objects_whole() {
        let large = [30.0, 20.0, 140.0, 150.0];
        let found = vec![
            seen(large, window(0, 0), 0.9),
            seen(large, window(1, 1), 0.9),
            seen(large, WHOLE, 0.4),
        ];
        assert_eq!(boxes(found), [large]);
    }

    #[test]
    fn an_object_in_the_overlap_counts_once() {
        let object = [82.0, 10.0, 98.0, 30.0];
        let shifted = [83.0, 10.0, 98.0, 31.0];
        let found = vec![
            seen(object, window(0, 0), 0.8),
            seen(shifted, window(1, 0), 0.7),
        ];
        assert_eq!(boxes(found), [object]);
    }

    /// A soft method has kept both; the other window shows the first one again.
    #[test]
    fn overlapping_boxes_of_a_window_stay_and_count_once() {
        let object = [82.0, 10.0, 98.0, 30.0];
        let near = [82.0, 12.0, 98.0, 32.0];
        let found = vec![
            seen(object, window(0, 0), 0.8),
            seen(near, window(0, 0), 0.3),
            seen(object, window(1, 0), 0.7),
        ];
        assert_eq!(boxes(found), [object, near]);
    }

    #[test]
    fn neighbors_at_a_seam_stay_apart() {
        // One ends at the seam of the first window and one begins at that of the second.
        let left = [60.0, 10.0, 100.0, 40.0];
        let right = [100.0, 10.0, 140.0, 40.0];
        let found = vec![
            (detection(left, 0.9), window(0, 0)),
            seen(left, window(1, 0), 0.8),
            seen(right, window(1, 0), 0.7),
        ];
        assert_eq!(boxes(found), [left, right]);
        // At the edge of the image, a box is whole.
        let corner = [0.0, 0.0, 30.0, 30.0];
        assert_eq!(Piece::new(detection(corner, 0.5), window(0, 0)).cuts(), 0);
        assert_eq!(
            Piece::new(
                detection(corner, 0.5),
                View {
                    inner: Sides([true; 4]),
                    ..window(0, 0)
                }
            )
            .cuts(),
            2
        );
    }

    #[test]
    fn other_classes_neither_suppress_nor_continue() {
        let wide = [30.0, 10.0, 140.0, 40.0];
        let mut found = vec![seen(wide, window(0, 0), 0.9), seen(wide, window(1, 0), 0.8)];
        found[1].0.label = 1;
        assert_eq!(boxes(found.clone()).len(), 2);
        let across = PostprocessConfig::default().with_suppression(Suppression::AcrossClasses);
        let joined = merged(found, &across);
        assert_eq!(
            (joined.len(), joined[0].bbox, joined[0].label),
            (1, wide, 0)
        );
    }
}
