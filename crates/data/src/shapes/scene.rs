//! The content of an image: what is drawn and how much of it is visible.

use image::{Rgb, RgbImage};
use rand::{Rng, RngExt};

use super::config::ShapesConfig;
use super::figure::{Figure, Segment, ShapeKind};
use super::paint::Paint;
use super::raster::Raster;
use crate::SampleRng;
use crate::drawing::{Color, GRID, MIN_VISIBLE, Visible, mix, nearby, shifted, unit_vector};
use crate::random::chance;

/// Everything in an image, including the generator of its noise, so that rendering is reproducible.
#[derive(Debug, Clone)]
pub(super) struct Scene {
    width: u32,
    height: u32,
    ground: Ground,
    /// From bottom to top.
    layers: Vec<(Outline, Paint)>,
    noise: Noise,
}

#[derive(Debug, Clone)]
enum Outline {
    Object(Figure),
    Clutter(Segment),
}

/// The background: a texture with soft spots of light and shade.
#[derive(Debug, Clone)]
struct Ground {
    paint: Paint,
    blobs: Vec<Blob>,
}

#[derive(Debug, Clone, Copy)]
struct Blob {
    center: [f32; 2],
    radius: f32,
    color: Color,
    strength: f32,
}

impl Ground {
    fn draw(size: [f32; 2], rng: &mut impl Rng) -> Self {
        // Muted, like most backgrounds: gray with a tint.
        let base = nearby([rng.random_range(45.0..210.0); 3], 35.0, rng);
        let accent = nearby(base, 40.0, rng);
        let paint = match rng.random_range(0..4_u32) {
            0 => Paint::gradient(base, accent, size[0], rng),
            1 => Paint::stripes(
                base,
                nearby(base, 20.0, rng),
                rng.random_range(10.0..40.0),
                rng,
            ),
            2 => Paint::spots(base, accent, rng.random_range(4.0..12.0), rng),
            _ => Paint::spots(base, accent, rng.random_range(25.0..60.0), rng),
        };
        let blob = |rng: &mut _| Blob {
            center: point(size, rng),
            radius: RngExt::random_range(rng, 0.15..0.5) * size[0],
            color: nearby(base, 60.0, rng),
            strength: RngExt::random_range(rng, 0.2..0.7),
        };
        let blobs = (0..rng.random_range(0..4_u32))
            .map(|_| blob(&mut *rng))
            .collect();
        Self { paint, blobs }
    }

    fn color(&self, x: f32, y: f32) -> Color {
        self.blobs
            .iter()
            .fold(self.paint.color(x, y), |below, blob| {
                let (dx, dy) = (x - blob.center[0], y - blob.center[1]);
                let near = (1.0 - (dx * dx + dy * dy) / (blob.radius * blob.radius)).max(0.0);
                mix(below, blob.color, blob.strength * near * near)
            })
    }
}

/// Independent noise on every channel of every pixel.
#[derive(Debug, Clone)]
struct Noise {
    deviation: f32,
    rng: SampleRng,
}

impl Noise {
    /// Approximately normal: the sum of four bytes, which has a standard deviation of 147.8.
    fn next(&mut self) -> f32 {
        let sum: u16 = self
            .rng
            .next_u32()
            .to_le_bytes()
            .into_iter()
            .map(u16::from)
            .sum();
        (f32::from(sum) - 510.0) * (self.deviation / 147.8)
    }
}

impl Scene {
    /// Draws a random scene.
    pub(super) fn draw(config: &ShapesConfig, rng: &mut SampleRng) -> Self {
        let size = [config.width as f32, config.height as f32];
        let ground = Ground::draw(size, rng);
        let mut layers = Vec::new();
        let strokes = rng.random_range(0..=config.max_strokes);
        // One in four strokes is drawn in front of the objects.
        let in_front = strokes / 4;
        layers.extend((in_front..strokes).flat_map(|_| stroke(size, &ground, rng)));
        for _ in 0..rng.random_range(1..=config.max_objects) {
            layers.push(object(config, size, &ground, rng));
        }
        layers.extend((0..in_front).flat_map(|_| stroke(size, &ground, rng)));
        let noise = Noise {
            deviation: rng.random_range(0.0..=config.noise),
            rng: rng.clone(),
        };
        Self {
            width: config.width,
            height: config.height,
            ground,
            layers,
            noise,
        }
    }

    /// The objects that are visible enough to be annotated.
    pub(super) fn visible_objects(&self) -> Vec<(ShapeKind, Visible)> {
        let visible = self.rasterize().visible();
        let objects = self
            .layers
            .iter()
            .zip(visible)
            .filter_map(|((outline, _), visible)| match outline {
                Outline::Object(figure) => Some((figure.kind, visible?)),
                Outline::Clutter(_) => None,
            });
        objects
            .filter(|(_, visible)| visible.fraction >= MIN_VISIBLE)
            .collect()
    }

    /// The pixels.
    pub(super) fn render(&self) -> RgbImage {
        let raster = self.rasterize();
        let mut noise = self.noise.clone();
        RgbImage::from_fn(self.width, self.height, |x, y| {
            let color = self.pixel(&raster, x, y);
            // The cast saturates.
            Rgb(color.map(|value| (value + noise.next() + 0.5) as u8))
        })
    }

