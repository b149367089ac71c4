//! Sums over pixels or tiles in parts, which are computed apart and then added up.

use rayon::prelude::*;

use crate::product::Panels;

/// Some panels of the sums of a part, with their indices, and what is added up in this part.
pub type Task<'a, T> = (Vec<(usize, &'a mut [f32])>, &'a [T]);

/// Divides the panels of each part, one for every `length` summands, into tasks: at least `count`, if there
/// are so many panels.
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
        let size = panels.len().div_ceil(groups);
        while !panels.is_empty() {
            let rest = panels.split_off(size.min(panels.len()));
            tasks.push((panels, summands));
            panels = rest;
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
