//! The size and the timing of a video.

use std::num::NonZeroU32;

/// Frames per second, as a ratio.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameRate {
    numerator: NonZeroU32,
    denominator: NonZeroU32,
}

impl FrameRate {
    /// `numerator / denominator` frames per second. `None` if either is zero.
    pub fn new(numerator: u32, denominator: u32) -> Option<Self> {
        Some(Self {
            numerator: NonZeroU32::new(numerator)?,
            denominator: NonZeroU32::new(denominator)?,
        })
    }

    /// Numerator and denominator, not reduced.
    pub fn ratio(self) -> (u32, u32) {
        (self.numerator.get(), self.denominator.get())
    }

    /// Frames per second.
    ///
    /// ```
    /// let rate = fcos_burn_data::video::FrameRate::new(30_000, 1001).unwrap();
    /// assert!((rate.per_second() - 29.97).abs() < 0.001);
    /// ```
    pub fn per_second(self) -> f64 {
        f64::from(self.numerator.get()) / f64::from(self.denominator.get())
    }
}

impl Default for FrameRate {
    /// 25 frames per second.
    fn default() -> Self {
        Self {
            numerator: const { NonZeroU32::new(25).unwrap() },
            denominator: NonZeroU32::MIN,
        }
    }
}

/// The size and the timing of a video.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct VideoFormat {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Frames per second.
    pub frame_rate: FrameRate,
    /// Width and height of a pixel as a ratio; (0, 0) if unknown.
    pub pixel_aspect: (u32, u32),
}

impl VideoFormat {
    /// A video of this size in pixels, with square pixels.
    pub fn new(width: u32, height: u32, frame_rate: FrameRate) -> Self {
        Self {
            width,
            height,
            frame_rate,
            pixel_aspect: (1, 1),
        }
    }

    /// Sets width and height of a pixel as a ratio; (0, 0) if unknown.
    pub fn with_pixel_aspect(mut self, width: u32, height: u32) -> Self {
        self.pixel_aspect = (width, height);
        self
    }
}
