//! Colors of classes, and of text on them.

use image::Rgb;

/// Colors that differ in hue and lightness.
const PALETTE: [Rgb<u8>; 20] = [
    Rgb([230, 25, 75]),   // red
    Rgb([60, 180, 75]),   // green
    Rgb([67, 99, 216]),   // blue
    Rgb([255, 225, 25]),  // yellow
    Rgb([245, 130, 49]),  // orange
    Rgb([145, 30, 180]),  // purple
    Rgb([70, 240, 240]),  // cyan
    Rgb([240, 50, 230]),  // magenta
    Rgb([188, 246, 12]),  // lime
    Rgb([0, 128, 128]),   // teal
    Rgb([255, 165, 205]), // pink
    Rgb([154, 99, 36]),   // brown
    Rgb([200, 160, 255]), // lavender
    Rgb([128, 0, 0]),     // maroon
    Rgb([150, 240, 175]), // mint
    Rgb([128, 128, 0]),   // olive
    Rgb([255, 200, 145]), // apricot
    Rgb([0, 0, 117]),     // navy
    Rgb([95, 170, 240]),  // sky
    Rgb([128, 128, 128]), // gray
];

/// The color of the boxes of a class. There are 20 colors, which repeat.
pub fn class_color(class: usize) -> Rgb<u8> {
    PALETTE[class % PALETTE.len()]
}

/// Black or white, whichever has more contrast with the background.
///
/// The two contrast ratios (WCAG 2.1) are equal at a relative luminance of
/// √(1.05 · 0.05) − 0.05 ≈ 0.179.
pub(crate) fn text_color(background: Rgb<u8>) -> Rgb<u8> {
    let linear = |v: u8| {
        let v = f32::from(v) / 255.0;
        if v <= 0.04045 {
            v / 12.92
        } else {
            ((v + 0.055) / 1.055).powf(2.4)
        }
    };
    let [r, g, b] = background.0.map(linear);
    let luminance = 0.2126 * r + 0.7152 * g + 0.0722 * b;
    if luminance > 0.179 {
        Rgb([0; 3])
    } else {
        Rgb([255; 3])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_contrasts_with_every_class_color() {
        let luminance = |p: Rgb<u8>| {
            let [r, g, b] = p.0.map(|v| match f64::from(v) / 255.0 {
                v if v <= 0.04045 => v / 12.92,
                v => ((v + 0.055) / 1.055).powf(2.4),
            });
            0.2126 * r + 0.7152 * g + 0.0722 * b
        };
        for background in PALETTE {
            let (a, b) = (luminance(background), luminance(text_color(background)));
            let ratio = (a.max(b) + 0.05) / (a.min(b) + 0.05);
            assert!(ratio >= 4.5, "{background:?}: {ratio}");
        }
    }

    #[test]
    fn class_colors_differ_and_repeat() {
        for (i, a) in PALETTE.iter().enumerate() {
            for b in &PALETTE[..i] {
                let distance: i32 =
                    a.0.iter()
                        .zip(b.0)
                        .map(|(&a, b)| (i32::from(a) - i32::from(b)).pow(2))
                        .sum();
                assert!(distance >= 50 * 50, "{a:?} and {b:?}");
            }
        }
        assert_eq!(class_color(23), PALETTE[3]);
    }
}
