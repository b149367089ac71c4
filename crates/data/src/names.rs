//! Names in messages.

use std::borrow::Borrow;

/// Joins names for a message. Lists only the first few of many.
#[doc(hidden)]
pub fn list_names<S: Borrow<str>>(names: &[S]) -> String {
    const SHOWN: usize = 5;
    let shown = names[..names.len().min(SHOWN)].join(", ");
    match names.len() {
        0 => "none".to_owned(),
        1..=SHOWN => shown,
        more => format!("{shown} and {} more", more - SHOWN),
    }
}

/// Whether names differ at most in case, spaces and punctuation.
#[doc(hidden)]
pub fn are_nearly_equal(one: &str, other: &str) -> bool {
    let letters = |name: &str| -> String {
        let letters = name.chars().filter(|c| c.is_alphanumeric());
        letters.flat_map(char::to_lowercase).collect()
    };
    let (one, other) = (letters(one), letters(other));
    // Names that consist only of symbols have nothing to compare.
    !one.is_empty() && one == other
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lists_show_only_the_first_names() {
        assert_eq!(list_names::<&str>(&[]), "none");
        assert_eq!(list_names(&["a", "b"]), "a, b");
        let many: Vec<String> = (0..1000).map(|number| number.to_string()).collect();
        assert_eq!(list_names(&many), "0, 1, 2, 3, 4 and 995 more");
    }

    #[test]
    fn names_are_compared_by_their_letters_and_digits() {
        assert!(are_nearly_equal("Traffic-light", "traffic light"));
        assert!(!are_nearly_equal("cat", "cat 2"));
        assert!(!are_nearly_equal("+", "-"));
        assert!(!are_nearly_equal("", "?"));
    }
}
