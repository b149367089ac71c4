//! The frames of animated pictures.

use std::fs::File;
use std::io::{BufReader, Seek};
use std::path::{Path, PathBuf};
use std::time::Duration;

use image::codecs::gif::GifDecoder;
use image::codecs::png::PngDecoder;
use image::codecs::webp::WebPDecoder;
use image::metadata::Orientation;
use image::{
    AnimationDecoder, DynamicImage, Frames, ImageDecoder, ImageFormat, ImageReader, ImageResult,
    Limits, RgbImage,
};

use crate::decoding::{guarded, orientation};
use crate::files::open;
use crate::{DataError, panics, read_image};

/// A frame of an [`Animation`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AnimationFrame {
    /// The whole picture at this time, not only what changed.
    pub image: RgbImage,
    /// How long the frame is shown. It may be zero: browsers then choose a delay of 0.1 s.
    pub delay: Duration,
}

/// Reads the frames of an animated GIF, WebP or PNG file as 8-bit RGB images, one at a time.
///
/// A still picture of any format is a single frame, the same as from [`read_image`]. As there, the EXIF orientation is
/// applied and alpha channels are dropped.
///
/// As an iterator, it ends after the last frame, or after the first error.
///
/// ```no_run
/// for frame in fcos_burn_data::Animation::open("street.gif")? {
///     let frame = frame?;
///     println!("{:?} for {:?}", frame.image.dimensions(), frame.delay);
/// }
/// # Ok::<(), fcos_burn_data::DataError>(())
/// ```
pub struct Animation {
    path: PathBuf,
    source: Source,
    /// The frames read so far, including a malformed one.
    frames: u64,
}

enum Source {
    Still,
    Animated(Frames<'static>, Orientation),
    Ended,
}

impl Animation {
    /// Opens a picture. The format is detected from the content.
    ///
    /// # Errors
    ///
    /// [`DataError::Io`], [`DataError::Image`] or [`DataError::Decoder`] if the file cannot be read, its header or, in a
    /// GIF file, its first frame is malformed, or a frame takes more than 512 MiB of memory. Errors in later frames, and
    /// in still pictures of other formats, come from the iterator.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, DataError> {
        let path = path.into();
        let file = BufReader::new(open(&path).map_err(DataError::io(&path))?);
        let frames = guarded(&path, || frames(file))?;
        let source = frames.map_or(Source::Still, |(frames, orientation)| {
            Source::Animated(frames, orientation)
        });
        Ok(Self {
            path,
            source,
            frames: 0,
        })
    }

    /// Whether the file is an animation, even if it has only one frame. GIF files are animations if they have more than
    /// one frame.
    pub fn is_animated(&self) -> bool {
        matches!(self.source, Source::Animated(..))
    }
}

impl Iterator for Animation {
    type Item = Result<AnimationFrame, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        // After an error, decoders may fail forever.
        match std::mem::replace(&mut self.source, Source::Ended) {
            Source::Ended => None,
            Source::Still => Some(read_still(&self.path)),
            Source::Animated(mut frames, orientation) => {
                self.frames += 1;
                let decoded = panics::catch(|| frames.next().transpose());
                let failed = |source| DataError::Frame {
                    path: self.path.clone(),
                    frame: self.frames,
                    source,
                };
                let frame = match decoded {
                    Ok(Ok(frame)) => frame?,
                    Ok(Err(error)) => return Some(Err(failed(error.into()))),
                    Err(panic) => return Some(Err(failed(panic.into()))),
                };
                self.source = Source::Animated(frames, orientation);
                let delay = frame.delay().into();
                let mut image = DynamicImage::from(frame.into_buffer());
                image.apply_orientation(orientation);
                let image = image.into_rgb8();
                Some(Ok(AnimationFrame { image, delay }))
            }
        }
    }
}

fn read_still(path: &Path) -> Result<AnimationFrame, DataError> {
    let delay = Duration::ZERO;
    read_image(path).map(|image| AnimationFrame { image, delay })
}

/// The frames of an animation and their orientation. `None` for a still picture.
fn frames(file: BufReader<File>) -> ImageResult<Option<(Frames<'static>, Orientation)>> {
    let reader = ImageReader::new(file).with_guessed_format()?;
    let format = reader.format();
    let mut file = reader.into_inner();
    match format {
        Some(ImageFormat::Gif) => {
            // Only a second frame distinguishes an animation.
            let mut first = GifDecoder::new(&mut file)?;
            limit(&mut first)?;
            let mut first = first.into_frames();
            // Many still pictures lack the end of the file, which then fails as if it were a frame.
            let (Some(_), Some(Ok(_))) = (first.next().transpose()?, first.next()) else {
                return Ok(None);
            };
            drop(first);
            file.rewind()?;
            animated(GifDecoder::new(file)?, |decoder| Ok(decoder.into_frames()))
        }
        Some(ImageFormat::WebP) => match WebPDecoder::new(file)? {
            decoder if decoder.has_animation() => {
                animated(decoder, |decoder| Ok(decoder.into_frames()))
            }
            _ => Ok(None),
        },
        Some(ImageFormat::Png) => match PngDecoder::with_limits(file, Limits::default())? {
            decoder if decoder.is_apng()? => {
                animated(decoder, |decoder| Ok(decoder.apng()?.into_frames()))
            }
            _ => Ok(None),
        },
        _ => Ok(None),
    }
}

fn animated<D: ImageDecoder>(
    mut decoder: D,
    into_frames: impl FnOnce(D) -> ImageResult<Frames<'static>>,
) -> ImageResult<Option<(Frames<'static>, Orientation)>> {
    limit(&mut decoder)?;
    let orientation = orientation(&mut decoder);
    Ok(Some((into_frames(decoder)?, orientation)))
}

/// Limits the memory of a decoder, including a picture that it decodes.
fn limit(decoder: &mut impl ImageDecoder) -> ImageResult<()> {
    let mut limits = Limits::default();
    limits.reserve(decoder.total_bytes())?;
    decoder.set_limits(limits)
}
