//! Images with the boxes of objects and detections over them.

use std::collections::BTreeMap;

use fcos_burn_boxes::Detection;
use fcos_burn_data::{DetectionDataset, Object, RgbImage};
use fcos_burn_eval::matching::ImageMatches;
use fcos_burn_page::{Jpeg, Photo, Photos, markup::color, scaled};
use image::imageops::crop_imm;
use maud::{Markup, html};
use rayon::prelude::*;

/// The longer side of a picture in pixels.
const SIDE: u32 = 360;

/// The color of objects.
pub(super) const TRUTH: &str = "#ffffff";

/// How much larger than its boxes a part of an image is.
const CONTEXT: f32 = 3.0;

/// The smallest part of an image that is shown, as a fraction of its longer side.
const MIN_PART: f32 = 0.3;

/// The largest number of detections over a picture: those concerned, then those with the highest scores.
const MAX_DETECTIONS: usize = 60;

/// The largest number of objects over a picture.
const MAX_OBJECTS: usize = 200;

/// What a picture leaves out, in words.
pub(super) fn limits() -> String {
    format!(
        "A picture shows at most {MAX_DETECTIONS} detections, those with the highest scores, and {MAX_OBJECTS} objects."
    )
}

/// An image, or the part of it around some boxes.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub image: usize,
    /// Boxes in pixels of the image; none for the whole image.
    pub around: Vec<[f32; 4]>,
}

/// A picture on the page.
#[derive(Clone, Copy)]
pub(super) struct Picture {
    photo: Photo,
    view: View,
}

/// The part of an image that a picture shows.
#[derive(Clone, Copy, Debug, PartialEq)]
struct View {
    /// Left, top, width and height in pixels of the image.
    part: [u32; 4],
    /// Pixels of the picture per pixel of the image.
    scale: f32,
}

impl View {
    fn new(image: &RgbImage, around: &[[f32; 4]]) -> Self {
        let part = part([image.width(), image.height()], around);
        Self {
            part,
            scale: SIDE as f32 / part[2].max(part[3]).max(1) as f32,
        }
    }

    /// A box in pixels of the picture, with one decimal; `None` if it is outside.
    fn place(&self, [x1, y1, x2, y2]: [f32; 4]) -> Option<[f32; 4]> {
        let [left, top, width, height] = self.part.map(|side| side as f32);
        let is_inside = x2 > left && x1 < left + width && y2 > top && y1 < top + height;
        let unit = |value: f32| (value * self.scale * 10.0).round() / 10.0;
        let place = [x1 - left, y1 - top, x2 - left, y2 - top].map(unit);
        is_inside.then_some(place)
    }
}

/// Left, top, width and height of the part around some boxes: [`CONTEXT`] times as large, but within the image.
fn part([width, height]: [u32; 2], around: &[[f32; 4]]) -> [u32; 4] {
    let union = around.iter().copied().reduce(|a, b| {
        let low = [a[0].min(b[0]), a[1].min(b[1])];
        [low[0], low[1], a[2].max(b[2]), a[3].max(b[3])]
    });
    let Some([x1, y1, x2, y2]) = union else {
        return [0, 0, width, height];
    };
    let smallest = MIN_PART * width.max(height) as f32;
    let side = (CONTEXT * (x2 - x1).max(y2 - y1)).max(smallest);
    // The conversion to integers saturates.
    let size = [width, height].map(|whole| (side.round() as u32).clamp(1, whole.max(1)));
    let start = |center: f32, size: u32, whole: u32| {
        let start = (center - size as f32 / 2.0).max(0.0) as u32;
        start.min(whole.saturating_sub(size))
    };
    [
        start(f32::midpoint(x1, x2), size[0], width),
        start(f32::midpoint(y1, y2), size[1], height),
        size[0],
        size[1],
    ]
}

/// The pictures of some requests, or why they cannot be read. Each image is decoded once.
pub(super) fn read(
    dataset: &DetectionDataset,
    requests: &[Request],
    photos: &mut Photos,
) -> Vec<Result<Picture, String>> {
    let mut by_image = BTreeMap::<usize, Vec<usize>>::new();
    for (place, request) in requests.iter().enumerate() {
        by_image.entry(request.image).or_default().push(place);
    }
    let cut = |(image, places): (usize, Vec<usize>)| {
        let read = dataset.image(image).map_err(|error| error.to_string());
        let cut = |place: usize| {
            let picture = match &read {
                Ok(image) => cut(image, &requests[place].around),
                Err(cause) => Err(cause.clone()),
            };
            (place, picture)
        };
        places.into_iter().map(cut).collect::<Vec<_>>()
    };
    let mut pictures: Vec<_> = by_image.into_par_iter().flat_map_iter(cut).collect();
    pictures.sort_by_key(|(place, _)| *place);
    let pictures = pictures.into_iter().map(|(_, picture)| {
        picture.map(|(jpeg, view)| Picture {
            photo: photos.add(jpeg),
            view,
        })
    });
    pictures.collect()
}

fn cut(image: &RgbImage, around: &[[f32; 4]]) -> Result<(Jpeg, View), String> {
    let view = View::new(image, around);
    let [left, top, width, height] = view.part;
    let part = crop_imm(image, left, top, width, height).to_image();
    let jpeg = Jpeg::new(&scaled(&part, SIDE)).map_err(|error| error.to_string())?;
    Ok((jpeg, view))
}

/// The boxes over a picture.
pub(super) struct Overlay<'a> {
    pub matches: &'a ImageMatches,
    /// Names by label.
    pub classes: &'a [String],
    /// The index of the run, whose slider hides its detections.
    pub run: usize,
    /// Detections below it are hidden until the slider moves.
    pub threshold: f32,
    /// The object and the detection that a picture is about.
    pub subject: [Option<usize>; 2],
}

