//! The artifacts of lossy compression: blocks of 8 x 8 pixels with rounded frequencies, as in JPEG.

use super::canvas::Canvas;

const SIDE: usize = 8;

type Block = [[f32; SIDE]; SIDE];

/// Half of cos(k π / 16), for k from 0 to 8.
const COSINES: [f32; 9] = [
    0.5,
    0.490_392_64,
    0.461_939_77,
    0.415_734_8,
    0.353_553_4,
    0.277_785_12,
    0.191_341_72,
    0.097_545_16,
    0.0,
];

/// The orthonormal cosine transform: a row for each frequency.
fn transform() -> Block {
    std::array::from_fn(|frequency| {
        std::array::from_fn(|x| match frequency {
            0 => COSINES[4],
            _ => match (2 * x + 1) * frequency % 32 {
                k @ 0..=8 => COSINES[k],
                k @ 9..=16 => -COSINES[16 - k],
                k @ 17..=24 => -COSINES[k - 16],
                k => COSINES[32 - k],
            },
        })
    })
}

/// `left` times `right`.
fn product(left: &Block, right: &Block) -> Block {
    std::array::from_fn(|row| {
        let mut sum = [0.0; SIDE];
        for (factor, line) in left[row].iter().zip(right) {
            for (sum, value) in sum.iter_mut().zip(line) {
                *sum += factor * value;
            }
        }
        sum
    })
}

fn transposed(block: &Block) -> Block {
    std::array::from_fn(|row| std::array::from_fn(|column| block[column][row]))
}

/// Rounds the frequencies of brightness to multiples of `step`, and those of color to larger ones. Higher frequencies have
/// larger steps.
pub(super) fn compress(canvas: &mut Canvas, step: f32) {
    let forward = transform();
    let backward = transposed(&forward);
    let (width, height) = (canvas.width, canvas.height);
    for top in (0..height).step_by(SIDE) {
        for left in (0..width).step_by(SIDE) {
            // Blocks that reach over the edge repeat the last pixels.
            let at = |row: usize, column: usize| {
                (top + row).min(height - 1) * width + (left + column).min(width - 1)
            };
            let planes: [Block; 3] = std::array::from_fn(|plane| {
                let block = std::array::from_fn(|row| {
                    std::array::from_fn(|column| {
                        let [red, green, blue] = canvas.pixels[at(row, column)];
                        let brightness = 0.25 * red + 0.5 * green + 0.25 * blue;
                        [brightness, red - green, blue - green][plane]
                    })
                });
                let mut frequencies = product(&product(&forward, &block), &backward);
                let base = if plane == 0 { step } else { 2.0 * step };
                for (row, line) in frequencies.iter_mut().enumerate() {
                    for (column, value) in line.iter_mut().enumerate() {
                        let step = base * (1.0 + 0.5 * (row + column) as f32);
                        *value = (*value / step + 0.5).floor() * step;
                    }
                }
                product(&product(&backward, &frequencies), &forward)
            });
            for row in 0..SIDE.min(height - top) {
                for column in 0..SIDE.min(width - left) {
                    let [brightness, red, blue] = planes.map(|plane: Block| plane[row][column]);
                    let green = brightness - 0.25 * (red + blue);
                    canvas.pixels[at(row, column)] = [green + red, green, green + blue];
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wavy(width: usize, height: usize) -> Canvas {
        let mut canvas = Canvas::new(width, height);
        for (index, pixel) in canvas.pixels.iter_mut().enumerate() {
            let (x, y) = (index % width, index / width);
            *pixel = [
                (x * 9 % 200) as f32,
                (y * 7 % 180) as f32,
                ((x + y) * 5 % 250) as f32,
            ];
        }
        canvas
    }

    #[test]
    fn the_transform_is_orthonormal() {
        let forward = transform();
        let identity = product(&forward, &transposed(&forward));
        for (row, line) in identity.iter().enumerate() {
            for (column, value) in line.iter().enumerate() {
                let expected = if row == column { 1.0 } else { 0.0 };
                assert!((value - expected).abs() < 1e-5, "{row}, {column}: {value}");
            }
        }
    }

    #[test]
    fn small_steps_change_little_and_large_ones_more() {
        let error = |step: f32| {
            let before = wavy(19, 13);
            let mut after = before.clone();
            compress(&mut after, step);
            let pixels = before
                .pixels
                .iter()
                .flatten()
                .zip(after.pixels.iter().flatten());
            let squares: f32 = pixels.map(|(a, b)| (a - b) * (a - b)).sum();
            (squares / (3.0 * 19.0 * 13.0)).sqrt()
        };
        assert!(error(1e-3) < 0.02);
        assert!(error(4.0) > 1.0);
        assert!(error(16.0) > error(4.0));
    }

    #[test]
    fn gray_stays_gray() {
        let mut canvas = wavy(16, 16);
        canvas
            .pixels
            .iter_mut()
            .for_each(|pixel| *pixel = [pixel[0]; 3]);
        compress(&mut canvas, 8.0);
        for [red, green, blue] in canvas.pixels {
            assert!((red - green).abs() < 1e-3 && (blue - green).abs() < 1e-3);
        }
    }
}
