//! Detection in the frames of a video.

use std::{
    sync::mpsc::{self, sync_channel},
    thread::{self, ScopedJoinHandle},
};

use fcos_burn_boxes::Detection;
use fcos_burn_data::DataError;
use fcos_burn_model::{ConfigError, backbone::Backbone};
use image::RgbImage;

use crate::{Detector, Error, Tiling};

/// A frame with its detections.
type Found = (RgbImage, Vec<Detection>);

impl<B: Backbone> Detector<B> {
    /// Detects objects in the frames of a video and passes each frame with its detections to `sink`, in order. Frames are
    /// detected by [`detect_tiled`](Self::detect_tiled) if there is a tiling, and otherwise by
    /// [`detect`](Self::detect), `batch_size` at once.
    ///
    /// Another thread reads and resizes the next frames, and a third one calls `sink` with the last ones. Both are at most
    /// a batch ahead or behind, so that memory does not grow with the length of the video.
    ///
    /// ```no_run
    /// use std::io;
    /// use fcos_burn_data::video::{Y4mReader, Y4mWriter};
    /// use fcos_burn_detect::{Detector, device::{DeviceName, Precision}, pictures::draw};
    ///
    /// let detector = Detector::load("runs/mine", &DeviceName::CPU, Precision::F32)?;
    /// let reader = Y4mReader::new(io::stdin(), "standard input")?;
    /// let mut writer = Y4mWriter::new(io::stdout(), "standard output", reader.format())?;
    /// detector.detect_video(reader, None, 4, |mut frame, detections| {
    ///     draw(&mut frame, &detections, detector.categories());
    ///     Ok(writer.write(&frame)?)
    /// })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Fails if `tiling` has an invalid value or `batch_size` is 0. The first error of `frames` or `sink` ends the video.
    /// The frames before an error of `frames` are passed on. After an error of `sink`, one more frame may be read.
    pub fn detect_video(
        &self,
        frames: impl IntoIterator<Item = Result<RgbImage, DataError>, IntoIter: Send>,
        tiling: Option<&Tiling>,
        batch_size: usize,
        sink: impl FnMut(RgbImage, Vec<Detection>) -> Result<(), Error> + Send,
    ) -> Result<(), Error> {
        ConfigError::ensure(batch_size > 0, "batch_size", batch_size, "at least 1")?;
        let frames = frames.into_iter();
        match tiling {
            Some(tiling) => {
                tiling.validate()?;
                let found = |frame: Result<RgbImage, Error>| {
                    let frame = frame?;
                    let detections = self.detect_tiled(&frame, tiling)?;
                    Ok((frame, detections))
                };
                in_threads(frames, Ok, |frames| Ok(frames.map(found)), 1, sink)
            }
            None => {
                let input = self.input().clone();
                let prepare = move |frame: RgbImage| {
                    let input = input.batch(std::slice::from_ref(&frame))?;
                    Ok((frame, input))
                };
                let detect = |inputs| self.detect_stream(inputs, batch_size);
                in_threads(frames, prepare, detect, batch_size, sink)
            }
        }
    }
}

/// Reads and prepares frames in one thread, detects in this one, and calls `sink` in another.
fn in_threads<T, I>(
    frames: impl Iterator<Item = Result<RgbImage, DataError>> + Send,
    prepare: impl Fn(RgbImage) -> Result<T, DataError> + Send,
    detect: impl FnOnce(mpsc::IntoIter<Result<T, Error>>) -> Result<I, Error>,
    ahead: usize,
    mut sink: impl FnMut(RgbImage, Vec<Detection>) -> Result<(), Error> + Send,
) -> Result<(), Error>
where
    T: Send,
    I: Iterator<Item = Result<Found, Error>>,
{
    thread::scope(|scope| {
        let (read, prepared) = sync_channel(ahead);
        let (done, found) = sync_channel::<Found>(ahead);
        let reader = scope.spawn(move || {
            for frame in frames {
                let frame = frame.and_then(&prepare).map_err(Error::Data);
                // Fails if the other side has ended early.
                if read.send(frame).is_err() {
                    break;
                }
            }
            Ok(())
        });
        let writer = scope.spawn(move || {
            for (frame, detections) in found {
                sink(frame, detections)?;
            }
            Ok(())
        });
        let detected = detect(prepared.into_iter()).and_then(|mut found| {
            found.try_for_each(|found| {
                // If this fails, the writer has failed, and its error is returned.
                let stopped = |_| Error::Workers("writing has ended".to_owned());
                done.send(found?).map_err(stopped)
            })
        });
        drop(done);
        let written = joined(writer);
        joined(reader)?;
        match (written, detected) {
            // The error of the sink is the cause.
            (Err(error), Err(Error::Workers(_)) | Ok(())) => Err(error),
            (_, detected) => detected,
        }
    })
}