    fn rasterize(&self) -> Raster {
        let mut raster = Raster::new(self.width, self.height);
        for (outline, _) in &self.layers {
            match outline {
                Outline::Object(figure) => raster.cover(figure),
                Outline::Clutter(segment) => raster.cover(segment),
            }
        }
        raster
    }

    /// The mean color of the topmost layers in a pixel, weighted by their fractions of the pixel.
    fn pixel(&self, raster: &Raster, x: u32, y: u32) -> Color {
        let (center_x, center_y) = (x as f32 + 0.5, y as f32 + 0.5);
        let color_of = |layer: u16| match usize::from(layer).checked_sub(1) {
            None => self.ground.color(center_x, center_y),
            Some(layer) => self.layers[layer].1.color(center_x, center_y),
        };
        let add = |sum: Color, color: Color, fraction: f32| {
            std::array::from_fn(|channel| sum[channel] + fraction * color[channel])
        };
        let (x, y) = (x as usize, y as usize);
        // Most pixels. Row by row, as below, for the same rounding.
        if let Some(layer) = raster.only_layer(x, y) {
            let color = color_of(layer);
            return (0..GRID).fold([0.0; 3], |sum, _| add(sum, color, 1.0 / GRID as f32));
        }
        let mut sum = [0.0; 3];
        let mut last: Option<(u16, Color)> = None;
        for (layer, fraction) in raster.runs(x, y) {
            let color = match last {
                Some((known, color)) if known == layer => color,
                _ => color_of(layer),
            };
            last = Some((layer, color));
            sum = add(sum, color, fraction);
        }
        sum
    }
}

fn object(
    config: &ShapesConfig,
    size: [f32; 2],
    ground: &Ground,
    rng: &mut impl Rng,
) -> (Outline, Paint) {
    let kind = ShapeKind::ALL[rng.random_range(0..ShapeKind::ALL.len())];
    let length = rng.random_range(config.min_size..=config.largest_object());
    let aspect: f32 = rng.random_range(0.5..=1.0);
    let center = [0, 1].map(|axis| {
        // At most a fifth of the length may be outside the image on either side.
        let margin = (0.3 * length).min(0.5 * size[axis]);
        rng.random_range(margin..=size[axis] - margin)
    });
    let half = if rng.random() {
        [0.5 * length, 0.5 * length * aspect]
    } else {
        [0.5 * length * aspect, 0.5 * length]
    };
    // A third of the objects are upright, as most objects are in photographs.
    let rotation = if rng.random_range(0..3_u32) == 0 {
        [1.0, 0.0]
    } else {
        unit_vector(rng)
    };
    let behind = ground.color(center[0], center[1]);
    let paint = if chance(config.low_contrast, rng) {
        Paint::flat(shifted(behind, 24.0, rng))
    } else if chance(config.typical_color, rng) {
        Paint::textured(nearby(kind.typical_color(), 30.0, rng), center, length, rng)
    } else {
        Paint::textured(contrasting(behind, rng), center, length, rng)
    };
    (
        Outline::Object(Figure {
            kind,
            center,
            half,
            rotation,
        }),
        paint,
    )
}

/// A straight line, an angle or a curve, as segments of one color.
fn stroke(size: [f32; 2], ground: &Ground, rng: &mut impl Rng) -> Vec<(Outline, Paint)> {
    let ends = [point(size, rng), point(size, rng)];
    let points = match rng.random_range(0..3_u32) {
        0 => ends.to_vec(),
        1 => vec![ends[0], point(size, rng), ends[1]],
        _ => {
            let control = point(size, rng);
            let at = |t: f32| {
                let weights = [(1.0 - t) * (1.0 - t), 2.0 * t * (1.0 - t), t * t];
                [0, 1].map(|axis| {
                    weights[0] * ends[0][axis]
                        + weights[1] * control[axis]
                        + weights[2] * ends[1][axis]
                })
            };
            (0..=16).map(|step| at(step as f32 / 16.0)).collect()
        }
    };
    let radius = rng.random_range(0.4..1.6);
    let color = shifted(
        ground.color(points[0][0], points[0][1]),
        rng.random_range(20.0..90.0),
        rng,
    );
    let segments = points.windows(2).map(|ends| Segment {
        ends: [ends[0], ends[1]],
        radius,
    });
    segments
        .map(|segment| (Outline::Clutter(segment), Paint::flat(color)))
        .collect()
}

fn point(size: [f32; 2], rng: &mut impl Rng) -> [f32; 2] {
    size.map(|side| rng.random_range(0.0..=side))
}

fn color(rng: &mut impl Rng, range: std::ops::Range<f32>) -> Color {
    [(); 3].map(|()| rng.random_range(range.clone()))
}

