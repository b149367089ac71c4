//! The line below a chart's title, which counts what the chart does not show.

use super::axis::group_digits;

/// `3 not finite, 1 outside the axes`, without the reasons that do not occur.
pub(super) fn reasons<const N: usize>(counts: [(usize, &str); N]) -> String {
    let occurring = counts.into_iter().filter(|(n, _)| *n > 0);
    occurring
        .map(|(n, why)| format!("{} {why}", grouped(n)))
        .collect::<Vec<_>>()
        .join(", ")
}

/// `1 point`, `2,000 points`.
pub(super) fn count(n: usize, noun: &str) -> String {
    let plural = if n == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", grouped(n))
}

/// `2,000`.
pub(super) fn grouped(n: usize) -> String {
    group_digits(&n.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_reasons_that_occur_are_listed() {
        let listed = reasons([(1200, "not finite"), (0, "unseen"), (1, "outside the axes")]);
        assert_eq!(listed, "1,200 not finite, 1 outside the axes");
        assert_eq!(reasons([(0, "not finite")]), "");
    }

    #[test]
    fn a_single_item_is_counted_in_the_singular() {
        assert_eq!(count(1, "point"), "1 point");
        assert_eq!(count(0, "point"), "0 points");
        assert_eq!(count(2000, "point"), "2,000 points");
    }
}
