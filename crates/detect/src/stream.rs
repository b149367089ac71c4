//! Detection in a stream of images, in batches.

use std::collections::VecDeque;

use burn::tensor::Shape;
use fcos_burn_boxes::Detection;
use fcos_burn_model::{ConfigError, backbone::Backbone};

use crate::{Detector, Error, input::InputBatch};

/// How many batches of images may wait until enough of one size have come.
const BATCHES_AHEAD: usize = 2;

/// The detections in a stream of images, in its order. See [`Detector::detect_stream`].
#[derive(Debug)]
pub struct DetectionStream<'a, B: Backbone, I, T> {
    detector: &'a Detector<B>,
    inputs: I,
    batch_size: usize,
    entries: VecDeque<Entry<T>>,
}

/// A place in the stream that was not yielded yet.
#[derive(Debug)]
enum Entry<T> {
    Waiting(T, InputBatch),
    Done(T, Vec<Detection>),
    Failed(Error),
}

impl<T> Entry<T> {
    /// The shapes of the input's views, if it waits.
    fn shapes(&self) -> Option<Vec<Shape>> {
        match self {
            Self::Waiting(_, input) => Some(shapes(input)),
            _ => None,
        }
    }
}

fn shapes(input: &InputBatch) -> Vec<Shape> {
    let views = input.views.iter();
    views.map(|view| view.images.shape().clone()).collect()
}

impl<B: Backbone> Detector<B> {
    /// Detects objects in a stream of images, `batch_size` at a time. Yields the detections of
    /// each image, as those of [`detect`](Self::detect), in the order of the stream.
    ///
    /// Every input has one image. It is prepared by [`InputConfig::batch`](crate::InputConfig::batch), which other threads
    /// can do (`fcos_burn_data::Loader`), and comes with a value that is passed through, such as the image itself. An
    /// error in the stream is passed on in its place; the images after it are not affected. If the device fails, each image
    /// of the batch fails.
    ///
    /// Images only share a batch if their inputs are padded to the same size alone, so that no image is padded for
    /// another one. Hence the size of the batches changes detections by no more than rounding. At most
    /// two batches are held, and an image waits for those of its size until then.
    ///
    /// ```no_run
    /// use fcos_burn_data::{DataError, ImageListing, read_image};
    /// use fcos_burn_detect::{Detector, device::{DeviceName, Precision}};
    ///
    /// let detector = Detector::load("runs/mine", &DeviceName::CPU, Precision::F32)?;
    /// let files = ImageListing::of("photos")?.images;
    /// let inputs = files.iter().map(|file| {
    ///     Ok::<_, DataError>((file, detector.input().batch(&[read_image(file)?])?))
    /// });
    /// for found in detector.detect_stream(inputs, 8)? {
    ///     let (file, detections) = found?;
    ///     println!("{}: {} objects", file.display(), detections.len());
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Fails if `batch_size` is 0.
    pub fn detect_stream<I, T, E>(
        &self,
        inputs: I,
        batch_size: usize,
    ) -> Result<DetectionStream<'_, B, I::IntoIter, T>, Error>
    where
        I: IntoIterator<Item = Result<(T, InputBatch), E>>,
        E: Into<Error>,
    {
        ConfigError::ensure(batch_size > 0, "batch_size", batch_size, "at least 1")?;
        Ok(DetectionStream {
            detector: self,
            inputs: inputs.into_iter(),
            batch_size,
            entries: VecDeque::new(),
        })
    }
}

impl<B, I, T, E> DetectionStream<'_, B, I, T>
where
    B: Backbone,
    I: Iterator<Item = Result<(T, InputBatch), E>>,
    E: Into<Error>,
{
    /// Takes the next input. Returns whether there was one.
    fn take(&mut self) -> bool {
        let Some(input) = self.inputs.next() else {
            return false;
        };
        self.entries.push_back(match input {
            Ok((value, input)) => Entry::Waiting(value, input),
            Err(error) => Entry::Failed(error.into()),
        });
        true
    }

    /// The number of inputs of these shapes that wait.
    fn waiting(&self, shapes: &[Shape]) -> usize {
        let waiting = self.entries.iter().filter_map(Entry::shapes);
        waiting.filter(|other| other == shapes).count()
    }

    /// Detects in the first inputs of these shapes that wait, at most a batch of them.
    fn detect(&mut self, shapes_of_batch: &[Shape]) {
        let (mut values, mut inputs) = (VecDeque::new(), Vec::new());
        let mut places = Vec::new();
        let mut entries = std::mem::take(&mut self.entries);
        for (place, entry) in entries.drain(..).enumerate() {
            match entry {
                Entry::Waiting(value, input)
                    if inputs.len() < self.batch_size && shapes(&input) == shapes_of_batch =>
                {
                    places.push(place);
                    values.push_back(value);
                    inputs.push(input);
                }
                other => self.entries.push_back(other),
            }
        }
        let counts: Vec<usize> = inputs.iter().map(InputBatch::len).collect();
        let mut found = (self.detector.detect_inputs(inputs)).map(Vec::into_iter);
        for ((place, value), count) in places.into_iter().zip(values).zip(counts) {
            let entry = match &mut found {
                Ok(found) => Entry::Done(value, found.by_ref().take(count).flatten().collect()),
                Err(error) => Entry::Failed(Error::Execution(error.clone())),
            };
            self.entries.insert(place, entry);
        }
    }
}

