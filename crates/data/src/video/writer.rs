//! Writing YUV4MPEG2 streams.

use std::io::Write;
use std::path::PathBuf;

use image::RgbImage;

use super::MAGIC;
use super::color::{Matrix, append_planes};
use super::format::VideoFormat;
use crate::DataError;

/// Writes frames to a YUV4MPEG2 stream, for players and encoders such as `ffplay -` and `ffmpeg -i - out.mp4`.
///
/// Frames have 4:2:0 color, which every player and every encoder's default accepts, with 8 bits and limited range. The
/// color matrix follows the size, as in [`Y4mReader`](super::Y4mReader). Widths and heights may be odd.
///
/// If the program at the other end of a pipe has ended, writing fails with a [`DataError::Io`] whose source has the kind
/// [`BrokenPipe`](std::io::ErrorKind::BrokenPipe).
#[derive(Debug)]
pub struct Y4mWriter<W: Write> {
    stream: W,
    name: PathBuf,
    format: VideoFormat,
    matrix: Matrix,
    /// A frame as it is written, reused.
    buffer: Vec<u8>,
    frames: u64,
}

impl<W: Write> Y4mWriter<W> {
    /// Writes the header. `name` is the file or another name of the stream for errors, such as "standard output". Frames
    /// are written whole, so that the stream needs no buffer.
    ///
    /// # Errors
    ///
    /// [`DataError::Video`] if the width or the height is zero, [`DataError::Io`] if the header cannot be written.
    pub fn new(
        stream: W,
        name: impl Into<PathBuf>,
        format: VideoFormat,
    ) -> Result<Self, DataError> {
        let VideoFormat { width, height, .. } = format;
        let path = name.into();
        if width == 0 || height == 0 {
            let cause = format!("frames of {width}x{height} pixels cannot be written");
            return Err(DataError::Video { path, cause });
        }
        let mut writer = Self {
            stream,
            name: path,
            format,
            matrix: Matrix::of(width, height),
            buffer: Vec::new(),
            frames: 0,
        };
        let (numerator, denominator) = format.frame_rate.ratio();
        let (across, down) = format.pixel_aspect;
        let fields = format!(
            "W{width} H{height} F{numerator}:{denominator} Ip A{across}:{down} C420jpeg XCOLORRANGE=LIMITED\n"
        );
        writer.buffer.extend(MAGIC);
        writer.buffer.extend(fields.as_bytes());
        writer.send()?;
        Ok(writer)
    }

    /// Writes a frame and flushes the stream.
    ///
    /// # Errors
    ///
    /// [`DataError::Frame`] if the frame does not have the size of the video, [`DataError::Io`] if it cannot be written.
    pub fn write(&mut self, frame: &RgbImage) -> Result<(), DataError> {
        let VideoFormat { width, height, .. } = self.format;
        self.frames += 1;
        if frame.dimensions() != (width, height) {
            let (found_width, found_height) = frame.dimensions();
            return Err(DataError::Frame {
                path: self.name.clone(),
                frame: self.frames,
                source: format!(
                    "{found_width}x{found_height} pixels in a video of {width}x{height}"
                )
                .into(),
            });
        }
        self.buffer.clear();
        self.buffer.extend(b"FRAME\n");
        append_planes(frame, self.matrix, &mut self.buffer);
        self.send()
    }

    fn send(&mut self) -> Result<(), DataError> {
        let sent = self.stream.write_all(&self.buffer);
        sent.and_then(|()| self.stream.flush())
            .map_err(DataError::io(&self.name))
    }
}
