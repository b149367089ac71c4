//! Boxes and the locations inside them.

use std::ops::Range;

use fcos_burn_boxes::LabeledBox;

use crate::locations::{LevelGrid, Locations};

/// The objects whose box has a positive, finite area, with their index.
pub(super) fn with_area(objects: &[LabeledBox]) -> impl Iterator<Item = (usize, &LabeledBox)> {
    objects.iter().enumerate().filter(|(_, object)| {
        let [x1, y1, x2, y2] = object.bbox;
        let area = (x2 - x1) * (y2 - y1);
        x2 > x1 && y2 > y1 && area > 0.0 && area.is_finite()
    })
}

/// The center of a box, `[x, y]`.
pub(super) fn center([x1, y1, x2, y2]: [f32; 4]) -> [f32; 2] {
    [(x1 + x2) / 2.0, (y1 + y2) / 2.0]
}

/// The square with half side `reach` around the center of `bbox`.
pub(super) fn center_square(bbox: [f32; 4], reach: f32) -> [f32; 4] {
    let [x, y] = center(bbox);
    [x - reach, y - reach, x + reach, y + reach]
}

/// The square with half side `reach` around the center of `bbox`, clipped to `bbox`.
pub(super) fn center_region(bbox: [f32; 4], reach: f32) -> [f32; 4] {
    let [x1, y1, x2, y2] = center_square(bbox, reach);
    [
        x1.max(bbox[0]),
        y1.max(bbox[1]),
        x2.min(bbox[2]),
        y2.min(bbox[3]),
    ]
}

/// Whether a location lies strictly inside a box.
pub(super) fn is_inside([x, y]: [f32; 2], [x1, y1, x2, y2]: [f32; 4]) -> bool {
    x1 < x && x < x2 && y1 < y && y < y2
}

/// Indices of the cells of `grid` whose location lies strictly inside `region`.
pub(super) fn cells_inside(
    grid: &LevelGrid,
    [x1, y1, x2, y2]: [f32; 4],
) -> impl Iterator<Item = usize> + use<> {
    let columns = strictly_between(x1, x2, grid.width, |index| grid.column(index));
    let width = grid.width;
    strictly_between(y1, y2, grid.height, |index| grid.row(index))
        .flat_map(move |row| columns.clone().map(move |column| row * width + column))
}

/// Calls `found` with the index of every location strictly inside the region of its level, its
/// position `[x, y]` and its level.
pub(super) fn each_inside(
    locations: &Locations,
    region: impl Fn(&LevelGrid) -> [f32; 4],
    mut found: impl FnMut(usize, [f32; 2], &LevelGrid),
) {
    let mut first = 0;
    for grid in locations.levels() {
        for index in cells_inside(grid, region(grid)) {
            found(first + index, grid.location(index), grid);
        }
        first += grid.len();
    }
}

/// Indices below `count` whose ascending positions lie strictly between `low` and `high`.
fn strictly_between(
    low: f32,
    high: f32,
    count: usize,
    position: impl Fn(usize) -> f32,
) -> Range<usize> {
    let start = (0..count).take_while(|&i| position(i) <= low).count();
    let end = (0..count).take_while(|&i| position(i) < high).count();
    start..end
}
