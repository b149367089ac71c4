//! Charts rendered to SVG and PNG. Both come from the same drawing code.

use std::path::{Path, PathBuf};
use std::{fs, io};

use image::{ImageFormat, RgbImage};
use plotters::backend::{BitMapBackend, DrawingBackend, SVGBackend};
use plotters::drawing::IntoDrawingArea;
use plotters::style::WHITE;

use super::canvas::{Canvas, Drawn};
use crate::{PlotError, font};

/// A chart that can be rendered: its size in pixels, and how it is drawn.
pub(super) trait Chart {
    const SIZE: (u32, u32);

    fn draw<DB: DrawingBackend>(&self, canvas: &Canvas<DB>) -> Drawn<DB>;
}

/// Writes a chart to `STEM.svg` and `STEM.png`.
pub(super) fn save<C: Chart>(chart: &C, stem: &Path) -> Result<(), PlotError> {
    let files = [("svg", svg(chart)), ("png", png(chart))];
    for (extension, content) in files {
        // `with_extension` would truncate a stem such as `beta-0.5`.
        let mut path = stem.as_os_str().to_owned();
        path.push(".");
        path.push(extension);
        let path = PathBuf::from(path);
        match content {
            Ok(bytes) => {
                fs::write(&path, bytes).map_err(|source| PlotError::Write { path, source })?;
            }
            Err(cause) => return Err(PlotError::Draw { path, cause }),
        }
    }
    Ok(())
}

fn svg<C: Chart>(chart: &C) -> Result<Vec<u8>, String> {
    let mut text = String::new();
    render(chart, SVGBackend::with_string(&mut text, C::SIZE), 0.05)?;
    Ok(text.into_bytes())
}

fn png<C: Chart>(chart: &C) -> Result<Vec<u8>, String> {
    let (width, height) = C::SIZE;
    let mut image = RgbImage::new(width, height);
    render(chart, BitMapBackend::with_buffer(&mut image, C::SIZE), 0.17)?;
    let mut file = io::Cursor::new(Vec::new());
    image
        .write_to(&mut file, ImageFormat::Png)
        .map_err(|error| error.to_string())?;
    Ok(file.into_inner())
}

fn render<C: Chart, DB: DrawingBackend>(
    chart: &C,
    backend: DB,
    text_drop: f64,
) -> Result<(), String> {
    let font = font::family().map_err(|error| format!("embedded font: {error}"))?;
    let canvas = Canvas {
        area: backend.into_drawing_area(),
        font,
        text_drop,
    };
    canvas
        .area
        .fill(&WHITE)
        .and_then(|()| chart.draw(&canvas))
        .and_then(|()| canvas.area.present())
        .map_err(|error| error.to_string())
}

/// Rendered charts, for the tests of the charts.
#[cfg(test)]
pub(super) mod rendered {
    #![allow(clippy::unwrap_used)]

    use super::*;

    pub fn svg_text<C: Chart>(chart: &C) -> String {
        String::from_utf8(svg(chart).unwrap()).unwrap()
    }

    pub fn png_pixels<C: Chart>(chart: &C) -> RgbImage {
        image::load_from_memory(&png(chart).unwrap())
            .unwrap()
            .to_rgb8()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::rendered::{png_pixels, svg_text};
    use super::*;
    use crate::charts::canvas::{Anchor, INK, LABEL};

    struct Greeting(&'static str);

    impl Chart for Greeting {
        const SIZE: (u32, u32) = (300, 60);

        fn draw<DB: DrawingBackend>(&self, canvas: &Canvas<DB>) -> Drawn<DB> {
            canvas.text(self.0, (150.0, 30.0), LABEL, &INK, Anchor::CENTER)
        }
    }

    #[test]
    fn both_files_share_a_stem_that_may_contain_a_dot() {
        let folder = tempfile::tempdir().unwrap();
        let stem = folder.path().join("beta-0.5");
        save(&Greeting("hello"), &stem).unwrap();
        let svg = fs::read_to_string(folder.path().join("beta-0.5.svg")).unwrap();
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
        let png = image::open(folder.path().join("beta-0.5.png")).unwrap();
        assert_eq!((png.width(), png.height()), Greeting::SIZE);
    }

    #[test]
    fn an_error_names_the_file_and_the_cause() {
        let folder = tempfile::tempdir().unwrap();
        let stem = folder.path().join("absent").join("loss");
        let error = save(&Greeting("hello"), &stem).unwrap_err();
        let PlotError::Write { path, source } = &error else {
            panic!("{error}")
        };
        assert_eq!(*path, stem.with_extension("svg"));
        assert_eq!(source.kind(), io::ErrorKind::NotFound);
        assert!(error.to_string().contains("absent"));
    }

    #[test]
    fn text_is_escaped_in_svg() {
        assert!(svg_text(&Greeting("a < b & c")).contains("a &lt; b &amp; c"));
    }

    #[test]
    fn text_is_drawn_in_the_middle_of_a_white_png() {
        let image = png_pixels(&Greeting("hello"));
        let dark: Vec<(u32, u32)> = image
            .enumerate_pixels()
            .filter(|(_, _, pixel)| pixel.0[0] < 128)
            .map(|(x, y, _)| (x, y))
            .collect();
        assert!(dark.len() > 50, "{} dark pixels", dark.len());
        for (x, y) in dark {
            assert!(
                (90..210).contains(&x) && (15..45).contains(&y),
                "({x}, {y})"
            );
        }
        assert_eq!(image.get_pixel(0, 0).0, [255; 3]);
    }
}
