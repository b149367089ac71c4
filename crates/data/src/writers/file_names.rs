//! File names that are valid and unique on all systems.

use std::collections::{HashMap, HashSet};

/// The file names of one folder.
///
/// Stems are unique, since label files have the stem of their image. They differ in more than case, since some file
/// systems are case-insensitive.
#[derive(Debug, Clone, Default)]
pub struct FileNames {
    taken: HashSet<String>,
    /// The number to try next, by stem.
    next: HashMap<String, usize>,
}

impl FileNames {
    /// The longest stem in bytes, before it is numbered. Most file systems allow names of 255 bytes.
    pub const MAX_STEM: usize = 200;

    /// The names of a folder where these stems are taken.
    pub(super) fn new(taken: impl IntoIterator<Item = &'static str>) -> Self {
        Self {
            taken: taken.into_iter().map(str::to_string).collect(),
            next: HashMap::new(),
        }
    }

    /// A name for a file with this stem. The stem is unchanged if it is valid and not taken.
    pub fn give(&mut self, stem: &str, extension: &str) -> String {
        let given = self.unique(&valid(stem));
        match extension {
            "" => given,
            extension => format!("{given}.{extension}"),
        }
    }

    /// The stem, numbered if it is taken.
    pub fn unique(&mut self, stem: &str) -> String {
        let key = stem.to_lowercase();
        let mut unique = stem.to_owned();
        if !self.taken.insert(key.clone()) {
            let next = self.next.entry(key).or_insert(2);
            loop {
                unique = format!("{stem}-{next}");
                *next += 1;
                if self.taken.insert(unique.to_lowercase()) {
                    break;
                }
            }
        }
        unique
    }
}

/// The name without characters that point to another folder, hide the file, or break a list of names: separators,
/// colons, control characters, a dot at the start, and spaces at the ends.
fn valid(name: &str) -> String {
    let replace = |char: char| match char {
        '/' | '\\' | ':' => '_',
        char if char.is_control() => '_',
        char => char,
    };
    let mut valid: String = name.chars().map(replace).collect();
    valid.truncate(valid.floor_char_boundary(FileNames::MAX_STEM));
    let trimmed = valid.trim_matches(|char: char| char.is_whitespace() || char == '\u{feff}');
    match trimmed.strip_prefix('.') {
        Some(rest) => format!("_{rest}"),
        None if trimmed.is_empty() => "_".to_string(),
        None => trimmed.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn valid_names_are_kept() {
        for (stem, expected) in [
            ("a b", "a b"),
            ("Bär 100% <&'\">", "Bär 100% <&'\">"),
            ("a.b", "a.b"),
            ("../../etc", "_._.._etc"),
            ("..", "_."),
            ("", "_"),
            (" \t ", "_"),
            ("C:\\a", "C__a"),
            ("a\nb", "a_b"),
            (" .a ", "_a"),
        ] {
            let name = FileNames::default().give(stem, "jpg");
            assert_eq!(name, format!("{expected}.jpg"));
        }
        let long = "ä".repeat(300);
        assert_eq!(
            FileNames::default().give(&long, "").len(),
            FileNames::MAX_STEM
        );
    }

    #[test]
    fn names_are_unique_by_stem_ignoring_case() {
        let mut names = FileNames::default();
        let given = [
            ("a", "jpg"),
            ("a-2", "jpg"),
            ("A", "png"),
            ("a", "jpg"),
            ("ä", "jpg"),
        ]
        .map(|(stem, extension)| names.give(stem, extension));
        assert_eq!(given, ["a.jpg", "a-2.jpg", "A-3.png", "a-4.jpg", "ä.jpg"]);
    }
}
