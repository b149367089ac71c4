//! The locations at which the detector predicts.

use serde::{Deserialize, Serialize};

/// Where on the input the locations of a level are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum LocationRule {
    /// At the centers of cells of `s` × `s` pixels, `(⌊s/2⌋ + x·s, ⌊s/2⌋ + y·s)`, where `s`
    /// is the level's stride (FCOS, section 3.1).
    HalfStride,
    /// At the top left corners of evenly spaced cells, `(x·⌊W/w⌋, y·⌊H/h⌋)`, for an input
    /// of `W` × `H` pixels and a level of `w` × `h` cells (torchvision). If the stride
    /// divides the input size, that is `(x·s, y·s)`.
    Torchvision,
}

impl LocationRule {
    /// The grid of a level for an input of `input_size` pixels.
    fn grid(self, stride: usize, input_size: [usize; 2]) -> LevelGrid {
        let size = input_size.map(|side| side.div_ceil(stride));
        let (spacing, offset) = match self {
            Self::HalfStride => ([stride; 2], stride / 2),
            Self::Torchvision => (
                std::array::from_fn(|axis| input_size[axis] / size[axis].max(1)),
                0,
            ),
        };
        LevelGrid {
            height: size[0],
            width: size[1],
            stride,
            spacing,
            offset,
        }
    }
}

/// The locations of all levels for one input size, level by level and each level in
/// row-major order: the order of every per-location array of this crate.
#[derive(Clone, Debug, PartialEq)]
pub struct Locations {
    levels: Vec<LevelGrid>,
}

/// The grid of locations of one level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LevelGrid {
    /// Rows of the map.
    pub height: usize,
    /// Columns of the map.
    pub width: usize,
    /// Stride of the level in input pixels.
    pub stride: usize,
    /// Distances between neighboring rows and neighboring columns in pixels.
    pub spacing: [usize; 2],
    /// Coordinate of the first row and column in pixels.
    pub offset: usize,
}

impl LevelGrid {
    /// Number of locations.
    pub fn len(&self) -> usize {
        self.height * self.width
    }

    /// Whether there are no locations.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Pixel coordinates `[x, y]` of a location by its row-major index.
    pub fn location(&self, index: usize) -> [f32; 2] {
        [
            self.column(index % self.width),
            self.row(index / self.width),
        ]
    }

    /// The x coordinate of a column in pixels.
    pub fn column(&self, index: usize) -> f32 {
        (index * self.spacing[1] + self.offset) as f32
    }

    /// The y coordinate of a row in pixels.
    pub fn row(&self, index: usize) -> f32 {
        (index * self.spacing[0] + self.offset) as f32
    }
}

impl Locations {
    /// The locations for inputs of `[height, width]` pixels, with a level for each stride.
    /// The strides of a detector are [`FcosConfig::strides`](crate::FcosConfig::strides).
    ///
    /// Every layer that halves the resolution rounds up: a level has
    /// `⌈height/stride⌉ × ⌈width/stride⌉` locations.
    ///
    /// # Panics
    ///
    /// If a stride is 0.
    pub fn new(input_size: [usize; 2], strides: &[usize], rule: LocationRule) -> Self {
        Self {
            levels: strides
                .iter()
                .map(|&stride| rule.grid(stride, input_size))
                .collect(),
        }
    }

    /// The grid of each level.
    pub fn levels(&self) -> &[LevelGrid] {
        &self.levels
    }

    /// Number of locations over all levels.
    pub fn len(&self) -> usize {
        self.levels.iter().map(LevelGrid::len).sum()
    }

    /// Whether there are no locations.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Pixel coordinates `[x, y]` of all locations.
    pub fn iter(&self) -> impl Iterator<Item = [f32; 2]> + '_ {
        self.levels
            .iter()
            .flat_map(|grid| (0..grid.len()).map(|index| grid.location(index)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_are_ordered_by_level_and_row() {
        let locations = Locations::new([16, 24], &[8, 16, 32, 64, 128], LocationRule::HalfStride);
        let all: Vec<_> = locations.iter().collect();
        assert_eq!(
            all,
            [
                [4.0, 4.0],
                [12.0, 4.0],
                [20.0, 4.0],
                [4.0, 12.0],
                [12.0, 12.0],
                [20.0, 12.0],
                [8.0, 8.0],
                [24.0, 8.0],
                [16.0, 16.0],
                [32.0, 32.0],
                [64.0, 64.0],
            ]
        );
        assert_eq!(locations.len(), all.len());
    }

    /// The values are those of torchvision's anchor generator.
    #[test]
    fn torchvision_spaces_coarse_levels_evenly() {
        let strides = [8, 16, 32, 64, 128];
        let locations = Locations::new([800, 1344], &strides, LocationRule::Torchvision);
        let spacings: Vec<_> = locations.levels().iter().map(|grid| grid.spacing).collect();
        assert_eq!(spacings, [[8, 8], [16, 16], [32, 32], [61, 64], [114, 122]]);
        let p7 = locations.levels()[4];
        assert_eq!(p7.location(0), [0.0, 0.0]);
        assert_eq!(p7.location(p7.width + 1), [122.0, 114.0]);
    }
}
