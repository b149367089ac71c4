//! Convolutions as sums over neighboring pixels, forward and for the gradient of the input.

use super::geometry::Geometry;

/// Which pixels of the source are summed for each pixel of the output, and with which elements of
/// the kernel.
///
/// The output consists of one or more interleaved phases. Element `i` of a phase, along an axis,
/// lies at `first + i · output_step`. The pixel under a tap lies at `i · source_step + offset`.
#[derive(Clone, Debug)]
pub struct Stencil {
    /// The sizes of kernel, source and output, `[height, width]`.
    pub kernel: [usize; 2],
    pub source: [usize; 2],
    pub output: [usize; 2],
    pub source_step: [usize; 2],
    pub output_step: [usize; 2],
    pub phases: Vec<Phase>,
}

/// The output pixels with the same taps.
#[derive(Clone, Debug)]
pub struct Phase {
    /// The first output row and column.
    pub first: [usize; 2],
    /// In the order of their offsets, row by row.
    pub taps: Vec<Tap>,
}

/// A pixel of the source and an element of the kernel.
#[derive(Clone, Copy, Debug)]
pub struct Tap {
    /// The element of the kernel, in row-major order.
    pub element: usize,
    /// Rows and columns.
    pub offset: [isize; 2],
}

impl Stencil {
    /// From the input to the output.
    pub fn forward(geometry: &Geometry) -> Self {
        let taps = taps(geometry, |axis, element| {
            let offset = element * geometry.dilation[axis];
            Some(offset as isize - geometry.padding[axis] as isize)
        });
        Self {
            kernel: geometry.kernel,
            source: geometry.input,
            output: geometry.output,
            source_step: geometry.stride,
            output_step: [1, 1],
            phases: vec![Phase {
                first: [0, 0],
                taps,
            }],
        }
    }

    /// From the gradient of the output to that of the input. With a stride, the pixels of the input
    /// differ in the elements of the kernel that reach them: each combination is a phase.
    pub fn input_gradient(geometry: &Geometry) -> Self {
        let stride = geometry.stride;
        let phases = (0..stride[0].min(geometry.input[0]))
            .flat_map(|y| (0..stride[1].min(geometry.input[1])).map(move |x| [y, x]))
            .map(|first| Phase {
                first,
                taps: taps(geometry, |axis, element| {
                    let position = (first[axis] + geometry.padding[axis]) as isize
                        - (element * geometry.dilation[axis]) as isize;
                    let stride = stride[axis] as isize;
                    (position.rem_euclid(stride) == 0).then(|| position.div_euclid(stride))
                }),
            })
            .collect();
        Self {
            kernel: geometry.kernel,
            source: geometry.output,
            output: geometry.input,
            source_step: [1, 1],
            output_step: stride,
            phases,
        }
    }

    /// The number of elements of a phase along each axis.
    pub fn extent(&self, phase: &Phase) -> [usize; 2] {
        [0, 1].map(|axis| (self.output[axis] - phase.first[axis]).div_ceil(self.output_step[axis]))
    }

    /// The smallest and the largest offset of all taps along an axis, or 0.
    pub fn reach(&self, axis: usize) -> [isize; 2] {
        let offsets = || {
            let taps = self.phases.iter().flat_map(|phase| &phase.taps);
            taps.map(|tap| tap.offset[axis])
        };
        [offsets().min().unwrap_or(0), offsets().max().unwrap_or(0)]
    }
}

impl Phase {
    /// The number of taps beside each other in a row, if the taps form a rectangle without gaps
    /// between columns; 1 otherwise.
    pub fn run(&self) -> usize {
        let Some(first) = self.taps.first() else {
            return 1;
        };
        let row = |tap: &&Tap| tap.offset[0] == first.offset[0];
        let run = self.taps.iter().take_while(row).count();
        let expected =
            |(index, tap): (usize, &Tap)| tap.offset[1] == first.offset[1] + (index % run) as isize;
        match self.taps.iter().enumerate().all(expected) {
            true => run,
            false => 1,
        }
    }
}

/// The taps whose offset along both axes is given.
fn taps(geometry: &Geometry, offset: impl Fn(usize, usize) -> Option<isize>) -> Vec<Tap> {
    let mut taps: Vec<Tap> = (0..geometry.taps())
        .filter_map(|element| {
            let [y, x] = [element / geometry.kernel[1], element % geometry.kernel[1]];
            let offset = [offset(0, y)?, offset(1, x)?];
            Some(Tap { element, offset })
        })
        .collect();
    taps.sort_by_key(|tap| tap.offset);
    taps
}
