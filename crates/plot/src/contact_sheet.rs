//! Sheets of pictures.

use image::{Rgb, RgbImage, imageops};

/// Arranges pictures in rows on a white sheet.
///
/// All cells are as wide as the widest and as tall as the tallest picture, with `gap` pixels
/// between them. Each picture is centered in its cell. `columns` is clamped to between 1 and
/// the number of pictures. Without pictures the sheet is empty (0 × 0).
pub fn contact_sheet(images: &[RgbImage], columns: usize, gap: u32) -> RgbImage {
    if images.is_empty() {
        return RgbImage::new(0, 0);
    }
    let columns = columns.clamp(1, images.len());
    let rows = images.len().div_ceil(columns);
    let cell_width = images.iter().map(RgbImage::width).max().unwrap_or(0);
    let cell_height = images.iter().map(RgbImage::height).max().unwrap_or(0);
    let along = |cells: usize, cell: u32| cells as u32 * cell + (cells as u32 - 1) * gap;

    let size = (along(columns, cell_width), along(rows, cell_height));
    let mut sheet = RgbImage::from_pixel(size.0, size.1, Rgb([255; 3]));
    for (index, image) in images.iter().enumerate() {
        let place = |cell_index: usize, cell: u32, side: u32| {
            cell_index as i64 * i64::from(cell + gap) + i64::from((cell - side) / 2)
        };
        let x = place(index % columns, cell_width, image.width());
        let y = place(index / columns, cell_height, image.height());
        imageops::replace(&mut sheet, image, x, y);
    }
    sheet
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_sheet_centers_pictures_in_equal_cells() {
        let solid = |w, h, v| RgbImage::from_pixel(w, h, Rgb([v; 3]));
        let sheet = contact_sheet(&[solid(10, 6, 1), solid(4, 8, 2), solid(10, 8, 3)], 2, 3);
        assert_eq!(sheet.dimensions(), (23, 19));
        let pixels = |v: u8| -> Vec<(u32, u32)> {
            sheet
                .enumerate_pixels()
                .filter(|(_, _, p)| **p == Rgb([v; 3]))
                .map(|(x, y, _)| (x, y))
                .collect()
        };
        let extent = |v: u8| {
            let found = pixels(v);
            (found.len(), *found.first().unwrap(), *found.last().unwrap())
        };
        assert_eq!(extent(1), (60, (0, 1), (9, 6)));
        assert_eq!(extent(2), (32, (16, 0), (19, 7)));
        assert_eq!(extent(3), (80, (0, 11), (9, 18)));
        assert_eq!(pixels(255).len(), 23 * 19 - 60 - 32 - 80);

        assert_eq!(contact_sheet(&[], 3, 5).dimensions(), (0, 0));
        assert_eq!(contact_sheet(&[solid(4, 4, 0)], 0, 5).dimensions(), (4, 4));
        assert_eq!(contact_sheet(&[solid(4, 4, 0)], 9, 5).dimensions(), (4, 4));
    }
}
