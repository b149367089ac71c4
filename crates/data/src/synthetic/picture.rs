//! How a layout looks.

use image::RgbImage;
use rand::{Rng, RngExt};

use super::camera::{Camera, Falloff};
use super::canvas::Canvas;
use super::class::Class;
use super::config::SyntheticConfig;
use super::curve::{direction, log_uniform};
use super::ground;
use super::layout::{Content, Layer, Layout, Setting};
use super::material::Style;
use super::palette::Palette;
use crate::SampleRng;
use crate::random::{chance, keyed_rng};

/// The shadow of opaque objects.
#[derive(Debug, Clone, Copy)]
struct Shadow {
    shift: [i32; 2],
    radius: usize,
    strength: f32,
}

/// The image of a layout.
pub(super) fn render(layout: &Layout, config: &SyntheticConfig, classes: &[Class]) -> RgbImage {
    let rng = &mut keyed_rng(*b"synlook.", layout.key, 0, 0);
    let [width, height] = layout.size.map(|side| side as usize);
    let palette = palette(layout.setting, rng);
    // Most boards have only two tones.
    let is_binary = layout.setting == Setting::Board && chance(0.7, rng);
    let is_textured = chance(config.texture, rng) && !is_binary;
    let is_lit = chance(config.lighting, rng);
    let is_degraded = chance(config.degradation, rng);
    let light = direction(rng.random());
    let style = Style {
        palette,
        contrast: match layout.setting {
            _ if is_binary => 250.0,
            _ => log_uniform(20.0..=140.0, rng),
        },
        is_textured,
        typical_color: config.typical_color,
        light: (is_lit && layout.setting != Setting::Board).then_some(light),
    };
    let shadow = shadow(layout.setting, light, rng).filter(|_| is_lit);
    let falloff = Falloff::draw(rng);
    let mut canvas = Canvas::new(width, height);
    ground::paint(&mut canvas, layout.setting, &palette, is_textured, rng);
    for layer in &layout.layers {
        paint(&mut canvas, layer, classes, &style, shadow);
    }
    if is_lit {
        falloff.apply(&mut canvas);
    }
    let is_gray = palette.is_gray();
    let camera = match is_degraded {
        true => Camera::draw(is_gray, rng),
        false => Camera::ideal(rng),
    };
    camera.expose(canvas)
}

fn palette(setting: Setting, rng: &mut impl Rng) -> Palette {
    match setting {
        Setting::Scene => Palette::draw(0.15, 0.35, 0.5, rng),
        Setting::Surface => Palette::draw(0.65, 0.3, 0.05, rng),
        Setting::Slide => Palette::draw(0.2, 0.6, 0.2, rng),
        Setting::Board => Palette::draw(0.6, 0.2, 0.2, rng),
        Setting::Plain => Palette::draw(0.25, 0.3, 0.45, rng),
    }
}

fn shadow(setting: Setting, light: [f32; 2], rng: &mut impl Rng) -> Option<Shadow> {
    let distance = rng.random_range(1.0..5.0);
    let shadow = Shadow {
        shift: light.map(|part| (-part * distance) as i32),
        radius: rng.random_range(1..=2),
        strength: rng.random_range(0.15..0.5),
    };
    let probability = if setting == Setting::Scene { 0.6 } else { 0.2 };
    (chance(probability, rng) && !matches!(setting, Setting::Board | Setting::Slide))
        .then_some(shadow)
}

