//! Sets of points of a fine grid, as bits.

use crate::drawing::{Edges, GRID, POINTS, Visible};

/// Bits of a word.
const WORD: i32 = u64::BITS as i32;

/// Pixels along a word.
const PIXELS: usize = u64::BITS as usize / GRID;

/// A set of grid points within a rectangle that may reach outside the image.
#[derive(Debug, Clone)]
pub(super) struct Mask {
    /// The first word of each row, counted from the left edge of the image.
    left: i32,
    /// The first row of grid points, counted from the top edge of the image: a multiple of [`GRID`].
    top: i32,
    words: usize,
    rows: usize,
    bits: Vec<u64>,
}

impl Mask {
    /// The empty set within a rectangle of left, top, right and bottom bounds in pixels.
    pub(super) fn within(extent: [f32; 4]) -> Self {
        let [x1, y1, x2, y2] =
            extent.map(|edge| (edge.clamp(-8192.0, 8192.0) * GRID as f32).floor() as i32);
        let (left, top) = (
            x1.div_euclid(WORD),
            y1.div_euclid(GRID as i32) * GRID as i32,
        );
        let words = (x2.div_euclid(WORD) - left + 1).max(1) as usize;
        let rows = ((y2 - top) / GRID as i32 + 1).max(1) as usize * GRID;
        Self {
            left,
            top,
            words,
            rows,
            bits: vec![0; words * rows],
        }
    }

    /// Adds the inside of a polygon, by the even-odd rule, or takes it away.
    pub(super) fn fill(&mut self, polygon: &[[f32; 2]], present: bool) {
        let grid = GRID as f32;
        let mut crossings: Vec<(i32, f32)> = Vec::with_capacity(64);
        let mut previous = polygon.last().copied().unwrap_or_default();
        for &point in polygon {
            let [upper, lower] = if previous[1] <= point[1] {
                [previous, point]
            } else {
                [point, previous]
            };
            previous = point;
            let first = ((upper[1] * grid - 0.5).ceil() as i32).max(self.top);
            let end = ((lower[1] * grid - 0.5).ceil() as i32).min(self.top + self.rows as i32);
            if first >= end {
                continue;
            }
            let slope = (lower[0] - upper[0]) / (lower[1] - upper[1]);
            for row in first..end {
                let y = (row as f32 + 0.5) / grid;
                crossings.push((row, upper[0] + (y - upper[1]) * slope));
            }
        }
        crossings.sort_unstable_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
        for pair in crossings.chunks_exact(2) {
            let column = |x: f32| (x * grid - 0.5).ceil() as i32;
            self.span(pair[0].0, column(pair[0].1), column(pair[1].1), present);
        }
    }

    /// Adds a square.
    pub(super) fn dot(&mut self, [x, y]: [f32; 2], radius: f32) {
        let edge = |value: f32| (value * GRID as f32 - 0.5).ceil() as i32;
        for row in edge(y - radius)..edge(y + radius) {
            self.span(row, edge(x - radius), edge(x + radius), true);
        }
    }

    /// Adds the points of a row from `start` to before `end`, or takes them away.
    fn span(&mut self, row: i32, start: i32, end: i32, present: bool) {
        let row = row - self.top;
        let start = (start - self.left * WORD).max(0);
        let end = (end - self.left * WORD).min(self.words as i32 * WORD);
        if row < 0 || row as usize >= self.rows || start >= end {
            return;
        }
        let base = row as usize * self.words;
        let (first, last) = ((start / WORD) as usize, ((end - 1) / WORD) as usize);
        for word in first..=last {
            let mut bits = u64::MAX;
            if word == first {
                bits &= u64::MAX << (start % WORD);
            }
            if word == last {
                bits &= u64::MAX >> (WORD - 1 - (end - 1) % WORD);
            }
            let target = &mut self.bits[base + word];
            *target = if present {
                *target | bits
            } else {
                *target & !bits
            };
        }
    }

    /// Takes away the points that are farther than this many grid points from the outside.
    pub(super) fn hollow(&mut self, depth: usize) {
        let mut core = self.bits.clone();
        let mut next = core.clone();
        let zero = vec![0; self.words];
        for step in 0..depth {
            for row in 0..self.rows {
                let line = |row: Option<usize>| match row {
                    Some(row) if row < self.rows => &core[row * self.words..(row + 1) * self.words],
                    _ => &zero[..],
                };
                let (above, here, below) = (
                    line(row.checked_sub(1)),
                    line(Some(row)),
                    line(Some(row + 1)),
                );
                for word in 0..self.words {
                    let shifted = |line: &[u64]| {
                        let before = if word > 0 { line[word - 1] } else { 0 };
                        let after = line.get(word + 1).copied().unwrap_or(0);
                        let here = line[word];
                        here & ((here << 1) | (before >> 63)) & ((here >> 1) | (after << 63))
                    };
                    // Alternately four and eight neighbors, so that distances are those of an octagon.
                    next[row * self.words + word] = match step % 2 {
                        0 => shifted(here) & above[word] & below[word],
                        _ => shifted(here) & shifted(above) & shifted(below),
                    };
                }
            }
            std::mem::swap(&mut core, &mut next);
        }
        for (bits, core) in self.bits.iter_mut().zip(core) {
            *bits &= !core;
        }
    }

