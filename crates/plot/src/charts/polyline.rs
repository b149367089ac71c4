//! Polylines in pixels: with fewer points that look the same, and cut at two heights.

use super::canvas::pixel;

/// A line that looks the same with at most four points per column of pixels: the
/// first, the last and the two extremes.
pub(super) fn thinned(line: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let mut kept = Vec::with_capacity(line.len());
    for column in line.chunk_by(|a, b| pixel(*a).0 == pixel(*b).0) {
        let by_height = |a: &usize, b: &usize| column[*a].1.total_cmp(&column[*b].1);
        let lowest = (0..column.len()).min_by(by_height).unwrap_or(0);
        let highest = (0..column.len()).max_by(by_height).unwrap_or(0);
        let mut indices = [0, lowest, highest, column.len() - 1];
        indices.sort_unstable();
        kept.extend(indices.map(|i| column[i]));
    }
    kept.dedup();
    kept
}

/// The parts of a line between two heights, each of at least two points.
pub(super) fn clipped(line: &[(f64, f64)], top: f64, bottom: f64) -> Vec<Vec<(f64, f64)>> {
    let mut parts: Vec<Vec<(f64, f64)>> = Vec::new();
    for pair in line.windows(2) {
        let (from, to) = (pair[0], pair[1]);
        if from.1.max(to.1) < top || from.1.min(to.1) > bottom {
            continue;
        }
        let cut = |(x, y): (f64, f64)| {
            let edge = y.clamp(top, bottom);
            if edge == y {
                return (x, y);
            }
            let share = (edge - from.1) / (to.1 - from.1);
            (from.0 + share * (to.0 - from.0), edge)
        };
        let (start, end) = (cut(from), cut(to));
        match parts.last_mut() {
            Some(part) if part.last() == Some(&start) => part.push(end),
            _ => parts.push(vec![start, end]),
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_clipped_at_both_heights() {
        let line = [
            (0.0, 0.0),
            (10.0, 20.0),
            (20.0, 0.0),
            (30.0, 10.0),
            (40.0, 10.0),
        ];
        assert_eq!(
            clipped(&line, 5.0, 15.0),
            [
                vec![(2.5, 5.0), (7.5, 15.0)],
                vec![(12.5, 15.0), (17.5, 5.0)],
                vec![(25.0, 5.0), (30.0, 10.0), (40.0, 10.0)],
            ]
        );
        assert_eq!(clipped(&line[3..], 11.0, 15.0), Vec::<Vec<_>>::new());
        assert_eq!(clipped(&line[..1], -5.0, 5.0), Vec::<Vec<_>>::new());
    }

    #[test]
    fn thinning_keeps_the_ends_and_extremes_of_a_column() {
        let heights = [3.0, 4.0, 9.0, 5.0, 1.0, 2.0, 6.0];
        let column: Vec<_> = heights.iter().map(|y| (7.0 + y / 100.0, *y)).collect();
        let kept: Vec<f64> = thinned(&column).iter().map(|p| p.1).collect();
        assert_eq!(kept, [3.0, 9.0, 1.0, 6.0]);
        let sparse = [(0.0, 1.0), (1.0, 2.0), (2.0, 0.0)];
        assert_eq!(thinned(&sparse), sparse);
    }
}
