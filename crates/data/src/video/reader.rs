//! Reading YUV4MPEG2 streams.

use std::error::Error;
use std::io::{self, BufRead, BufReader, Chain, Cursor, Read};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use image::RgbImage;
use y4m::{Colorspace, Decoder, Limits};

use super::MAGIC;
use super::color::{Matrix, Samples, ToRgb};
use super::format::{FrameRate, VideoFormat};
use crate::DataError;

/// The most memory that a frame may take, with its RGB pixels. It is the limit for images.
const MAX_FRAME: usize = 512 << 20;

/// The longest header in bytes that the decoder reads.
const MAX_HEADER: u64 = 1024;

/// Reads the frames of a YUV4MPEG2 stream as 8-bit RGB images, one at a time.
///
/// The stream may have 4:2:0, 4:2:2 or 4:4:4 color with 8, 10 or 12 bits, or be gray with 8 or 12 bits. The range of
/// values is limited unless the header has ffmpeg's `XCOLORRANGE=FULL`. The header does not name the color matrix: it is
/// BT.709 for more than 576 rows or at least 1280 columns, and BT.601 for smaller videos, as in most players. Chroma is
/// not interpolated. The shape of pixels is ignored.
///
/// As an iterator, it ends after the last frame, or after the first error: a [`DataError::Frame`] with the number of the
/// frame, from 1.
pub struct Y4mReader<R: Read> {
    decoder: Decoder<Stream<R>>,
    position: Arc<AtomicU64>,
    name: PathBuf,
    format: VideoFormat,
    interlaced: bool,
    to_rgb: ToRgb,
    /// The frames read so far, including a malformed one.
    frames: u64,
    ended: bool,
}

impl<R: Read> Y4mReader<R> {
    /// Reads the header of a stream. `name` is the file or another name of the stream for errors, such as "standard
    /// input". The stream is buffered.
    ///
    /// # Errors
    ///
    /// [`DataError::Video`] if the header is malformed, the kind of color is not supported or a frame would take more
    /// than 512 MiB of memory, and [`DataError::Io`] if the header cannot be read.
    pub fn new(stream: R, name: impl Into<PathBuf>) -> Result<Self, DataError> {
        let name = name.into();
        let mut input = BufReader::new(stream);
        let mut header = Vec::new();
        let read = (&mut input).take(MAX_HEADER).read_until(b'\n', &mut header);
        read.map_err(DataError::io(&name))?;
        let malformed = |cause: String| DataError::Video {
            path: name.clone(),
            cause,
        };
        if !header.starts_with(MAGIC) {
            let cause = match header.is_empty() {
                true => "the stream is empty",
                false => "not a YUV4MPEG2 stream, which ffmpeg makes with -f yuv4mpegpipe",
            };
            return Err(malformed(cause.into()));
        }
        let Some(fields) = header.strip_suffix(b"\n") else {
            return Err(malformed("the header is truncated or too long".into()));
        };
        let fields = Fields(fields[MAGIC.len()..].to_vec());
        let position = Arc::new(AtomicU64::new(0));
        let input = Stream {
            input: Cursor::new(header).chain(input),
            position: position.clone(),
        };
        if fields.are_huge() {
            return Err(malformed(TOO_LARGE.into()));
        }
        let limits = Limits { bytes: MAX_FRAME };
        let decoder = Decoder::new_with_limits(input, limits)
            .map_err(|error| malformed(fields.cause(&error)))?;
        let samples = fields
            .samples(decoder.get_colorspace())
            .ok_or_else(|| malformed(fields.unsupported()))?;
        let (width, height) = (decoder.get_width(), decoder.get_height());
        if memory(samples, width, height).is_none_or(|bytes| bytes > MAX_FRAME) {
            return Err(malformed(TOO_LARGE.into()));
        }
        let format = format(&decoder).ok_or_else(|| malformed(fields.malformed()))?;
        Ok(Self {
            decoder,
            position,
            name,
            format,
            interlaced: fields.interlaced(),
            to_rgb: ToRgb::new(samples, Matrix::of(format.width, format.height)),
            frames: 0,
            ended: false,
        })
    }

    /// Size and timing. A frame rate of 0, which means unknown, is read as 25 frames per second, as in ffmpeg.
    pub fn format(&self) -> VideoFormat {
        self.format
    }

    /// Whether the header says that frames are interlaced. They are read as progressive frames, so that moving objects
    /// look like combs and colors are displaced by a row.
    pub fn is_interlaced(&self) -> bool {
        self.interlaced
    }