/// A color far from `other`.
fn contrasting(other: Color, rng: &mut impl Rng) -> Color {
    const FAR: f32 = 110.0;
    const TRIES: usize = 16;
    let distance = |color: Color| {
        color
            .iter()
            .zip(other)
            .map(|(a, b)| (a - b).abs())
            .sum::<f32>()
    };
    let tries = (0..TRIES).map(|_| color(rng, 10.0..245.0));
    let mut farthest = other;
    for candidate in tries {
        if distance(candidate) > distance(farthest) {
            farthest = candidate;
        }
        if distance(farthest) >= FAR {
            break;
        }
    }
    farthest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BoundingBox, sample_rng};

    const BLACK: Paint = Paint::flat([0.0; 3]);
    const WHITE: Paint = Paint::flat([255.0; 3]);

    fn black(layers: Vec<(Outline, Paint)>) -> Scene {
        let ground = Ground {
            paint: BLACK,
            blobs: Vec::new(),
        };
        Scene {
            width: 64,
            height: 48,
            ground,
            layers,
            noise: Noise {
                deviation: 0.0,
                rng: sample_rng(0, 0, 0),
            },
        }
    }

    fn figure(
        kind: ShapeKind,
        center: [f32; 2],
        half: [f32; 2],
        rotation: [f32; 2],
    ) -> (Outline, Paint) {
        (
            Outline::Object(Figure {
                kind,
                center,
                half,
                rotation,
            }),
            WHITE,
        )
    }

    fn upright(center: [f32; 2], half: [f32; 2]) -> (Outline, Paint) {
        figure(ShapeKind::Square, center, half, [1.0, 0.0])
    }

    #[test]
    fn an_upright_square_has_its_own_box_and_area() {
        let objects = black(vec![upright([20.0, 16.0], [8.0, 4.0])]).visible_objects();
        let bbox = BoundingBox::new(12.0, 12.0, 28.0, 20.0);
        assert_eq!(
            objects,
            [(
                ShapeKind::Square,
                Visible {
                    bbox,
                    area: 128.0,
                    fraction: 1.0
                }
            )]
        );
    }

    #[test]
    fn boxes_are_tight_around_the_drawn_pixels() {
        for kind in ShapeKind::ALL {
            for (index, half) in [[15.0, 9.0], [6.3, 12.1], [3.7, 4.4]]
                .into_iter()
                .enumerate()
            {
                let rotation = unit_vector(&mut sample_rng(1, 0, index));
                let scene = black(vec![figure(kind, [31.3, 23.8], half, rotation)]);
                let bbox = scene.visible_objects()[0].1.bbox;
                let image = scene.render();
                let lit = || {
                    image
                        .enumerate_pixels()
                        .filter(|(_, _, pixel)| pixel[0] > 0)
                };
                let left = lit().map(|(x, _, _)| x).min().map(|x| x as f32);
                let right = lit().map(|(x, _, _)| x).max().map(|x| x as f32 + 1.0);
                let top = lit().map(|(_, y, _)| y).min().map(|y| y as f32);
                let bottom = lit().map(|(_, y, _)| y).max().map(|y| y as f32 + 1.0);
                // The edges of the box are inside the outermost pixels that the shape touches.
                let expected = [
                    bbox.x1.floor(),
                    bbox.y1.floor(),
                    bbox.x2.ceil(),
                    bbox.y2.ceil(),
                ];
                assert_eq!([left, top, right, bottom], expected.map(Some), "{kind:?}");
            }
        }
    }

    #[test]
    fn edges_are_antialiased() {
        let image = black(vec![upright([20.0, 16.5], [8.25, 4.5])]).render();
        let row: Vec<u8> = (10..14).map(|x| image.get_pixel(x, 16)[0]).collect();
        assert_eq!(row, [0, 64, 255, 255]);
    }

    #[test]
    fn later_objects_occlude_earlier_ones() {
        let hidden_by = |width: f32| {
            // The second square covers the left `width` of the first one's 16 pixels.
            black(vec![
                upright([20.0, 16.0], [8.0, 4.0]),
                upright([12.0 + width - 10.0, 16.0], [10.0, 10.0]),
            ])
            .visible_objects()
        };
        let objects = hidden_by(10.0);
        assert_eq!(objects[0].1.bbox, BoundingBox::new(22.0, 12.0, 28.0, 20.0));
        assert_eq!((objects[0].1.area, objects[0].1.fraction), (48.0, 0.375));
        assert_eq!(hidden_by(12.0).len(), 2, "a quarter is still visible");
        assert_eq!(
            hidden_by(12.25).len(),
            1,
            "less than a quarter is not annotated"
        );
    }

    #[test]
    fn boxes_of_truncated_objects_are_inside_the_image() {
        let objects = black(vec![upright([60.0, 24.0], [8.0, 8.0])]).visible_objects();
        assert_eq!(objects[0].1.bbox, BoundingBox::new(52.0, 16.0, 64.0, 32.0));
        assert_eq!(objects[0].1.fraction, 0.75);
    }

    #[test]
    fn clutter_is_drawn_but_not_annotated() {
        let segment = Segment {
            ends: [[5.0, 5.0], [40.0, 30.0]],
            radius: 2.0,
        };
        let scene = black(vec![(Outline::Clutter(segment), WHITE)]);
        assert!(scene.visible_objects().is_empty());
        assert_eq!(scene.render().get_pixel(5, 5)[0], 255);
    }
}
