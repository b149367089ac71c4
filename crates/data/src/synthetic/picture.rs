//! How a layout looks.

use image::RgbImage;
use rand::{Rng, RngExt};

use super::camera::{Camera, Falloff};
use super::canvas::Canvas;
use super::class::Class;
use super::config::SyntheticConfig;
use super::curve::{chance, direction, log_uniform};
use super::ground;
use super::layout::{Content, Layer, Layout, Setting};
use super::material::Style;
use super::palette::Palette;
use crate::SampleRng;
use crate::random::keyed_rng;

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
    let is_textured = chance(config.texture, rng);
    let is_lit = chance(config.lighting, rng);
    let is_degraded = chance(config.degradation, rng);
    let light = direction(rng.random());
    let style = Style {
        palette,
        contrast: match layout.setting {
            Setting::Board => rng.random_range(80.0..240.0),
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
    let below = canvas.mean(&sharp);
    let is_object = matches!(layer.content, Content::Object(_));
    let style = Style {
        contrast: if is_object {
            style.contrast
        } else {
            style.contrast * rng.random_range(0.3..1.0)
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
