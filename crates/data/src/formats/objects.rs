//! The one rule by which annotations become objects.

use std::fmt;

use crate::report::Finding;
use crate::{BoundingBox, LoadReport, Object};

/// How far, in pixels, a box may reach beyond its image by rounding alone.
const ROUNDING: f32 = 1e-2;

/// An annotation as a file gives it.
pub(super) struct Annotation {
    pub id: u64,
    /// Left, top, width, height in pixels.
    pub xywh: [f64; 4],
    pub label: usize,
    /// The annotated area, where the format has one.
    pub area: Option<f64>,
    pub iscrowd: bool,
}

/// The image an annotation belongs to.
pub(super) struct Frame<'a> {
    pub file_name: &'a str,
    pub width: u32,
    pub height: u32,
}

impl Annotation {
    /// The object, its box clipped to the image; `None` where nothing of the box is left. What is dropped or clipped is
    /// recorded under the image's name and `place`.
    pub(super) fn admit(
        self,
        frame: &Frame,
        place: impl fmt::Display,
        report: &mut LoadReport,
    ) -> Option<Object> {
        let drawn = BoundingBox::from_xywh(self.xywh);
        if !drawn.has_extent() {
            report.record(Finding::NoExtent, frame.file_name, place);
            return None;
        }
        let bbox = drawn.clip(frame.width, frame.height);
        if !bbox.has_extent() {
            report.record(Finding::Outside, frame.file_name, place);
            return None;
        }
        let moved = [
            bbox.x1 - drawn.x1,
            bbox.y1 - drawn.y1,
            drawn.x2 - bbox.x2,
            drawn.y2 - bbox.y2,
        ];
        if moved.into_iter().any(|distance| distance > ROUNDING) {
            report.record(Finding::Clipped, frame.file_name, place);
        }
        let area = self.area.unwrap_or_else(|| f64::from(bbox.area()));
        Some(Object {
            id: self.id,
            bbox,
            label: self.label,
            area,
            iscrowd: self.iscrowd,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: Frame = Frame {
        file_name: "a.jpg",
        width: 20,
        height: 10,
    };

    fn admit(xywh: [f64; 4], report: &mut LoadReport) -> Option<Object> {
        Annotation {
            id: 1,
            xywh,
            label: 0,
            area: None,
            iscrowd: false,
        }
        .admit(&FRAME, "line 1", report)
    }

    #[test]
    fn boxes_end_up_inside_or_in_the_report() {
        let mut report = LoadReport::default();
        let kept =
            admit([15.0, 5.0, 10.0, 2.0], &mut report).map(|object| (object.bbox, object.area));
        assert_eq!(kept, Some((BoundingBox::new(15.0, 5.0, 20.0, 7.0), 10.0)));
        assert!(admit([20.0, 0.0, 4.0, 4.0], &mut report).is_none());
        assert!(admit([-9.0, 0.0, 4.0, 4.0], &mut report).is_none());
        for degenerate in [
            [1.0, 1.0, 0.0, 4.0],
            [1.0, 1.0, 4.0, -1.0],
            [1.0, f64::NAN, 4.0, 4.0],
        ] {
            assert!(admit(degenerate, &mut report).is_none());
        }
        let counts = [Finding::Clipped, Finding::Outside, Finding::NoExtent]
            .map(|finding| report.tally(finding).count);
        assert_eq!(counts, [1, 2, 3]);
    }

    #[test]
    fn a_box_out_by_rounding_is_cut_without_a_word() {
        let mut report = LoadReport::default();
        let object = admit([-0.001, 0.0, 20.002, 10.0], &mut report);
        assert_eq!(
            object.map(|object| object.bbox),
            Some(BoundingBox::new(0.0, 0.0, 20.0, 10.0))
        );
        assert!(report.is_clean());
    }
}
