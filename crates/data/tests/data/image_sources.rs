//! Data sets built in memory, with pixels from a source written outside the crate.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use fcos_burn_data::{
    BoundingBox, Category, DataError, DetectionDataset, Finding, ImageRecord, ImageSource, Object,
    RgbImage, SampleReader,
};

/// Images of a fixed size; some cannot be fetched. Counts the calls.
#[derive(Debug, Default)]
struct Camera {
    size: (u32, u32),
    broken: Vec<usize>,
    always_readable: bool,
    calls: Arc<AtomicUsize>,
}

impl ImageSource for Camera {
    fn image(&self, index: usize) -> Result<RgbImage, DataError> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        if self.broken.contains(&index) {
            let error = std::io::Error::other("connection closed");
            return Err(DataError::image_source(format!("frame {index}"), error));
        }
        Ok(RgbImage::new(self.size.0, self.size.1))
    }

    fn always_readable(&self) -> bool {
        self.always_readable
    }
}

fn camera() -> Camera {
    Camera {
        size: (20, 10),
        ..Camera::default()
    }
}

fn frames(count: u64) -> Vec<ImageRecord> {
    (1..=count)
        .map(|id| {
            let object = Object::new(id, BoundingBox::new(2.0, 3.0, 8.0, 9.0), 0);
            ImageRecord::new(id, format!("frame {id}"), 20, 10).with_objects(vec![object])
        })
        .collect()
}

fn dataset(images: Vec<ImageRecord>, source: Camera) -> Result<DetectionDataset, DataError> {
    DetectionDataset::new("camera", Category::list(["cat", "dog"]), images, source)
}

#[test]
fn boxes_are_clipped_or_dropped_as_for_files() {
    let bbox = BoundingBox::new;
    let objects = vec![
        Object::new(1, bbox(15.0, 2.0, 25.0, 6.0), 0),
        Object::new(2, bbox(15.0, 2.0, 25.0, 6.0), 1).with_annotated_area(30.5),
        Object::new(3, bbox(4.0, 4.0, 4.0, 6.0), 0),
        Object::new(4, bbox(30.0, 0.0, 40.0, 5.0), 0),
        Object::new(5, bbox(0.0, 0.0, 20.0, 10.0), 1).with_iscrowd(true),
    ];
    let images = vec![ImageRecord::new(7, "frame", 20, 10).with_objects(objects)];
    let dataset = dataset(images, camera()).unwrap();
    assert_eq!(dataset.layout(), None);
    let kept: Vec<_> = dataset.images()[0]
        .objects
        .iter()
        .map(|object| (object.id, object.bbox, object.area()))
        .collect();
    assert_eq!(
        kept,
        [
            (1, bbox(15.0, 2.0, 20.0, 6.0), 20.0),
            (2, bbox(15.0, 2.0, 20.0, 6.0), 30.5),
            (5, bbox(0.0, 0.0, 20.0, 10.0), 200.0),
        ]
    );
    let examples = |finding| dataset.report().tally(finding).examples;
    assert_eq!(
        examples(Finding::Clipped),
        ["frame object 1", "frame object 2"]
    );
    assert_eq!(examples(Finding::Degenerate), ["frame object 3"]);
    assert_eq!(examples(Finding::Outside), ["frame object 4"]);
    assert_eq!(dataset.sample(0).unwrap().labels(), [0, 1]);
}

#[test]
fn contradictory_records_are_errors() {
    let message = |images| dataset(images, camera()).expect_err("an error").to_string();
    let mut repeated = frames(2);
    repeated[1].id = 1;
    assert_eq!(message(repeated), "camera: image id 1 is used twice");
    let mut flat = frames(1);
    flat[0].height = 0;
    flat[0].objects.clear();
    assert_eq!(message(flat), "camera: frame 1 has a size of 20x0 pixels");
    let mut mislabeled = frames(3);
    mislabeled[2].objects[0].label = 2;
    assert_eq!(
        message(mislabeled),
        "camera: object 3 of frame 3 has the label 2, but there are 2 categories"
    );

    let mut categories = Category::list(["cat", "dog"]);
    categories[0].id = 2;
    let error = DetectionDataset::new("camera", categories, frames(1), camera()).unwrap_err();
    assert_eq!(error.to_string(), "camera: category id 2 is used twice");
}

#[test]
fn repeated_object_ids_are_renumbered_and_noted() {
    let mut images = frames(3);
    images[2].objects[0].id = 1;
    let dataset = dataset(images, camera()).unwrap();
    let ids: Vec<u64> = dataset
        .images()
        .iter()
        .map(|image| image.objects[0].id)
        .collect();
    assert_eq!(ids, [1, 2, 3]);
    assert!(dataset.report().notes()[0].ends_with("renumbered from 1"));
}

#[test]
fn pixels_must_have_the_annotated_size() {
    let source = Camera {
        size: (10, 20),
        ..Camera::default()
    };
    let dataset = dataset(frames(1), source).unwrap();
    assert_eq!(
        dataset.image(0).unwrap_err().to_string(),
        "frame 1: the image is 10x20 pixels but was annotated as 20x10; width and height may be swapped in the annotation"
    );
}

#[test]
fn failed_images_of_a_source_are_found_and_replaced() {
    let source = Camera {
        broken: vec![3],
        ..camera()
    };
    let dataset = dataset(frames(40), source).unwrap();
    let unreadable = dataset.unreadable_images(|_| {});
    let [(3, cause)] = &unreadable[..] else {
        panic!("{unreadable:?}")
    };
    assert_eq!(cause.to_string(), "frame 3: connection closed");
    let source = std::error::Error::source(cause).expect("the source's own error");
    assert!(source.is::<std::io::Error>());

    let reader = SampleReader::new(0);
    let (index, sample) = reader.sample(&dataset, 1, 3).unwrap();
    assert!(index != 3 && sample.boxes().len() == 1);
    assert_eq!(reader.unreadable(), ["frame 3: connection closed"]);
}

#[test]
fn the_check_skips_sources_that_cannot_fail() {
    for always_readable in [true, false] {
        let source = Camera {
            always_readable,
            ..camera()
        };
        let calls = Arc::clone(&source.calls);
        let dataset = dataset(frames(5), source).unwrap();
        assert!(dataset.unreadable_images(|_| {}).is_empty());
        let expected = if always_readable { 0 } else { 5 };
        assert_eq!(calls.load(Ordering::SeqCst), expected);
    }
}
