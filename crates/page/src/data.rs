//! Data for the script of a page.

use maud::{Markup, PreEscaped, Render, html};
use serde::Serialize;

/// A value as JSON in an element that the page's script finds by its id.
///
/// The JSON has no `<`, `>`, `&` and no line separators, so that no text from data can end the element.
#[derive(Clone, Debug)]
pub struct Data {
    id: String,
    json: String,
}

impl Data {
    /// The value as JSON.
    ///
    /// # Errors
    ///
    /// Fails if the value cannot be written as JSON, such as a map with keys other than text.
    pub fn new(id: &str, value: &impl Serialize) -> serde_json::Result<Self> {
        let mut json = String::new();
        for character in serde_json::to_string(value)?.chars() {
            match character {
                // These occur only within strings.
                '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                    json.push_str(&format!("\\u{:04x}", u32::from(character)));
                }
                other => json.push(other),
            }
        }
        Ok(Self {
            id: id.to_owned(),
            json,
        })
    }
}

impl Render for Data {
    fn render(&self) -> Markup {
        html! { script type="application/json" id=(self.id) { (PreEscaped(&self.json)) } }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn hostile_text_stays_within_the_element_and_is_read_back() {
        let hostile = "</script><!-- <script> & \" ' \\ \u{2028}\u{2029}\u{0}";
        let html = Data::new("data", &hostile).unwrap().render().into_string();
        let json = html.strip_prefix("<script type=\"application/json\" id=\"data\">");
        let json = json.unwrap().strip_suffix("</script>").unwrap();
        assert!(!json.contains(['<', '>', '&', '\u{2028}', '\u{2029}', '\u{0}']));
        assert_eq!(serde_json::from_str::<String>(json).unwrap(), hostile);
    }
}
