//! Detection in a video that comes through standard input.

use std::{
    fs::{self, File},
    io::{self, ErrorKind, IsTerminal, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use fcos_burn::{
    data::{
        DataError, RgbImage,
        video::{VideoFormat, Y4mReader, Y4mWriter},
    },
    detect::{
        Detection, Detector, Error as DetectError, ImageDetections, Tiling, json::json_line,
        pictures::draw,
    },
    model::file::{is_standard_output, is_stream},
};
use fcos_burn_cli::{Error, terminal::message};

use super::STANDARD_INPUT;

/// The name of the video in messages.
const INPUT: &str = "standard input";

/// How often the progress is reported.
const REPORT_INTERVAL: Duration = Duration::from_secs(5);

/// What to do with the video.
pub struct Video {
    /// Whether frames with boxes are written to standard output.
    pub draws: bool,
    /// The file for a line of JSON for each frame.
    pub json_lines: Option<PathBuf>,
    pub tiling: Option<Tiling>,
    pub batch_size: usize,
}

/// Detects in the frames of a YUV4MPEG2 stream, and writes what is asked for while it goes on.
pub fn run(detector: &Detector, video: &Video) -> Result<ExitCode, Error> {
    if video.draws && io::stdout().is_terminal() {
        return Err(Error::VideoToTerminal);
    }
    if video.draws && (video.json_lines.as_deref()).is_some_and(is_standard_output) {
        return Err(Error::LinesAmongFrames);
    }
    let reader = Y4mReader::new(io::stdin(), INPUT)?;
    let format = reader.format();
    message(format_args!(
        "{INPUT}: {}x{} pixels, {:.3} frames/s",
        format.width,
        format.height,
        format.frame_rate.per_second()
    ));
    if reader.is_interlaced() {
        message(format_args!(
            "warning: {INPUT}: frames are interlaced, which blurs what moves; ffmpeg deinterlaces with -vf bwdif"
        ));
    }
    let mut output = match Output::open(detector, video, format) {
        Err(Error::Data(error)) if is_broken_pipe(&error) => return Ok(ExitCode::SUCCESS),
        output => output?,
    };
    let tiling = video.tiling.as_ref();
    let result = detector.detect_video(reader, tiling, video.batch_size, |frame, detections| {
        output.write(frame, detections)
    });
    output.report();
    match result {
        Err(DetectError::Data(error)) if is_broken_pipe(&error) => Ok(ExitCode::SUCCESS),
        result => Ok(result.map(|()| ExitCode::SUCCESS)?),
    }
}

/// The program that reads the video has ended, for instance because its window was closed.
fn is_broken_pipe(error: &DataError) -> bool {
    matches!(error, DataError::Io { source, .. } if source.kind() == ErrorKind::BrokenPipe)
}

/// The outputs, and how far they are.
struct Output<'a> {
    detector: &'a Detector,
    frames: Option<Y4mWriter<io::Stdout>>,
    lines: Option<(File, &'a Path)>,
    count: u64,
    objects: usize,
    start: Instant,
    reported: Instant,
}

impl<'a> Output<'a> {
    fn open(detector: &'a Detector, video: &'a Video, format: VideoFormat) -> Result<Self, Error> {
        let frames = video
            .draws
            .then(|| Y4mWriter::new(io::stdout(), "standard output", format));
        let lines = video.json_lines.as_deref().map(|path| {
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder).map_err(Error::io(folder))?;
            }
            // A stream may be appended to a file.
            let file = match is_stream(path) {
                true => File::options().append(true).open(path),
                false => File::create(path),
            };
            let file = file.map_err(Error::io(path))?;
            Ok::<_, Error>((file, path))
        });
        let now = Instant::now();
        Ok(Self {
            detector,
            frames: frames.transpose()?,
            lines: lines.transpose()?,
            count: 0,
            objects: 0,
            start: now,
            reported: now,
        })
    }

    fn write(
        &mut self,
        mut frame: RgbImage,
        detections: Vec<Detection>,
    ) -> Result<(), DetectError> {
        self.count += 1;
        self.objects += detections.len();
        let categories = self.detector.categories();
        if let Some((lines, path)) = &mut self.lines {
            let size = frame.dimensions();
            let found =
                ImageDetections::new(Path::new(STANDARD_INPUT), size, &detections, categories)
                    .with_frame(Some(self.count));
            let line = json_line(path, &found)?;
            let written = lines.write_all(line.as_bytes());
            written.map_err(DetectError::io(path))?;
        }
        if let Some(frames) = &mut self.frames {
            draw(&mut frame, &detections, categories);
            frames.write(&frame)?;
        }
        if self.reported.elapsed() >= REPORT_INTERVAL {
            self.reported = Instant::now();
            self.report();
        }
        Ok(())
    }

    fn report(&self) {
        let seconds = self.start.elapsed().as_secs_f64();
        message(format_args!(
            "{} frames, {} objects, {:.1} frames/s",
            self.count,
            self.objects,
            self.count as f64 / seconds
        ));
    }
}