impl<B, I, T, E> Iterator for DetectionStream<'_, B, I, T>
where
    B: Backbone,
    I: Iterator<Item = Result<(T, InputBatch), E>>,
    E: Into<Error>,
{
    type Item = Result<(T, Vec<Detection>), Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let first = match self.entries.pop_front() {
                Some(Entry::Done(value, detections)) => return Some(Ok((value, detections))),
                Some(Entry::Failed(error)) => return Some(Err(error)),
                Some(waiting) => waiting,
                None => match self.take() {
                    true => continue,
                    false => return None,
                },
            };
            let shapes = first.shapes();
            self.entries.push_front(first);
            let Some(shapes) = shapes else { continue };
            let is_full = self.waiting(&shapes) >= self.batch_size
                || self.entries.len() >= BATCHES_AHEAD * self.batch_size;
            if is_full || !self.take() {
                self.detect(&shapes);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use fcos_burn_data::transforms::Resize;
    use image::{Rgb, RgbImage};

    use super::*;
    use crate::test_detector::untrained;

    fn detector() -> Detector {
        let resize = Resize::ShortSide {
            short: 48,
            long: 200,
        };
        untrained(7, resize, 5)
    }

    /// Images of three sizes that need different inputs, in a mixed order.
    fn images() -> Vec<RgbImage> {
        let sizes = [
            (60, 50),
            (50, 120),
            (60, 50),
            (62, 50),
            (150, 50),
            (60, 50),
            (50, 120),
        ];
        let image = |(size, shade): (&(u32, u32), u32)| {
            RgbImage::from_fn(size.0, size.1, |x, y| {
                Rgb([(x * shade) as u8, (y * 5) as u8, (x * y) as u8])
            })
        };
        sizes.iter().zip(1..).map(image).collect()
    }

    #[test]
    fn detections_depend_neither_on_batches_nor_on_errors_between_them() {
        let detector = detector();
        let images = images();
        let expected: Vec<Vec<Detection>> = images
            .iter()
            .map(|image| {
                detector
                    .detect(std::slice::from_ref(image))
                    .unwrap()
                    .concat()
            })
            .collect();
        for batch_size in [1, 2, 3, 20] {
            let inputs = (0..).zip(&images).map(|(index, image)| match index {
                3 => Err(Error::Workers(index.to_string())),
                _ => Ok((
                    index,
                    detector.input().batch(std::slice::from_ref(image)).unwrap(),
                )),
            });
            let found: Vec<_> = detector
                .detect_stream(inputs, batch_size)
                .unwrap()
                .collect();
            assert_eq!(found.len(), images.len());
            for ((index, found), expected) in found.into_iter().enumerate().zip(&expected) {
                let Ok((value, detections)) = found else {
                    assert_eq!(index, 3);
                    continue;
                };
                assert_eq!((value, detections.len()), (index, expected.len()));
                for (one, other) in detections.iter().zip(expected) {
                    assert!((one.score - other.score).abs() < 1e-5, "{one:?} {other:?}");
                }
            }
        }
        assert!(
            detector
                .detect_stream(Vec::<Result<((), InputBatch), Error>>::new(), 0)
                .is_err()
        );
    }

    #[test]
    fn at_most_two_batches_are_read_ahead() {
        let detector = detector();
        let taken = std::cell::Cell::new(0);
        let images = images();
        let inputs = images.iter().cycle().take(100).map(|image| {
            taken.set(taken.get() + 1);
            Ok::<_, Error>((
                (),
                detector.input().batch(std::slice::from_ref(image)).unwrap(),
            ))
        });
        for (yielded, found) in detector.detect_stream(inputs, 3).unwrap().enumerate() {
            assert!(found.is_ok());
            assert!(taken.get() <= yielded + 6, "{} of {yielded}", taken.get());
        }
        assert_eq!(taken.get(), 100);
    }
}