    fn read(&mut self) -> Result<Option<RgbImage>, Box<dyn Error + Send + Sync>> {
        let start = self.position.load(Ordering::Relaxed);
        let frame = match self.decoder.read_frame() {
            Ok(frame) => frame,
            Err(y4m::Error::EOF) if self.position.load(Ordering::Relaxed) == start => {
                return Ok(None);
            }
            Err(y4m::Error::EOF) => return Err("the stream ends inside the frame".into()),
            Err(y4m::Error::IoError(error)) => return Err(error.into()),
            Err(_) => return Err("malformed header of a frame".into()),
        };
        let planes = [
            frame.get_y_plane(),
            frame.get_u_plane(),
            frame.get_v_plane(),
        ];
        let VideoFormat { width, height, .. } = self.format;
        Ok(Some(self.to_rgb.image(planes, width, height)))
    }
}

impl<R: Read> Iterator for Y4mReader<R> {
    type Item = Result<RgbImage, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        self.frames += 1;
        let frame = self.read().map_err(|source| DataError::Frame {
            path: self.name.clone(),
            frame: self.frames,
            source,
        });
        self.ended = !matches!(frame, Ok(Some(_)));
        frame.transpose()
    }
}

const TOO_LARGE: &str = "a frame takes more than 512 MiB of memory";

/// Bytes of a frame with its RGB pixels. `None` on overflow.
fn memory(samples: Samples, width: usize, height: usize) -> Option<usize> {
    let pixels = width.checked_mul(height)?.checked_mul(3)?;
    samples.bytes(width, height)?.checked_add(pixels)
}

fn format<R: Read>(decoder: &Decoder<R>) -> Option<VideoFormat> {
    let pair = |first: usize, second: usize| {
        Some((u32::try_from(first).ok()?, u32::try_from(second).ok()?))
    };
    let (width, height) = pair(decoder.get_width(), decoder.get_height())?;
    let (rate, aspect) = (decoder.get_framerate(), decoder.get_pixel_aspect());
    let (numerator, denominator) = pair(rate.num, rate.den)?;
    let rate = FrameRate::new(numerator, denominator).unwrap_or_default();
    let (across, down) = pair(aspect.num, aspect.den)?;
    Some(VideoFormat::new(width, height, rate).with_pixel_aspect(across, down))
}

/// The header of a stream without its first word: fields separated by spaces, each named by its first character.
struct Fields(Vec<u8>);

impl Fields {
    fn all(&self) -> impl Iterator<Item = &[u8]> {
        self.0.split(|byte| *byte == b' ')
    }

    /// Whether the width or the height alone exceeds the limit. The decoder multiplies them without a check.
    fn are_huge(&self) -> bool {
        let sizes = self
            .all()
            .filter_map(|field| field.strip_prefix(b"W").or(field.strip_prefix(b"H")));
        let mut sizes = sizes.filter_map(|size| str::from_utf8(size).ok()?.parse::<usize>().ok());
        sizes.any(|size| size > MAX_FRAME)
    }

    fn interlaced(&self) -> bool {
        // Top field first, bottom field first, or mixed.
        self.all()
            .any(|field| matches!(field, b"It" | b"Ib" | b"Im"))
    }

    fn samples(&self, space: Colorspace) -> Option<Samples> {
        use Colorspace as C;
        let chroma = match space {
            C::Cmono | C::Cmono12 => None,
            C::C420 | C::C420jpeg | C::C420mpeg2 | C::C420paldv | C::C420p10 | C::C420p12 => {
                Some((1, 1))
            }
            C::C422 | C::C422p10 | C::C422p12 => Some((1, 0)),
            C::C444 | C::C444p10 | C::C444p12 => Some((0, 0)),
            _ => return None,
        };
        Some(Samples {
            chroma,
            depth: u32::try_from(space.get_bit_depth()).ok()?,
            full_range: self.all().any(|field| field == b"XCOLORRANGE=FULL"),
        })
    }

    /// Why the decoder refused the header.
    fn cause(&self, error: &y4m::Error) -> String {
        match error {
            y4m::Error::UnknownColorspace => self.unsupported(),
            y4m::Error::OutOfMemory => TOO_LARGE.into(),
            _ => self.malformed(),
        }
    }

    fn unsupported(&self) -> String {
        let space = self.all().filter(|field| field.starts_with(b"C")).last();
        let space = space.unwrap_or_default();
        format!(
            "color '{}' is not supported; convert it with ffmpeg's -pix_fmt yuv420p",
            space[space.len().min(1)..space.len().min(80)].escape_ascii()
        )
    }

    fn malformed(&self) -> String {
        let header = self.0[..self.0.len().min(80)].escape_ascii();
        format!(
            "malformed header '{header}': expected a size and a frame rate such as W640 H480 F25:1"
        )
    }
}

/// A stream from its header on, which counts the bytes that are read.
struct Stream<R> {
    input: Chain<Cursor<Vec<u8>>, BufReader<R>>,
    position: Arc<AtomicU64>,
}

impl<R: Read> Read for Stream<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.input.read(buffer) {
                // The decoder does not try again.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => {
                    let count = *read.as_ref().unwrap_or(&0) as u64;
                    self.position.fetch_add(count, Ordering::Relaxed);
                    return read;
                }
            }
        }
    }
}