/// The result of a thread. A panic, of which decoders and encoders are capable, is an error.
fn joined(thread: ScopedJoinHandle<'_, Result<(), Error>>) -> Result<(), Error> {
    let panicked = |_| {
        Err(Error::Workers(
            "reading or writing frames panicked".to_owned(),
        ))
    };
    thread.join().unwrap_or_else(panicked)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use std::{
        io::ErrorKind,
        sync::atomic::{AtomicUsize, Ordering},
    };

    use fcos_burn_data::transforms::Resize;
    use image::Rgb;

    use super::*;
    use crate::test_detector::untrained;

    fn detector() -> Detector {
        let resize = Resize::Fixed {
            width: 48,
            height: 32,
        };
        untrained(3, resize, 3)
    }

    /// Frames that differ a lot.
    fn frame(number: u8) -> RgbImage {
        RgbImage::from_fn(60, 40, |x, y| {
            Rgb([
                25 * number,
                (x * 3 + y) as u8,
                (x * y) as u8 ^ (number * 23),
            ])
        })
    }

    fn io(kind: ErrorKind) -> DataError {
        DataError::Io {
            path: "pipe".into(),
            source: kind.into(),
        }
    }

    #[test]
    fn every_frame_has_its_own_detections_in_order() {
        let detector = detector();
        let tiling = Tiling::new(32, 32);
        for (tiling, batch_size) in [(None, 1), (None, 4), (Some(&tiling), 2)] {
            let mut found = Vec::new();
            let frames = (0..10).map(|number| Ok(frame(number)));
            let sink = |frame: RgbImage, detections| {
                found.push((frame, detections));
                Ok(())
            };
            detector
                .detect_video(frames, tiling, batch_size, sink)
                .unwrap();
            assert_eq!(found.len(), 10);
            for (number, (image, detections)) in (0..).zip(found) {
                assert_eq!(image, frame(number));
                let expected = match tiling {
                    Some(tiling) => detector.detect_tiled(&image, tiling).unwrap(),
                    None => detector.detect(&[image]).unwrap().concat(),
                };
                assert_eq!(detections.len(), expected.len());
                for (one, other) in detections.iter().zip(&expected) {
                    assert!((one.score - other.score).abs() < 1e-5, "{one:?} {other:?}");
                    for (one, other) in one.bbox.iter().zip(other.bbox) {
                        assert!((one - other).abs() < 1e-3, "{one} {other}");
                    }
                }
            }
        }
    }

    #[test]
    fn an_error_ends_the_video_after_the_frames_before_it() {
        let detector = detector();
        let count = AtomicUsize::new(0);
        let frames = (0..10).map(|number| match number {
            7 => Err(io(ErrorKind::UnexpectedEof)),
            _ => Ok(frame(number)),
        });
        let sink = |_, _| {
            count.fetch_add(1, Ordering::Relaxed);
            Ok(())
        };
        let error = detector.detect_video(frames, None, 3, sink).unwrap_err();
        assert!(error.to_string().contains("pipe"), "{error}");
        assert_eq!(count.into_inner(), 7);
    }

    #[test]
    fn a_failing_or_panicking_sink_ends_an_endless_video() {
        let detector = detector();
        let endless = || std::iter::repeat_with(|| Ok(frame(1)));
        let broken = |_, _| Err(Error::Data(io(ErrorKind::BrokenPipe)));
        let error = detector.detect_video(endless(), None, 2, broken);
        assert!(error.unwrap_err().to_string().contains("pipe"));
        let error = detector.detect_video(endless(), None, 2, |_, _| panic!("encoder"));
        assert!(error.unwrap_err().to_string().contains("panicked"));
    }
}
