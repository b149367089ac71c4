//! Words for splits in names.

/// The purpose of a split, from its name alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Role {
    Train,
    Validation,
    Test,
}

impl Role {
    /// The role of a name that starts with a word for a role, as in `val2017` and `test_set`.
    pub(crate) fn of_word(name: &str) -> Option<Self> {
        Self::of(first_word(name))
    }

    /// The role of a split with this name: that of its first word, or else of the only word for a split in it, as in
    /// `coon_train`. A path is only judged by its first word.
    pub(crate) fn of_split(name: &str) -> Option<Self> {
        let of_any_word = || match name.contains(['/', '\\']) {
            true => None,
            false => SplitWord::in_name(name)?.role(),
        };
        Self::of_word(name).or_else(of_any_word)
    }

    /// The role of a name that is a word for a role, in any case.
    pub(super) fn of(name: &str) -> Option<Self> {
        let is_any = |words: &[&str]| words.iter().any(|word| word.eq_ignore_ascii_case(name));
        if is_any(&["train", "training"]) {
            Some(Self::Train)
        } else if is_any(&["val", "valid", "validation", "dev"]) {
            Some(Self::Validation)
        } else if is_any(&["test", "testing"]) {
            Some(Self::Test)
        } else {
            None
        }
    }
}

/// The word that a name starts with.
fn first_word(name: &str) -> &str {
    let end = name.find(|letter: char| !letter.is_ascii_alphabetic());
    &name[..end.unwrap_or(name.len())]
}

/// Whether a folder or file with this name holds a split: `train`, `Valid`, `val2017`, `test_set`, but not `device`.
pub(super) fn names_split(name: &str) -> bool {
    Role::of_word(name).is_some() || is_trainval(name)
}

/// Whether a name starts with the word for the training and the validation images together.
pub(crate) fn is_trainval(name: &str) -> bool {
    first_word(name).eq_ignore_ascii_case("trainval")
}

/// Whether a name is the word for a role, without anything after it.
pub(super) fn is_role_word(name: &str) -> bool {
    Role::of_word(name).is_some() && first_word(name).len() == name.len()
}

/// Words for splits.
const WORDS: [&str; 9] = [
    "trainval",
    "training",
    "train",
    "validation",
    "valid",
    "val",
    "dev",
    "testing",
    "test",
];

/// Words that people attach to a word for a split, as in `trainset`.
const ATTACHED: [&str; 20] = [
    "set",
    "sets",
    "data",
    "dataset",
    "images",
    "image",
    "imgs",
    "img",
    "pictures",
    "pics",
    "photos",
    "samples",
    "files",
    "labels",
    "label",
    "annotations",
    "xmls",
    "xml",
    "split",
    "folder",
];

/// A name with one word for a split.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct SplitWord {
    /// The word, in lower case: `train` in `coon_train`.
    pub word: &'static str,
    /// The other words, in lower case: `coon`. Names of the splits of one division have the same ones.
    pub rest: String,
}

impl SplitWord {
    /// The only word for a split in a name, at any place: `coon_train`, `trainset`, `imagesVal`. `None` if there is none,
    /// or if there are several.
    pub fn in_name(name: &str) -> Option<Self> {
        let mut found = None;
        let mut rest = Vec::new();
        for word in words(name) {
            match known(word) {
                Some(_) if found.is_some() => return None,
                Some((word, attached)) => {
                    found = Some(word);
                    rest.extend(attached.map(str::to_string));
                }
                None => rest.push(word.to_ascii_lowercase()),
            }
        }
        Some(Self {
            word: found?,
            rest: rest.join(" "),
        })
    }

    /// A name that is the word for a role.
    pub fn of_role(role: Role) -> Self {
        let word = match role {
            Role::Train => "train",
            Role::Validation => "val",
            Role::Test => "test",
        };
        let rest = String::new();
        Self { word, rest }
    }

    /// The role that the word names. `None` for `trainval`.
    pub fn role(&self) -> Option<Role> {
        Role::of(self.word)
    }