/// Paints one layer over the canvas.
fn paint(
    canvas: &mut Canvas,
    layer: &Layer,
    classes: &[Class],
    style: &Style,
    shadow: Option<Shadow>,
) {
    let rng: &mut SampleRng = &mut keyed_rng(*b"synlayer", layer.key, 0, 0);
    let size = [canvas.width, canvas.height];
    let material = layer.material(classes);
    let sharp = layer.mask.coverage(size[0], size[1]);
    let below = canvas.below(&sharp);
    let is_object = matches!(layer.content, Content::Object(_));
    let style = Style {
        contrast: if is_object {
            style.contrast
        } else {
            style.contrast * rng.random_range(0.2..0.8)
        },
        ..*style
    };
    let (body, inner) = material.paint(&style, below, &layer.pose, rng);
    if let Some(shadow) = shadow.filter(|_| is_object && material.opacity == 1.0) {
        let soft = sharp.softened(shadow.shift, shadow.radius, size);
        canvas.darken(&soft, shadow.strength);
    }
    let length = 2.0 * layer.pose.half[0].max(layer.pose.half[1]);
    let radius = (0.5 * material.feather * length) as usize;
    let coverage = match radius {
        0 => sharp,
        _ => sharp.softened([0, 0], radius.min(8), size),
    };
    canvas.paint(&coverage, &body, material.opacity);
    if let Some(mask) = &layer.inner {
        canvas.paint(
            &mask.coverage(size[0], size[1]),
            &inner,
            material.opacity.max(0.8),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BoundingBox, sample_rng};

    /// The box around the pixels in which two images differ visibly.
    fn difference(one: &RgbImage, other: &RgbImage) -> Option<BoundingBox> {
        let differs = |(a, b): (&image::Rgb<u8>, &image::Rgb<u8>)| {
            a.0.iter().zip(b.0).any(|(a, b)| a.abs_diff(b) > 2)
        };
        let pixels = one.enumerate_pixels().zip(other.pixels());
        let found =
            pixels.filter_map(|((x, y, a), b)| differs((a, b)).then_some((x as f32, y as f32)));
        found.fold(None, |bbox: Option<BoundingBox>, (x, y)| {
            let pixel = BoundingBox::new(x, y, x + 1.0, y + 1.0);
            Some(bbox.map_or(pixel, |bbox| {
                BoundingBox::new(
                    bbox.x1.min(x),
                    bbox.y1.min(y),
                    bbox.x2.max(x + 1.0),
                    bbox.y2.max(y + 1.0),
                )
            }))
        })
    }

    /// The image of one object, and of the ground without it.
    fn with_and_without(
        classes: &[Class],
        index: usize,
        texture: f32,
    ) -> (BoundingBox, BoundingBox) {
        let config = SyntheticConfig::default()
            .with_texture(texture)
            .with_lighting(0.0)
            .with_degradation(0.0);
        let rng = &mut sample_rng(5, 0, index);
        let length = 30.0 + index as f32 / 2.0;
        let (pose, mask, inner) = classes[index].object(length, rng).at([83.3, 58.7]);
        let with = Layout {
            size: [160, 120],
            setting: Setting::Plain,
            layers: vec![Layer {
                content: Content::Object(index),
                pose,
                mask,
                inner,
                key: rng.next_u64(),
            }],
            key: rng.next_u64(),
        };
        let without = Layout {
            layers: Vec::new(),
            ..with.clone()
        };
        let (_, visible) = with.visible_objects(classes)[0];
        let images = [&with, &without].map(|layout| render(layout, &config, classes));
        match difference(&images[0], &images[1]) {
            Some(changed) => (visible.bbox, changed),
            None => panic!("{} is invisible", classes[index].name),
        }
    }

    #[test]
    fn boxes_are_tight_around_what_an_object_changes() {
        let classes: Vec<Class> = (0..112).map(Class::new).collect();
        for (index, class) in classes.iter().enumerate() {
            for texture in [0.0, 1.0] {
                let (bbox, changed) = with_and_without(&classes, index, texture);
                let edges = bbox.to_xyxy().into_iter().zip(changed.to_xyxy());
                let outwards = edges.zip([-1.0, -1.0, 1.0, 1.0]);
                let outwards = outwards.map(|((bbox, changed), sign)| sign * (changed - bbox));
                let outwards: Vec<f32> = outwards.collect();
                // A soft edge is half inside, half outside the box.
                let soft = if class.material.feather > 0.0 {
                    16.0
                } else {
                    0.0
                };
                assert!(
                    outwards.iter().all(|distance| *distance < 1.0 + soft),
                    "{}: {changed:?} beyond {bbox:?}",
                    class.name
                );
                // A pattern or a translucent object may have the color of the ground at its edge.
                let is_distinct = texture == 0.0 && class.material.opacity == 1.0;
                assert!(
                    !is_distinct || outwards.iter().all(|distance| *distance > -2.0),
                    "{}: {changed:?} within {bbox:?}",
                    class.name
                );
            }
        }
    }
}
