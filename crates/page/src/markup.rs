//! Lists, bars and the colors of classes.

use fcos_burn_plot::class_color;
use maud::{Markup, html};

use crate::text::{grouped, line};

/// The largest number of messages in a list.
const MAX_MESSAGES: usize = 50;

/// Messages as a list, which ends with the number of those that are left out. Nothing without messages.
pub fn list(messages: &[String]) -> Markup {
    html! {
        @if !messages.is_empty() {
            ul {
                @for message in messages.iter().take(MAX_MESSAGES) { li { (line(message)) } }
                @if messages.len() > MAX_MESSAGES { li { "… " (grouped(messages.len() - MAX_MESSAGES)) " more" } }
            }
        }
    }
}

/// A bar whose length is the share of `count` in `whole`, for a cell of the style `bar`.
pub fn bar(count: usize, whole: usize) -> Markup {
    let width = 100.0 * count as f64 / whole.max(1) as f64;
    html! { span style=(format!("width:{width:.1}%")) {} }
}

/// A square in the box color of a class.
pub fn swatch(class: usize) -> Markup {
    html! { span.swatch style=(format!("background:{}", color(class))) {} }
}

/// The box color of a class, as in `#e6194b`.
pub fn color(class: usize) -> String {
    let [red, green, blue] = class_color(class).0;
    format!("#{red:02x}{green:02x}{blue:02x}")
}
