//! Video as YUV4MPEG2 streams, the uncompressed format that programs pass through pipes:
//! `ffmpeg -i in.mp4 -f yuv4mpegpipe -`.
//!
//! [`Y4mReader`] reads frames as RGB images and [`Y4mWriter`] writes them. Both hold one frame at a time.
//!
//! ```
//! use fcos_burn_data::RgbImage;
//! use fcos_burn_data::video::{FrameRate, VideoFormat, Y4mReader, Y4mWriter};
//!
//! let format = VideoFormat::new(64, 48, FrameRate::new(30_000, 1001).ok_or("a frame rate of 0")?);
//! let mut stream = Vec::new();
//! let mut writer = Y4mWriter::new(&mut stream, "standard output", format)?;
//! for gray in [50, 100, 150] {
//!     writer.write(&RgbImage::from_pixel(64, 48, [gray; 3].into()))?;
//! }
//!
//! let reader = Y4mReader::new(stream.as_slice(), "standard input")?;
//! assert_eq!(reader.format(), format);
//! let frames = reader.collect::<Result<Vec<RgbImage>, _>>()?;
//! assert_eq!(frames.len(), 3);
//! assert_eq!(frames[1].get_pixel(20, 10).0, [100; 3]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod color;
mod format;
mod reader;
mod writer;

pub use format::{FrameRate, VideoFormat};
pub use reader::Y4mReader;
pub use writer::Y4mWriter;

/// What every stream starts with.
const MAGIC: &[u8] = b"YUV4MPEG2 ";
