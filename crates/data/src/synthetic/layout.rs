//! What is in an image and where. Annotations need no more than that.

use std::ops::RangeInclusive;

use rand::{Rng, RngExt};

use super::class::Class;
use super::config::SyntheticConfig;
use super::curve::{choose, log_uniform, power};
use super::figure::{Figure, Mark, Point, Pose};
use super::form::Family;
use super::mask::{Covered, Mask};
use super::material::Material;
use crate::drawing::{MIN_VISIBLE, Visible};
use crate::random::chance;
use crate::{BoundingBox, SampleRng};

/// The shortest side of an annotated box, in pixels.
const MIN_SIDE: f32 = 3.0;

/// The kind of picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Setting {
    /// Objects in front of things, as in photographs.
    Scene,
    /// A worked or grown surface with flaws.
    Surface,
    /// Objects under a microscope.
    Slide,
    /// Conductors in two tones.
    Board,
    /// A smooth or regular ground.
    Plain,
}

/// Everything in an image, from bottom to top.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    pub size: [u32; 2],
    pub setting: Setting,
    pub layers: Vec<Layer>,
    /// Seed of the appearance of the ground and of the camera.
    pub key: u64,
}

/// An object or a piece of clutter.
#[derive(Debug, Clone)]
pub(super) struct Layer {
    pub content: Content,
    pub pose: Pose,
    pub mask: Mask,
    pub inner: Option<Mask>,
    /// Seed of the appearance.
    pub key: u64,
}

#[derive(Debug, Clone)]
pub(super) enum Content {
    /// An object of the class with this index.
    Object(usize),
    Clutter(Material),
}

impl Layer {
    pub(super) fn material<'a>(&'a self, classes: &'a [Class]) -> &'a Material {
        match &self.content {
            Content::Object(class) => &classes[*class].material,
            Content::Clutter(material) => material,
        }
    }
}

/// How many objects there are, and of which size.
#[derive(Debug, Clone, Copy)]
enum Crowd {
    Few,
    Mixed,
    Many,
}

impl Layout {
    pub(super) fn draw(config: &SyntheticConfig, classes: &[Class], rng: &mut SampleRng) -> Self {
        let size = [config.width, config.height];
        let setting = choose(
            &[
                (Setting::Scene, 0.3),
                (Setting::Surface, 0.25),
                (Setting::Slide, 0.15),
                (Setting::Board, 0.1),
                (Setting::Plain, 0.2),
            ],
            rng,
        );
        let mut layers = Vec::new();
        let clutter = rng.random_range(0..=config.max_clutter);
        // One in four pieces is in front of the objects.
        let in_front = clutter / 4;
        for _ in in_front..clutter {
            layers.push(stray(config, rng));
        }
        objects(config, classes, setting, &mut layers, rng);
        for _ in 0..in_front {
            layers.push(stray(config, rng));
        }
        Self {
            size,
            setting,
            layers,
            key: rng.next_u64(),
        }
    }

    /// The classes and the visible parts of the objects that are visible enough to be annotated.
    pub(super) fn visible_objects(&self, classes: &[Class]) -> Vec<(usize, Visible)> {
        let mut covered = Covered::new(self.size[0], self.size[1]);
        let mut found = Vec::new();
        for layer in self.layers.iter().rev() {
            let visible = covered.visible(&layer.mask);
            if let (Content::Object(class), Some(visible)) = (&layer.content, visible) {
                found.push((*class, visible));
            }
            let material = layer.material(classes);
            if material.opacity == 1.0 && material.feather == 0.0 {
                covered.cover(&layer.mask);
            }
        }
        found.reverse();
        found.retain(|(_, visible)| visible.fraction >= MIN_VISIBLE && is_wide(&visible.bbox));
        found
    }
}

fn is_wide(bbox: &BoundingBox) -> bool {
    bbox.width().min(bbox.height()) >= MIN_SIDE
}

/// Adds objects of a few classes.
fn objects(
    config: &SyntheticConfig,
    classes: &[Class],
    setting: Setting,
    layers: &mut Vec<Layer>,
    rng: &mut SampleRng,
) {
    let crowd = choose(
        &match setting {
            Setting::Scene | Setting::Plain => {
                [(Crowd::Few, 0.35), (Crowd::Mixed, 0.4), (Crowd::Many, 0.25)]
            }
            Setting::Surface => [(Crowd::Few, 0.4), (Crowd::Mixed, 0.35), (Crowd::Many, 0.25)],
            Setting::Slide => [(Crowd::Few, 0.1), (Crowd::Mixed, 0.4), (Crowd::Many, 0.5)],
            Setting::Board => [(Crowd::Few, 0.1), (Crowd::Mixed, 0.3), (Crowd::Many, 0.6)],
        },
        rng,
    );
    let (count, sizes) = crowd_of(crowd, config, rng);
    let kinds: Vec<usize> = (0..rng.random_range(1..=4_u32))
        .map(|_| kind_for(setting, classes, rng))
        .collect();
    // Cells and parts lie against each other, and partly over each other.
    let overlap = if setting == Setting::Slide || chance(0.2, rng) {
        0.5
    } else {
        0.08
    };
    let mut taken: Vec<BoundingBox> = Vec::new();
    let image = Covered::new(config.width, config.height);
    // A few more tries than objects: some find no place.
    for _ in 0..count + 6 {
        if taken.len() == count {
            break;
        }
        let class = kinds[rng.random_range(0..kinds.len())];
        let length = log_uniform(sizes.clone(), rng);
        let shape = classes[class].object(length, rng);
        let place = (0..8).find_map(|_| {
            let center = center_of(length, [config.width, config.height], rng);
            let half = 0.42 * length;
            let bbox = BoundingBox::new(
                center[0] - half,
                center[1] - half,
                center[0] + half,
                center[1] + half,
            );
            let is_free = taken
                .iter()
                .all(|other| hidden_share(&bbox, other) <= overlap);
            is_free.then_some((center, bbox))
        });
        let Some((center, bbox)) = place else {
            continue;
        };
        let (pose, mask, inner) = shape.at(center);
        // An object that is too thin to be annotated is not drawn either.
        if !image
            .visible(&mask)
            .is_some_and(|visible| is_wide(&visible.bbox))
        {
            continue;
        }
        taken.push(bbox);
        layers.push(Layer {
            content: Content::Object(class),
            pose,
            mask,
            inner,
            key: rng.next_u64(),
        });
    }
}