impl Overlay<'_> {
    /// The picture with its boxes. `description` is for those who cannot see it.
    pub fn svg(&self, picture: &Picture, description: &str) -> Markup {
        let Picture { photo, view } = picture;
        let [subject_object, subject_detection] = self.subject;
        html! {
            svg viewBox=(photo.view_box()) role="img" aria-label=(description) {
                (photo.markup())
                @for index in self.objects(view) {
                    (self.object(view, &self.matches.objects[index], subject_object == Some(index)))
                }
                @for row in self.detections(view) {
                    (self.detection(view, &self.matches.detections[row], subject_detection == Some(row)))
                }
            }
        }
    }

    /// The objects to draw. The one concerned is last, over the others.
    fn objects(&self, view: &View) -> Vec<usize> {
        let objects = self.matches.objects.iter().enumerate();
        let inside = objects.filter(|(_, object)| view.place(object.bbox.to_xyxy()).is_some());
        let mut shown: Vec<usize> = inside.map(|(index, _)| index).collect();
        let is_concerned = |&index: &usize| self.subject[0] == Some(index);
        shown.sort_by_key(|index| !is_concerned(index));
        shown.truncate(MAX_OBJECTS);
        shown.sort_by_key(is_concerned);
        shown
    }

    /// The detections to draw. Those concerned are last, over the others.
    fn detections(&self, view: &View) -> Vec<usize> {
        let [object, detection] = self.subject;
        let finder = object.and_then(|object| self.matches.found_by[object]);
        let concern = |row: usize| match Some(row) {
            row if row == detection => 2,
            row if row == finder => 1,
            _ => 0,
        };
        let score = |row: usize| self.matches.detections[row].score;
        let detections = self.matches.detections.iter().enumerate();
        let inside = detections.filter(|(_, detection)| view.place(detection.bbox).is_some());
        let mut shown: Vec<usize> = inside.map(|(row, _)| row).collect();
        shown.sort_by(|&a, &b| {
            let by_concern = concern(b).cmp(&concern(a));
            by_concern.then(score(b).total_cmp(&score(a)))
        });
        shown.truncate(MAX_DETECTIONS);
        shown.sort_by_key(|&row| concern(row));
        shown
    }

    fn object(&self, view: &View, object: &Object, is_subject: bool) -> Markup {
        let crowd = if object.iscrowd { " (crowd)" } else { "" };
        let title = format!("{}{crowd}, ground truth", self.name(object.label));
        let class = if is_subject { "truth subject" } else { "truth" };
        html! {
            @if let Some(place) = view.place(object.bbox.to_xyxy()) {
                g class=(class) { (rectangle(place, TRUTH)) title { (title) } }
            }
        }
    }

    fn detection(&self, view: &View, detection: &Detection, is_subject: bool) -> Markup {
        let title = format!("{} {:.2}", self.name(detection.label), detection.score);
        let mut class = String::from("found");
        for (holds, name) in [
            (is_subject, " subject"),
            (detection.score < self.threshold, " below"),
        ] {
            class.push_str(if holds { name } else { "" });
        }
        html! {
            @if let Some(place) = view.place(detection.bbox) {
                g class=(class) data-run=(self.run) data-score=(detection.score) {
                    (rectangle(place, &color(detection.label)))
                    title { (title) }
                    @if is_subject { text x=(place[0].max(2.0)) y=(label_place(place)) { (title) } }
                }
            }
        }
    }

    fn name(&self, label: usize) -> &str {
        self.classes.get(label).map_or("", String::as_str)
    }
}

/// The base line of a label: above the box, or inside if there is no room.
fn label_place([_, y1, _, _]: [f32; 4]) -> f32 {
    match y1 > 16.0 {
        true => y1 - 5.0,
        false => y1.max(0.0) + 14.0,
    }
}

fn rectangle([x1, y1, x2, y2]: [f32; 4], stroke: &str) -> Markup {
    let (width, height) = (unit(x2 - x1), unit(y2 - y1));
    html! {
        rect.under x=(x1) y=(y1) width=(width) height=(height) {}
        rect.over x=(x1) y=(y1) width=(width) height=(height) stroke=(stroke) {}
    }
}

/// A length with one decimal.
fn unit(value: f32) -> f32 {
    (value * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_around_its_boxes_and_within_the_image() {
        // Three times the box, whose center is (50, 60).
        assert_eq!(
            part([100, 200], &[[40.0, 50.0, 60.0, 70.0]]),
            [20, 30, 60, 60]
        );
        // At a corner, and of two boxes together.
        assert_eq!(
            part([100, 200], &[[0.0, 0.0, 8.0, 8.0], [0.0, 0.0, 30.0, 4.0]]),
            [0, 0, 90, 90]
        );
        // A large box shows the whole image; a box outside gives a part inside.
        assert_eq!(
            part([100, 200], &[[0.0, 0.0, 99.0, 150.0]]),
            [0, 0, 100, 200]
        );
        assert_eq!(
            part([100, 200], &[[500.0, 500.0, 501.0, 501.0]]),
            [40, 140, 60, 60]
        );
        assert_eq!(part([100, 200], &[]), [0, 0, 100, 200]);
    }

    #[test]
    fn boxes_are_placed_on_the_picture() {
        let view = View {
            part: [10, 20, 100, 50],
            scale: 2.0,
        };
        assert_eq!(
            view.place([15.0, 20.0, 60.0, 80.0]),
            Some([10.0, 0.0, 100.0, 120.0])
        );
        assert_eq!(view.place([0.0, 0.0, 9.0, 90.0]), None);
    }
}
