//! Convolutions as sums over neighboring pixels, forward and for the gradient of the input.

use super::geometry::Geometry;

/// Which pixels of the source are summed for each pixel of the output, and with which elements of
/// the kernel.
///
/// The output consists of one or more interleaved phases. Element `i` of a phase, along an axis,
/// lies at `first + i · output_step`. The pixel under a tap lies at `i · source_step + offset`.
#[derive(Clone, Debug)]
pub struct Stencil {
    /// The size of the output, `[height, width]`.
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
        Self {
            output: geometry.output,
            source_step: geometry.stride,
            output_step: [1, 1],
            phases: vec![Phase::forward(geometry)],
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
    /// The only one of the forward pass.
    pub fn forward(geometry: &Geometry) -> Self {
        let taps = taps(geometry, |axis, element| {
            let offset = element * geometry.dilation[axis];
            Some(offset as isize - geometry.padding[axis] as isize)
        });
        Self {
            first: [0, 0],
            taps,
        }
    }

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

#[cfg(test)]
#[allow(clippy::expect_used)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Every geometry of one axis with small sizes; the other axis has another size.
    fn geometries() -> impl Iterator<Item = Geometry> {
        [
            (5, 3, 1, 1, 1),
            (5, 3, 2, 1, 1),
            (6, 7, 2, 3, 1),
            (1, 3, 1, 1, 1),
            (2, 3, 2, 2, 2),
            (7, 1, 2, 0, 1),
            (8, 3, 3, 0, 2),
        ]
        .into_iter()
        .map(|(input, kernel, stride, padding, dilation)| {
            let pair = |value| [value, value];
            Geometry::new(
                [input, input + 3],
                pair(kernel),
                pair(stride),
                pair(padding),
                pair(dilation),
            )
            .expect("the kernel fits")
        })
    }

    /// All terms of a convolution by definition: output, input, and element of the kernel.
    fn terms(geometry: &Geometry) -> BTreeSet<([usize; 2], [usize; 2], usize)> {
        let mut terms = BTreeSet::new();
        for (y, x) in pixels(geometry.output) {
            for element in 0..geometry.taps() {
                let tap = [element / geometry.kernel[1], element % geometry.kernel[1]];
                let position = |axis: usize, output: usize| {
                    (output * geometry.stride[axis] + tap[axis] * geometry.dilation[axis])
                        .checked_sub(geometry.padding[axis])
                        .filter(|position| *position < geometry.input[axis])
                };
                if let (Some(input_y), Some(input_x)) = (position(0, y), position(1, x)) {
                    terms.insert(([y, x], [input_y, input_x], element));
                }
            }
        }
        terms
    }

    fn pixels([height, width]: [usize; 2]) -> impl Iterator<Item = (usize, usize)> {
        (0..height).flat_map(move |y| (0..width).map(move |x| (y, x)))
    }

    /// All terms of a stencil: output, source, and element of the kernel. Every output is in one
    /// phase.
    fn terms_of(
        stencil: &Stencil,
        source: [usize; 2],
    ) -> BTreeSet<([usize; 2], [usize; 2], usize)> {
        let mut terms = BTreeSet::new();
        let mut outputs = BTreeSet::new();
        for phase in &stencil.phases {
            for (i, j) in pixels(stencil.extent(phase)) {
                let index = [i, j];
                let output =
                    [0, 1].map(|axis| phase.first[axis] + index[axis] * stencil.output_step[axis]);
                assert!(outputs.insert(output));
                for tap in &phase.taps {
                    let pixel = [0, 1].map(|axis| {
                        (index[axis] * stencil.source_step[axis]) as isize + tap.offset[axis]
                    });
                    let is_inside =
                        (0..2).all(|axis| (0..source[axis] as isize).contains(&pixel[axis]));
                    if is_inside {
                        terms.insert((output, pixel.map(|side| side as usize), tap.element));
                    }
                }
            }
        }
        assert_eq!(outputs.len(), stencil.output[0] * stencil.output[1]);
        terms
    }

    #[test]
    fn stencils_have_the_terms_of_the_convolution() {
        for geometry in geometries() {
            let expected = terms(&geometry);
            let forward = Stencil::forward(&geometry);
            assert_eq!(terms_of(&forward, geometry.input), expected, "{geometry:?}");
            let swapped: BTreeSet<_> =
                terms_of(&Stencil::input_gradient(&geometry), geometry.output)
                    .into_iter()
                    .map(|(input, output, element)| (output, input, element))
                    .collect();
            assert_eq!(swapped, expected, "{geometry:?}");
        }
    }

    #[test]
    fn taps_beside_each_other_are_runs() {
        let run = |dilation, stride| {
            let geometry = Geometry::new([9, 9], [3, 3], [stride; 2], [1, 1], [dilation; 2])
                .expect("the kernel fits");
            let gradient = Stencil::input_gradient(&geometry);
            let backward = gradient.phases.iter().map(Phase::run).collect::<Vec<_>>();
            (Stencil::forward(&geometry).phases[0].run(), backward)
        };
        assert_eq!(run(1, 1), (3, vec![3]));
        assert_eq!(run(2, 1), (1, vec![1]));
        assert_eq!(run(1, 2), (3, vec![1, 2, 1, 2]));
    }
}
