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

/// Where in its cell of `stride` × `stride` pixels a location lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LocationOffset {
    /// At the centre, `(⌊s/2⌋ + x·s, ⌊s/2⌋ + y·s)` (FCOS, section 3.1).
    HalfStride,
    /// At the corner, `(x·s, y·s)` (torchvision).
    Zero,
}

impl LocationOffset {
    /// The offset in pixels for a level of `stride`.
    pub fn pixels(self, stride: usize) -> usize {
        match self {
            Self::HalfStride => stride / 2,
            Self::Zero => 0,
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
    /// Distance between neighbours in pixels.
    pub stride: usize,
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
        let coordinate = |cell| (cell * self.stride + self.offset) as f32;
        [
            coordinate(index % self.width),
            coordinate(index / self.width),
        ]
    }
}

impl Locations {
    /// The locations for inputs of `[height, width]` pixels.
    pub fn new(input_size: [usize; 2], offset: LocationOffset) -> Self {
        let sizes = level_sizes(input_size);
        Self {
            levels: std::array::from_fn(|level| LevelGrid {
                height: sizes[level][0],
                width: sizes[level][1],
                stride: STRIDES[level],
                offset: offset.pixels(STRIDES[level]),
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
        let locations = Locations::new([16, 24], LocationOffset::HalfStride);
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

    #[test]
    fn torchvision_locations_start_in_the_corner() {
        let locations = Locations::new([8, 16], LocationOffset::Zero);
        assert_eq!(
            locations.iter().take(2).collect::<Vec<_>>(),
            [[0.0, 0.0], [8.0, 0.0]]
        );
    }
}