    /// Takes away the points outside another set.
    pub(super) fn intersect(&mut self, other: &Self) {
        for row in 0..self.rows {
            for word in 0..self.words {
                let (y, x) = (
                    row as i32 + self.top - other.top,
                    word as i32 + self.left - other.left,
                );
                let inside =
                    (0..other.rows as i32).contains(&y) && (0..other.words as i32).contains(&x);
                let bits = if inside {
                    other.bits[y as usize * other.words + x as usize]
                } else {
                    0
                };
                self.bits[row * self.words + word] &= bits;
            }
        }
    }

    fn count(&self) -> usize {
        self.bits
            .iter()
            .map(|bits| bits.count_ones() as usize)
            .sum()
    }

    /// The fraction of each pixel of the image that the set covers.
    pub(super) fn coverage(&self, width: usize, height: usize) -> Coverage {
        let first = self.left.max(0);
        let end = (self.left + self.words as i32).min(width.div_ceil(PIXELS) as i32);
        let (x1, x2) = (
            first as usize * PIXELS,
            (end.max(first) as usize * PIXELS).min(width),
        );
        let rows = |row: i32| (row / GRID as i32).clamp(0, height as i32) as usize;
        let (y1, y2) = (rows(self.top), rows(self.top + self.rows as i32));
        let mut coverage = Coverage::new(x1, y1, x2.saturating_sub(x1), y2 - y1);
        for y in y1..y2 {
            let base = ((y * GRID) as i32 - self.top) as usize;
            for word in first..end {
                let at = |row| self.bits[(base + row) * self.words + (word - self.left) as usize];
                let lines = [at(0), at(1), at(2), at(3)];
                if lines == [0; GRID] {
                    continue;
                }
                let start = word as usize * PIXELS;
                for x in start..(start + PIXELS).min(x2) {
                    let nibble = |line: u64| (line >> ((x - start) * GRID)) & 0xF;
                    let packed = lines.map(nibble);
                    let packed = packed[0] | packed[1] << 4 | packed[2] << 8 | packed[3] << 12;
                    let index = (y - y1) * coverage.width + x - x1;
                    coverage.alpha[index] = packed.count_ones() as f32 / POINTS as f32;
                }
            }
        }
        coverage
    }
}

/// The fractions of pixels in a rectangle within the image.
#[derive(Debug, Clone)]
pub(super) struct Coverage {
    pub x: usize,
    pub y: usize,
    pub width: usize,
    pub height: usize,
    pub alpha: Vec<f32>,
}

impl Coverage {
    fn new(x: usize, y: usize, width: usize, height: usize) -> Self {
        Self {
            x,
            y,
            width,
            height,
            alpha: vec![0.0; width * height],
        }
    }

    /// Rows of alpha with their row in the image.
    pub(super) fn rows(&self) -> impl Iterator<Item = (usize, &[f32])> {
        // An empty rectangle has no rows; chunks must not be empty.
        let rows = self.alpha.chunks_exact(self.width.max(1));
        rows.enumerate().map(|(row, line)| (self.y + row, line))
    }

    /// The same fractions, moved and blurred by means over squares, within an image of this size.
    pub(super) fn softened(&self, [dx, dy]: [i32; 2], radius: usize, size: [usize; 2]) -> Self {
        let grow = |start: usize, length: usize, shift: i32, limit: usize| {
            let first = (start as i32 + shift - 2 * radius as i32).clamp(0, limit as i32) as usize;
            let end =
                (start as i32 + length as i32 + shift + 2 * radius as i32).clamp(0, limit as i32);
            (first, (end as usize).saturating_sub(first))
        };
        let (x, width) = grow(self.x, self.width, dx, size[0]);
        let (y, height) = grow(self.y, self.height, dy, size[1]);
        let mut soft = Self::new(x, y, width, height);
        for row in 0..height {
            let from = (y + row) as i32 - dy - self.y as i32;
            if !(0..self.height as i32).contains(&from) {
                continue;
            }
            for column in 0..width {
                let at = (x + column) as i32 - dx - self.x as i32;
                if (0..self.width as i32).contains(&at) {
                    soft.alpha[row * width + column] =
                        self.alpha[from as usize * self.width + at as usize];
                }
            }
        }
        for _ in 0..2 {
            soft.alpha = box_blur(&soft.alpha, width, height, radius);
        }
        soft
    }
}

