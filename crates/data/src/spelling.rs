//! Spellings of the same name.
//!
//! A character such as `é` or `한` is one code point in most files (Unicode's NFC), but macOS and its archives store the
//! names of files as base letters with marks (NFD).

use std::borrow::Cow;

use unicode_normalization::{UnicodeNormalization, is_nfc};

/// The name with composed characters.
pub(crate) fn composed(name: &str) -> Cow<'_, str> {
    match name.is_ascii() || is_nfc(name) {
        true => Cow::Borrowed(name),
        false => Cow::Owned(name.nfc().collect()),
    }
}

/// Equal for names that differ at most in case and in how their characters are composed.
pub(crate) fn folded(name: &str) -> String {
    composed(name).to_lowercase()
}

/// Whether names differ at most in the case of ASCII letters and in how their characters are composed.
pub(crate) fn are_same(one: &str, other: &str) -> bool {
    one.eq_ignore_ascii_case(other)
        || (!(one.is_ascii() && other.is_ascii())
            && composed(one).eq_ignore_ascii_case(&composed(other)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn composed_and_decomposed_names_are_the_same() {
        for (nfc, nfd) in [
            ("caf\u{e9}.png", "cafe\u{301}.png"),
            ("\u{d55c}.png", "\u{1112}\u{1161}\u{11ab}.png"),
            ("\u{1e69}.png", "s\u{307}\u{323}.png"),
        ] {
            assert_eq!(composed(nfd), nfc);
            assert_eq!(folded(&nfd.to_uppercase()), folded(nfc));
            assert!(are_same(nfd, nfc) && are_same(nfc, nfd));
            assert!(are_same(&nfd.replace("png", "PNG"), nfc));
        }
        assert!(!are_same("cafe.png", "caf\u{e9}.png"));
        assert!(!are_same("a.png", "b.png"));
    }
}