    /// Whether no other word may be that of a class or a place, as in `train_images_2`.
    pub fn is_plain(&self) -> bool {
        let is_plain =
            |word: &str| ATTACHED.contains(&word) || word.bytes().all(|byte| byte.is_ascii_digit());
        self.rest.split(' ').all(is_plain)
    }

    /// Whether images of such a split are for training.
    pub fn is_for_training(&self) -> bool {
        self.word.starts_with("train")
    }
}

/// The words of a name: parts of letters or digits, divided where a capital follows a small letter.
pub(super) fn words(name: &str) -> impl Iterator<Item = &str> {
    let mut rest = name;
    std::iter::from_fn(move || {
        rest = rest.trim_start_matches(|letter: char| !letter.is_alphanumeric());
        let is_end = |(one, two): (char, char)| {
            !two.is_alphanumeric()
                || one.is_numeric() != two.is_numeric()
                || one.is_lowercase() && two.is_uppercase()
        };
        let pairs = rest.chars().zip(rest.char_indices().skip(1));
        let mut ends = pairs.filter(|(one, (_, two))| is_end((*one, *two)));
        let end = ends.next().map_or(rest.len(), |(_, (at, _))| at);
        let (word, after) = rest.split_at(end);
        rest = after;
        (!word.is_empty()).then_some(word)
    })
}

/// The word for a split that a word is, or consists of together with an attached word.
fn known(word: &str) -> Option<(&'static str, Option<&'static str>)> {
    let lower = word.to_ascii_lowercase();
    let attached = |rest: &str| ATTACHED.into_iter().find(|known| *known == rest);
    WORDS.into_iter().find_map(|known| {
        if lower == known {
            return Some((known, None));
        }
        let before = lower.strip_prefix(known).and_then(attached);
        let after = || lower.strip_suffix(known).and_then(attached);
        before.or_else(after).map(|rest| (known, Some(rest)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn split_names_start_with_a_common_word() {
        for name in [
            "train",
            "Train",
            "VALID",
            "val2017",
            "dev-set",
            "test_1",
            "trainval",
            "Validation",
        ] {
            assert!(names_split(name), "{name}");
        }
        for name in [
            "device", "trainer", "values", "images", "", "2train", "latest",
        ] {
            assert!(!names_split(name), "{name}");
        }
    }

    #[test]
    fn the_role_of_a_split_is_in_its_first_word_or_in_the_only_word_for_a_split() {
        for (name, role) in [
            ("train_test", Some(Role::Train)),
            ("coon_train", Some(Role::Train)),
            ("trainset", Some(Role::Train)),
            ("imagesVal", Some(Role::Validation)),
            ("a/b_test", None),
            ("trainval", None),
            ("x_train_test", None),
            ("all", None),
        ] {
            assert_eq!(Role::of_split(name), role, "{name}");
        }
    }

    #[test]
    fn words_for_splits_are_found_at_any_place_of_a_name() {
        for (name, word, rest) in [
            ("coon_train", "train", "coon"),
            ("coon-VAL", "val", "coon"),
            ("trainset", "train", "set"),
            ("TestSet", "test", "set"),
            ("TRAINDATA", "train", "data"),
            ("imagesTrain", "train", "images"),
            ("labels_valid", "valid", "labels"),
            ("COCO_train2017", "train", "coco 2017"),
            ("VOC2007_trainval", "trainval", "voc 2007"),
            ("my training photos", "training", "my photos"),
            ("test", "test", ""),
        ] {
            let rest = rest.to_string();
            assert_eq!(
                SplitWord::in_name(name),
                Some(SplitWord { word, rest }),
                "{name}"
            );
        }
        for name in [
            "trainer",
            "strain",
            "contest",
            "devices",
            "values",
            "latest",
            "x_train_val",
            "tested",
            "",
            "_",
            "2",
        ] {
            assert_eq!(SplitWord::in_name(name), None, "{name}");
        }
    }

    #[test]
    fn names_are_divided_into_words() {
        let words = |name| words(name).collect::<Vec<_>>();
        assert_eq!(
            words("imagesTrain_v2 x"),
            ["images", "Train", "v", "2", "x"]
        );
        assert_eq!(words("Äpfel-Test"), ["Äpfel", "Test"]);
        assert!(words("--").is_empty());
    }
}
