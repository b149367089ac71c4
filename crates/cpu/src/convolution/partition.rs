//! Rows of a batch of images, divided into tasks.

use std::ops::Range;

/// Consecutive rows of one image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowRange {
    pub image: usize,
    pub rows: Range<usize>,
}

/// Divides the rows of all images, in order, into parts of about `size` rows each. A part
/// may span several images.
pub fn partition(images: usize, rows: usize, size: usize) -> Vec<Vec<RowRange>> {
    let all = images * rows;
    let count = all.div_ceil(size.max(1)).max(1);
    let mut parts = Vec::with_capacity(count);
    for part in 0..count {
        // Parts of nearly equal size, so that no thread gets a small remainder.
        let (mut start, end) = (all * part / count, all * (part + 1) / count);
        let mut ranges = Vec::new();
        while start < end {
            let (image, row) = (start / rows, start % rows);
            let length = (end - start).min(rows - row);
            ranges.push(RowRange {
                image,
                rows: row..row + length,
            });
            start += length;
        }
        if !ranges.is_empty() {
            parts.push(ranges);
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_contain_every_row_once_in_order() {
        for (images, rows, size) in [(1, 1, 5), (3, 4, 5), (2, 9, 2), (4, 3, 100)] {
            let found: Vec<(usize, usize)> = partition(images, rows, size)
                .into_iter()
                .flatten()
                .flat_map(|range| range.rows.map(move |row| (range.image, row)))
                .collect();
            let expected: Vec<(usize, usize)> = (0..images)
                .flat_map(|image| (0..rows).map(move |row| (image, row)))
                .collect();
            assert_eq!(found, expected);
        }
        assert!(partition(0, 3, 2).is_empty());
    }
}