/// Means over squares of `2 radius + 1` pixels. Pixels outside the rectangle repeat the outermost ones.
fn box_blur(values: &[f32], width: usize, height: usize, radius: usize) -> Vec<f32> {
    if radius == 0 || width == 0 || height == 0 {
        return values.to_vec();
    }
    let weight = 1.0 / (2 * radius + 1) as f32;
    let pass = |values: &[f32], length: usize, lines: usize, step: usize, stride: usize| {
        let mut blurred = vec![0.0; values.len()];
        for line in 0..lines {
            let at = |index: i32| {
                values[line * stride + index.clamp(0, length as i32 - 1) as usize * step]
            };
            let r = radius as i32;
            let mut sum: f32 = (-r..=r).map(at).sum();
            for index in 0..length as i32 {
                blurred[line * stride + index as usize * step] = sum * weight;
                sum += at(index + r + 1) - at(index - r);
            }
        }
        blurred
    };
    let rows = pass(values, width, height, 1, width);
    pass(&rows, height, width, width, 1)
}

/// Which grid points of the image are hidden by layers above.
pub(super) struct Covered {
    columns: usize,
    mask: Mask,
}

impl Covered {
    pub(super) fn new(width: u32, height: u32) -> Self {
        let columns = width as usize * GRID;
        let words = columns.div_ceil(u64::BITS as usize);
        let rows = height as usize * GRID;
        Self {
            columns,
            mask: Mask {
                left: 0,
                top: 0,
                words,
                rows,
                bits: vec![0; words * rows],
            },
        }
    }

    /// The part of a mask that is in the image and not hidden.
    pub(super) fn visible(&self, mask: &Mask) -> Option<Visible> {
        let mut edges = Edges::NONE;
        self.overlap(mask, |row, word, bits, covered| {
            let mut bits = bits & !covered;
            let first = word * u64::BITS as usize;
            if first + u64::BITS as usize > self.columns {
                bits &= u64::MAX >> (first + u64::BITS as usize - self.columns);
            }
            if bits != 0 {
                let start = first + bits.trailing_zeros() as usize;
                let end = first + (u64::BITS - bits.leading_zeros()) as usize;
                edges.add(row, start, end, bits.count_ones() as usize);
            }
        });
        edges.visible(mask.count())
    }

    /// Hides what is below a mask.
    pub(super) fn cover(&mut self, mask: &Mask) {
        let mut hidden = Vec::new();
        self.overlap(mask, |row, word, bits, covered| {
            if bits & !covered != 0 {
                hidden.push((row, word, bits));
            }
        });
        for (row, word, bits) in hidden {
            self.mask.bits[row * self.mask.words + word] |= bits;
        }
    }

