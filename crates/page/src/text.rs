//! Numbers and text from files as readers see them.

/// Text from files on a single line.
pub fn line(text: &str) -> String {
    text.replace(char::is_control, " ")
}

/// A number with separators between thousands.
pub fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A count with its noun, as in `1 image` or `1,234 images`.
pub fn counted(number: usize, noun: &str) -> String {
    match (number, noun.ends_with('s')) {
        (1, _) => format!("1 {noun}"),
        (_, true) => format!("{} {noun}es", grouped(number)),
        (_, false) => format!("{} {noun}s", grouped(number)),
    }
}

/// A number with two decimals below 1, one below 10, and none from there on or if it is whole.
pub fn rounded(value: f64) -> String {
    match value {
        value if value.fract() == 0.0 => format!("{value}"),
        value if value < 1.0 => format!("{value:.2}"),
        value if value < 10.0 => format!("{value:.1}"),
        value => format!("{value:.0}"),
    }
}

/// `part` as a percentage of `whole`.
pub fn percent(part: usize, whole: usize) -> String {
    format!("{:.1}%", 100.0 * part as f64 / whole.max(1) as f64)
}

/// The text with an uppercase first letter.
pub fn capitalized(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().into_iter().flat_map(char::to_uppercase);
    first.chain(letters).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_formatted_for_readers() {
        assert_eq!(
            [7, 999, 1000, 1_234_567].map(grouped),
            ["7", "999", "1,000", "1,234,567"]
        );
        assert_eq!(
            [0.126, 1.26, 12.6, 640.0].map(rounded),
            ["0.13", "1.3", "13", "640"]
        );
        let images = [0, 1, 1000].map(|count| counted(count, "image"));
        assert_eq!(images, ["0 images", "1 image", "1,000 images"]);
        assert_eq!(
            [1, 2].map(|count| counted(count, "class")),
            ["1 class", "2 classes"]
        );
        assert_eq!(percent(1, 3), "33.3%");
        assert_eq!(percent(0, 0), "0.0%");
    }
}
