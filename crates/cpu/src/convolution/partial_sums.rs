//! Sums over pixels or tiles in parts, which are computed apart and then added up.

use rayon::prelude::*;

use crate::product::Panels;

/// Some panels of the sums of a part, with their indices, and what is added up in this part.
pub type Task<'a, T> = (Vec<(usize, &'a mut [f32])>, &'a [T]);

/// Divides the panels of each part, which has `length` summands, into tasks of nearly the same size: `count`
/// in total or a few more, if there are enough panels.
pub fn tasks<'a, T>(
    sums: &'a mut [Panels],
    summands: &'a [T],
    length: usize,
    count: usize,
) -> Vec<Task<'a, T>> {
    let groups = count.div_ceil(sums.len().max(1));
    let mut tasks = Vec::new();
    for (sums, summands) in sums.iter_mut().zip(summands.chunks(length)) {
        let mut panels: Vec<_> = sums.panels_mut().enumerate().collect();
        for rest in (1..=groups.min(panels.len())).rev() {
            let others = panels.split_off(panels.len().div_ceil(rest));
            tasks.push((std::mem::replace(&mut panels, others), summands));
        }
    }
    tasks
}

/// The sum of matrices of one shape. There is at least one.
pub fn add_up(parts: Vec<Panels>) -> Panels {
    let mut parts = parts.into_iter();
    let mut sum = parts.next().unwrap_or_else(|| Panels::unspecified(0, 0));
    for mut part in parts {
        let panels: Vec<_> = sum.panels_mut().zip(part.panels_mut()).collect();
        panels.into_par_iter().for_each(|(sum, part)| {
            for (sum, value) in sum.iter_mut().zip(part) {
                *sum += *value;
            }
        });
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{product::lanes, simd::Level};

    #[test]
    fn tasks_have_every_panel_once() {
        let _level = Level::hold();
        let summands: Vec<usize> = (0..7).collect();
        for (panels, parts, count, expected) in [
            (5, 1, 4, 4),
            (1, 1, 4, 1),
            (3, 2, 4, 4),
            (3, 2, 100, 6),
            (8, 7, 2, 7),
        ] {
            let length = summands.len().div_ceil(parts);
            let columns = panels * 2 * lanes() - 1;
            let mut sums: Vec<_> = (summands.chunks(length))
                .map(|_| Panels::unspecified(1, columns))
                .collect();
            let tasks = tasks(&mut sums, &summands, length, count);
            assert_eq!(tasks.len(), expected);
            let sizes = || tasks.iter().map(|(panels, _)| panels.len());
            assert!(sizes().max() <= sizes().min().map(|size| size + 1));
            let mut found: Vec<(usize, usize)> = (tasks.iter())
                .flat_map(|(panels, summands)| {
                    panels.iter().map(|(index, _)| (summands[0], *index))
                })
                .collect();
            found.sort_unstable();
            let expected: Vec<(usize, usize)> = (summands.chunks(length))
                .flat_map(|part| (0..panels).map(|index| (part[0], index)))
                .collect();
            assert_eq!(found, expected);
        }
    }
}