    /// Visits the words of a mask within the image: row, word, bits, and which of them are hidden.
    fn overlap(&self, mask: &Mask, mut visit: impl FnMut(usize, usize, u64, u64)) {
        let range = |start: i32, length: usize, limit: usize| {
            let end = (start + length as i32).clamp(0, limit as i32) as usize;
            (start.max(0) as usize).min(end)..end
        };
        let words = range(mask.left, mask.words, self.mask.words);
        for row in range(mask.top, mask.rows, self.mask.rows) {
            let base = (row as i32 - mask.top) as usize * mask.words;
            for word in words.clone() {
                let bits = mask.bits[base + (word as i32 - mask.left) as usize];
                visit(
                    row,
                    word,
                    bits,
                    self.mask.bits[row * self.mask.words + word],
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BoundingBox;

    const SQUARE: [[f32; 2]; 4] = [[10.0, 12.0], [26.0, 12.0], [26.0, 20.0], [10.0, 20.0]];

    fn filled(polygon: &[[f32; 2]]) -> Mask {
        let xs = || polygon.iter().map(|point| point[0]);
        let ys = || polygon.iter().map(|point| point[1]);
        let (low, high) = (f32::MAX, f32::MIN);
        let mut mask = Mask::within([
            xs().fold(low, f32::min),
            ys().fold(low, f32::min),
            xs().fold(high, f32::max),
            ys().fold(high, f32::max),
        ]);
        mask.fill(polygon, true);
        mask
    }

    fn area(mask: &Mask) -> f32 {
        mask.count() as f32 / POINTS as f32
    }

    #[test]
    fn areas_match_their_closed_forms() {
        assert_eq!(area(&filled(&SQUARE)), 128.0);
        let triangle = filled(&[[3.0, 3.0], [33.0, 3.0], [3.0, 23.0]]);
        assert!((area(&triangle) - 300.0).abs() < 2.0);
        // Far outside the image, in the negative quadrant.
        let moved = SQUARE.map(|[x, y]| [x - 333.25, y - 217.5]);
        assert_eq!(area(&filled(&moved)), 128.0);
        let mut frame = filled(&SQUARE);
        frame.fill(
            &[[12.0, 14.0], [24.0, 14.0], [24.0, 18.0], [12.0, 18.0]],
            false,
        );
        assert_eq!(area(&frame), 80.0);
        let mut dot = Mask::within([3.0, 3.0, 9.0, 9.0]);
        dot.dot([5.0, 6.0], 1.5);
        assert_eq!(area(&dot), 9.0);
    }

    #[test]
    fn hollow_shapes_keep_a_border_of_the_given_width() {
        let mut mask = filled(&SQUARE);
        // Two pixels are eight grid points.
        mask.hollow(8);
        assert_eq!(area(&mask), 128.0 - 12.0 * 4.0);
    }

    #[test]
    fn coverage_is_the_fraction_of_each_pixel_within_the_image() {
        let coverage =
            filled(&[[-4.0, 2.0], [2.25, 2.0], [2.25, 3.5], [-4.0, 3.5]]).coverage(40, 30);
        let at = |x: usize, y: usize| {
            let (row, column) = (y - coverage.y, x - coverage.x);
            coverage.alpha[row * coverage.width + column]
        };
        assert_eq!(
            [at(0, 2), at(1, 2), at(2, 2), at(3, 2)],
            [1.0, 1.0, 0.25, 0.0]
        );
        assert_eq!([at(0, 3), at(2, 3)], [0.5, 0.125]);
        assert_eq!(coverage.alpha.iter().sum::<f32>(), 2.25 * 1.5);
    }

    #[test]
    fn softening_keeps_the_sum_and_moves() {
        let coverage = filled(&SQUARE).coverage(64, 48);
        let soft = coverage.softened([3, -2], 2, [64, 48]);
        assert!((soft.alpha.iter().sum::<f32>() - 128.0).abs() < 1e-2);
        let center = |coverage: &Coverage| {
            let weighted = coverage.rows().flat_map(|(y, line)| {
                let columns = line.iter().enumerate();
                columns.map(move |(x, alpha)| [alpha * (x + coverage.x) as f32, alpha * y as f32])
            });
            weighted.fold([0.0, 0.0], |[x, y], [dx, dy]| {
                [x + dx / 128.0, y + dy / 128.0]
            })
        };
        let ([x, y], [u, v]) = (center(&coverage), center(&soft));
        assert!((u - x - 3.0).abs() < 1e-3 && (v - y + 2.0).abs() < 1e-3);
    }

    #[test]
    fn visible_parts_are_what_no_layer_covers_within_the_image() {
        let mut covered = Covered::new(30, 40);
        let mask = filled(&SQUARE);
        let whole = covered.visible(&mask).unwrap_or_else(|| panic!("visible"));
        assert_eq!(whole.bbox, BoundingBox::new(10.0, 12.0, 26.0, 20.0));
        assert_eq!((whole.area, whole.fraction), (128.0, 1.0));
        covered.cover(&filled(&[
            [0.0, 0.0],
            [20.0, 0.0],
            [20.0, 40.0],
            [0.0, 40.0],
        ]));
        let part = covered.visible(&mask).unwrap_or_else(|| panic!("visible"));
        assert_eq!(part.bbox, BoundingBox::new(20.0, 12.0, 26.0, 20.0));
        assert_eq!(part.fraction, 0.375);
        // Half of this one is outside the image.
        let truncated = filled(&SQUARE.map(|[x, y]| [x + 12.0, y]));
        let visible = covered
            .visible(&truncated)
            .unwrap_or_else(|| panic!("visible"));
        assert_eq!(visible.bbox, BoundingBox::new(22.0, 12.0, 30.0, 20.0));
        assert_eq!(visible.fraction, 0.5);
        assert!(
            covered
                .visible(&filled(&SQUARE.map(|[x, y]| [x - 10.0, y])))
                .is_none()
        );
    }

    #[test]
    fn intersections_are_common_points() {
        let mut mask = filled(&SQUARE);
        mask.intersect(&filled(&SQUARE.map(|[x, y]| [x + 70.0, y])));
        assert_eq!(mask.count(), 0);
        let mut mask = filled(&SQUARE);
        mask.intersect(&filled(&SQUARE.map(|[x, y]| [x - 4.0, y - 3.0])));
        assert_eq!(area(&mask), 60.0);
    }
}
