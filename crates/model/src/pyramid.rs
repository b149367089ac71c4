//! The geometry of the levels P3–P7: strides, sizes and locations.

use serde::{Deserialize, Serialize};

/// Number of levels, P3 to P7.
pub const LEVELS: usize = 5;

/// Stride of each level in input pixels.
pub const STRIDES: [usize; LEVELS] = [8, 16, 32, 64, 128];

/// Height and width of each level's map for an input of `[height, width]` pixels.
///
/// Every stride-2 layer rounds up, so odd inputs are covered.
pub fn level_sizes([height, width]: [usize; 2]) -> [[usize; 2]; LEVELS] {
    STRIDES.map(|stride| [height.div_ceil(stride), width.div_ceil(stride)])
}

/// Where on the input the locations of a level stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LocationRule {
    /// At the centres of cells of `s` × `s` pixels, `(⌊s/2⌋ + x·s, ⌊s/2⌋ + y·s)`, with
    /// the level's stride `s` (FCOS, section 3.1).
    HalfStride,
    /// At the corners of as many cells as fit evenly, `(x·⌊W/w⌋, y·⌊H/h⌋)`, for an
    /// input of `W` × `H` pixels and a level of `w` × `h` cells (torchvision). Where
    /// the stride divides the input, that is `(x·s, y·s)`.
    Torchvision,
}

impl LocationRule {
    /// The grid of a level of `stride` whose map is `size` (`[height, width]`) cells
    /// for an input of `input_size`.
    fn grid(self, stride: usize, size: [usize; 2], input_size: [usize; 2]) -> LevelGrid {
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

/// The locations of all levels for one input size, level by level, each in
/// row-major order: the order of every per-location array of this crate.
#[derive(Clone, Debug, PartialEq)]
pub struct Locations {
    levels: [LevelGrid; LEVELS],
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
    /// Distance between neighbouring rows and between neighbouring columns in pixels.
    pub spacing: [usize; 2],
    /// Coordinate of the first row and column in pixels.
    pub offset: usize,
}

impl LevelGrid {
    /// Number of locations.
    pub fn len(&self) -> usize {
        self.height * self.width
    }

    /// Whether the map has no cell.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The pixel coordinates `[x, y]` of the location `index`, counted row by row.
    pub fn location(&self, index: usize) -> [f32; 2] {
        [
            self.column(index % self.width),
            self.row(index / self.width),
        ]
    }

    /// The `x` of a column in pixels.
    pub fn column(&self, index: usize) -> f32 {
        (index * self.spacing[1] + self.offset) as f32
    }

    /// The `y` of a row in pixels.
    pub fn row(&self, index: usize) -> f32 {
        (index * self.spacing[0] + self.offset) as f32
    }
}

impl Locations {
    /// The locations for inputs of `[height, width]` pixels.
    pub fn new(input_size: [usize; 2], rule: LocationRule) -> Self {
        let sizes = level_sizes(input_size);
        Self {
            levels: std::array::from_fn(|level| {
                rule.grid(STRIDES[level], sizes[level], input_size)
            }),
        }
    }

    /// The grid of each level.
    pub fn levels(&self) -> &[LevelGrid; LEVELS] {
        &self.levels
    }

    /// Number of locations over all levels.
    pub fn len(&self) -> usize {
        self.levels.iter().map(LevelGrid::len).sum()
    }

    /// Whether there is no location at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All locations `[x, y]` in pixels.
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
    fn locations_follow_levels_and_rows() {
        let locations = Locations::new([16, 24], LocationRule::HalfStride);
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

    /// Of torchvision's anchor generator, an input of 800 × 1344 pixels.
    #[test]
    fn torchvision_spaces_the_coarse_levels_evenly() {
        let locations = Locations::new([800, 1344], LocationRule::Torchvision);
        let spacings = locations.levels().map(|grid| grid.spacing);
        assert_eq!(spacings, [[8, 8], [16, 16], [32, 32], [61, 64], [114, 122]]);
        let p7 = locations.levels()[4];
        assert_eq!(p7.location(0), [0.0, 0.0]);
        assert_eq!(p7.location(p7.width + 1), [122.0, 114.0]);
    }
}