/// A random class, often one that suits the setting.
fn kind_for(setting: Setting, classes: &[Class], rng: &mut impl Rng) -> usize {
    const TRIES: usize = 3;
    let suits = |family| match setting {
        Setting::Scene | Setting::Plain => true,
        Setting::Surface => matches!(
            family,
            Family::Thread | Family::Mesh | Family::Patch | Family::Cluster | Family::Blob
        ),
        Setting::Slide => matches!(
            family,
            Family::Cell | Family::Blob | Family::Round | Family::Cluster | Family::Thread
        ),
        Setting::Board => matches!(
            family,
            Family::Circuit | Family::Array | Family::Patch | Family::Polygon | Family::Glyph
        ),
    };
    let mut class = 0;
    for _ in 0..TRIES {
        class = rng.random_range(0..classes.len());
        if suits(classes[class].family) || chance(0.4, rng) {
            break;
        }
    }
    class
}

/// The number of objects and the range of their lengths in pixels.
fn crowd_of(
    crowd: Crowd,
    config: &SyntheticConfig,
    rng: &mut SampleRng,
) -> (usize, RangeInclusive<f32>) {
    let (smallest, largest) = (config.min_size, config.largest_object());
    let at = |fraction: f32| smallest * power(largest / smallest, fraction);
    let most = config.max_objects;
    match crowd {
        Crowd::Few => (rng.random_range(1..=most.min(3)), at(0.5)..=largest),
        Crowd::Mixed => (rng.random_range(1..=most.min(9)), smallest..=largest),
        Crowd::Many => {
            // Objects of similar size.
            let middle = rng.random_range(0.1..0.65);
            let sizes = at(middle - 0.1)..=at(middle + 0.15);
            (rng.random_range(most.min(5)..=most), sizes)
        }
    }
}

/// A random center. At most a fifth of the length may be outside the image on either side.
fn center_of(length: f32, size: [u32; 2], rng: &mut impl Rng) -> Point {
    size.map(|side| {
        let side = side as f32;
        let margin = (0.3 * length).min(0.5 * side);
        rng.random_range(margin..=side - margin)
    })
}

/// The common area of two boxes in relation to the smaller one.
fn hidden_share(one: &BoundingBox, other: &BoundingBox) -> f32 {
    let width = one.x2.min(other.x2) - one.x1.max(other.x1);
    let height = one.y2.min(other.y2) - one.y1.max(other.y1);
    width.max(0.0) * height.max(0.0) / one.area().min(other.area())
}

/// A line, an angle or a curve from anywhere to anywhere, or a small object of no class.
fn stray(config: &SyntheticConfig, rng: &mut SampleRng) -> Layer {
    let size = [config.width as f32, config.height as f32];
    let material = Material::plain(rng);
    if chance(0.35, rng) {
        // Classes from this index on are never annotated.
        let class = Class::new(1_000_000 + rng.random_range(0..100_000_usize));
        let length = log_uniform(
            config.min_size..=config.largest_object().min(4.0 * config.min_size),
            rng,
        );
        let center = size.map(|side| rng.random_range(0.0..=side));
        let (pose, mask, inner) = class.object(length, rng).at(center);
        return Layer {
            content: Content::Clutter(material),
            pose,
            mask,
            inner,
            key: rng.next_u64(),
        };
    }
    let mut point = || size.map(|side| rng.random_range(-0.1 * side..=1.1 * side));
    let [start, control, end] = [point(), point(), point()];
    let radius = rng.random_range(0.6..1.3);
    let at = |t: f32| {
        let weights = [(1.0 - t) * (1.0 - t), 2.0 * t * (1.0 - t), t * t];
        let [x, y] = [0, 1].map(|axis| {
            weights[0] * start[axis] + weights[1] * control[axis] + weights[2] * end[axis]
        });
        [x, y, radius]
    };
    let points = match rng.random_range(0..3_u32) {
        0 => vec![at(0.0), at(1.0)],
        1 => [start, control, end].map(|[x, y]| [x, y, radius]).to_vec(),
        _ => (0..=14).map(|step| at(step as f32 / 14.0)).collect(),
    };
    let pose = Pose {
        center: [0.0; 2],
        half: [1.0; 2],
        rotation: [1.0, 0.0],
    };
    Layer {
        content: Content::Clutter(material),
        pose,
        mask: Figure::of(vec![Mark::Line(points)]).mask(&pose),
        inner: None,
        key: rng.next_u64(),
    }
}
