//! The configuration of ignored objects.

use fcos_burn_boxes::LabeledBox;
use fcos_burn_model::ConfigError;
use serde::{Deserialize, Serialize};

/// Which objects are ignored in training: the locations that would be assigned to them, and to no
/// other object, enter no loss. Sizes are in pixels of the network's input, after resizing and
/// augmentation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct IgnoreRule {
    /// Objects whose shorter side is below this length.
    #[serde(default)]
    pub min_side: Option<f32>,
    /// Objects whose box has less than this area.
    #[serde(default)]
    pub min_area: Option<f32>,
    /// Objects that the border of the image cuts off: a side of the box is less than a pixel away
    /// from it.
    #[serde(default)]
    pub truncated: bool,
}

impl IgnoreRule {
    /// Sets [`min_side`](Self::min_side).
    #[must_use]
    pub fn with_min_side(self, min_side: Option<f32>) -> Self {
        Self { min_side, ..self }
    }

    /// Sets [`min_area`](Self::min_area).
    #[must_use]
    pub fn with_min_area(self, min_area: Option<f32>) -> Self {
        Self { min_area, ..self }
    }

    /// Sets [`truncated`](Self::truncated).
    #[must_use]
    pub fn with_truncated(self, truncated: bool) -> Self {
        Self { truncated, ..self }
    }

    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        let limits = [("min_side", self.min_side), ("min_area", self.min_area)];
        limits.into_iter().try_for_each(|(field, limit)| {
            let limit = limit.unwrap_or(1.0);
            let holds = limit.is_finite() && limit > 0.0;
            ConfigError::ensure(holds, field, limit, "above 0 and finite")
        })
    }

    /// Whether `object` is ignored in an image of `[width, height]` pixels.
    pub fn ignores(&self, object: &LabeledBox, [width, height]: [u32; 2]) -> bool {
        /// How close to the border a box is cut off, in pixels.
        const AT_BORDER: f32 = 1.0;
        let [x1, y1, x2, y2] = object.bbox;
        let [across, down] = [x2 - x1, y2 - y1];
        let is_truncated = x1 < AT_BORDER
            || y1 < AT_BORDER
            || x2 > width as f32 - AT_BORDER
            || y2 > height as f32 - AT_BORDER;
        self.min_side.is_some_and(|limit| across.min(down) < limit)
            || self.min_area.is_some_and(|limit| across * down < limit)
            || self.truncated && is_truncated
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn objects_are_ignored_by_their_size_and_at_the_border() {
        let ignored = |rule: IgnoreRule| {
            let boxes = [
                [10.0, 10.0, 14.0, 40.0],
                [10.0, 10.0, 20.0, 20.0],
                [0.5, 10.0, 30.0, 40.0],
                [10.0, 10.0, 40.0, 47.5],
                [1.0, 1.0, 63.0, 47.0],
            ];
            boxes.map(|bbox| rule.ignores(&LabeledBox { bbox, label: 0 }, [64, 48]))
        };
        let rule = IgnoreRule::default();
        assert_eq!(ignored(rule), [false; 5]);
        let short = rule.with_min_side(Some(4.5));
        assert_eq!(ignored(short), [true, false, false, false, false]);
        let small = rule.with_min_area(Some(120.0));
        assert_eq!(ignored(small), [false, true, false, false, false]);
        assert!(ignored(rule.with_min_area(Some(120.5)))[0]);
        let truncated = rule.with_truncated(true);
        assert_eq!(ignored(truncated), [false, false, true, true, false]);
    }

    #[test]
    fn limits_out_of_range_are_named() {
        let rule = IgnoreRule::default();
        for limit in [0.0, -1.0, f32::NAN, f32::INFINITY] {
            let error = rule.with_min_side(Some(limit)).validate().unwrap_err();
            assert_eq!(error.field, "min_side");
            let error = rule.with_min_area(Some(limit)).validate().unwrap_err();
            assert_eq!(error.field, "min_area");
        }
    }
}
