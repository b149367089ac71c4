//! How much boxes overlap.

/// Intersection over union of two boxes `[x1, y1, x2, y2]`; 0 if the union has no area.
pub fn iou(a: &[f32; 4], b: &[f32; 4]) -> f32 {
    let intersection = intersection(a, b);
    let union = area(a) + area(b) - intersection;
    if union > 0.0 {
        intersection / union
    } else {
        0.0
    }
}

/// The IoU less the squared distance of the centers, as a share of the squared diagonal of the smallest box around both
/// (Zheng et al., [Distance-IoU Loss](https://arxiv.org/abs/1911.08287), AAAI 2020): from −1 to 1. Both are
/// `[x1, y1, x2, y2]`.
///
/// ```
/// use fcos_burn_boxes::diou;
///
/// // The centers are 4 apart, the diagonal is 10.
/// assert_eq!(diou(&[0.0, 0.0, 4.0, 6.0], &[4.0, 0.0, 8.0, 6.0]), 0.0 - 16.0 / 100.0);
/// ```
pub fn diou(a: &[f32; 4], b: &[f32; 4]) -> f32 {
    let center_distance = |axis: usize| (a[axis] + a[axis + 2] - b[axis] - b[axis + 2]) / 2.0;
    let extent = |axis: usize| a[axis + 2].max(b[axis + 2]) - a[axis].min(b[axis]);
    let squared = |length: &dyn Fn(usize) -> f32| length(0).powi(2) + length(1).powi(2);
    let diagonal = squared(&extent);
    let distance = if diagonal > 0.0 {
        squared(&center_distance) / diagonal
    } else {
        0.0
    };
    iou(a, b) - distance
}

/// The share of the area of `part` that lies in `whole`, from 0 to 1; 0 if `part` has no area.
/// Both are `[x1, y1, x2, y2]`.
///
/// ```
/// use fcos_burn_boxes::share_inside;
///
/// let (half, whole) = ([0.0, 0.0, 4.0, 8.0], [2.0, 0.0, 99.0, 99.0]);
/// assert_eq!(share_inside(&half, &whole), 0.5);
/// ```
pub fn share_inside(part: &[f32; 4], whole: &[f32; 4]) -> f32 {
    let area = area(part);
    if area > 0.0 {
        intersection(part, whole) / area
    } else {
        0.0
    }
}

fn intersection(a: &[f32; 4], b: &[f32; 4]) -> f32 {
    let width = (a[2].min(b[2]) - a[0].max(b[0])).max(0.0);
    let height = (a[3].min(b[3]) - a[1].max(b[1])).max(0.0);
    width * height
}

fn area(bbox: &[f32; 4]) -> f32 {
    (bbox[2] - bbox[0]) * (bbox[3] - bbox[1])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_inside_is_that_of_the_first_box() {
        let (small, large) = ([8.0, 0.0, 12.0, 5.0], [0.0, 0.0, 10.0, 10.0]);
        assert_eq!(share_inside(&small, &large), 0.5);
        assert_eq!(share_inside(&large, &small), 0.1);
        assert_eq!(share_inside(&[3.0, 3.0, 3.0, 9.0], &large), 0.0);
    }

    #[test]
    fn diou_is_the_iou_of_boxes_with_the_same_center() {
        let (outer, inner) = ([0.0, 0.0, 8.0, 8.0], [2.0, 2.0, 6.0, 6.0]);
        assert_eq!(diou(&outer, &inner), iou(&outer, &inner));
        assert_eq!(diou(&[3.0; 4], &[3.0; 4]), 0.0);
        let far = [1e6, 1e6, 1e6 + 1.0, 1e6 + 1.0];
        assert!(diou(&outer, &far) < -0.99);
    }
}
