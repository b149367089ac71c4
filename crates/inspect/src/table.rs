//! The statistics as a text table.

use std::fmt::{Display, Write};

use fcos_burn_eval::text_table::aligned;
use fcos_burn_page::text::{grouped, line, percent, rounded};

use crate::{
    ClassCount,
    distribution::Distribution,
    inspection::Inspection,
    wording::{
        concerns, described, leaks, reason, sized_objects, split_columns, unions, unread_name,
    },
};

/// The longest name in characters. Longer names are truncated.
const MAX_NAME: usize = 32;

/// The largest number of classes in full. If there are more, the most and the least common are shown.
const MAX_CLASSES: usize = 12;

/// The width of the longest bar, in characters.
const BAR: usize = 30;

/// The largest number of messages of a kind. Further messages are only counted.
const MAX_MESSAGES: usize = 6;

impl Inspection {
    /// The statistics as text, about 100 columns wide. If there are many classes, only the most and the least common
    /// are shown.
    pub fn table(&self) -> String {
        let sections = [
            heading(self),
            splits(self),
            classes(self),
            sizes(self),
            levels(self),
            messages(self),
        ];
        let sections = sections.into_iter().filter(|section| !section.is_empty());
        sections.collect::<Vec<_>>().join("\n")
    }
}

/// A name on a single line, truncated if it is long.
fn name(name: &str) -> String {
    let name = line(name);
    match name.char_indices().nth(MAX_NAME) {
        Some((end, _)) => format!("{}…", &name[..end]),
        None => name,
    }
}

/// The first few names.
fn names(all: &[String]) -> String {
    let shown: Vec<String> = all
        .iter()
        .take(MAX_CLASSES)
        .map(|text| name(text))
        .collect();
    match all.len() - shown.len() {
        0 => shown.join(", "),
        more => format!("{}, and {more} more", shown.join(", ")),
    }
}

fn heading(inspection: &Inspection) -> String {
    let mut text = line(&inspection.name);
    if let Some(layout) = &inspection.layout {
        let _ = write!(text, ": {layout}");
        if !inspection.evidence.is_empty() {
            let _ = write!(text, " ({})", line(&inspection.evidence));
        }
    }
    text + "\n"
}

/// A header row with these titles.
fn header<T: Display>(titles: impl IntoIterator<Item = T>) -> Vec<String> {
    titles.into_iter().map(|title| title.to_string()).collect()
}

fn splits(inspection: &Inspection) -> String {
    let columns = split_columns(inspection);
    let titles = columns.iter().map(|(title, _)| *title);
    let mut table = vec![header(["split"].into_iter().chain(titles))];
    for split in &inspection.splits {
        let cells = columns.iter().map(|(_, count)| grouped(count(split)));
        table.push([name(&split.name)].into_iter().chain(cells).collect());
    }
    let mut text = aligned(&table);
    for split in &inspection.unread {
        let _ = writeln!(
            text,
            "{}: cannot be read: {}",
            line(&unread_name(split)),
            line(&split.cause)
        );
    }
    for union in unions(inspection) {
        let _ = writeln!(text, "{}", line(&union));
    }
    text
}

fn classes(inspection: &Inspection) -> String {
    let mut classes: Vec<&ClassCount> = inspection.classes.iter().collect();
    let omitted = classes.len().saturating_sub(MAX_CLASSES);
    if omitted > 0 {
        classes.sort_by_key(|class| std::cmp::Reverse(class.total_objects));
        classes.drain(MAX_CLASSES / 2..MAX_CLASSES / 2 + omitted);
    }
    let titles = inspection.splits.iter().map(|split| name(&split.name));
    let mut table = vec![header(["class".to_owned()].into_iter().chain(titles))];
    for (index, class) in classes.into_iter().enumerate() {
        if omitted > 0 && index == MAX_CLASSES / 2 {
            table.push(vec![format!("… {omitted} more")]);
        }
        let cells = class.objects.iter().map(|count| grouped(*count));
        table.push([name(&class.name)].into_iter().chain(cells).collect());
    }
    let mut text = aligned(&table);
    for (concern, classes) in concerns(&inspection.concerns) {
        let _ = writeln!(text, "{concern}: {}", names(classes));
    }
    text
}

fn sizes(inspection: &Inspection) -> String {
    let mut table = vec![header(["", "min", "10%", "median", "90%", "max"])];
    let mut row = |title: &str, distribution: &Option<Distribution>| {
        if let Some(of) = distribution {
            let values = [of.min, of.tenth, of.median, of.ninetieth, of.max].map(rounded);
            table.push([title.to_owned()].into_iter().chain(values).collect());
        }
    };
    row("image width", &inspection.image_sizes.width);
    row("image height", &inspection.image_sizes.height);
    row("box side (√area)", &inspection.box_sizes.side);
    row(
        "box side, % of image side",
        &inspection.box_sizes.relative_side,
    );
    row("box width / height", &inspection.box_sizes.aspect_ratio);
    row("objects per image", &inspection.crowding.per_image);
    let mut text = aligned(&table);
    let overlapping = inspection.crowding.overlapping;
    if overlapping > 0 {
        let share = percent(overlapping, inspection.objects);
        let _ = writeln!(
            text,
            "{share} of the boxes overlap another box with an IoU of 0.5 or more"
        );
    }
    text
}

fn levels(inspection: &Inspection) -> String {
    let levels = &inspection.levels;
    let objects = levels.objects();
    if objects == 0 {
        return format!("no {}\n", line(&sized_objects(inspection)));
    }
    let row = |title: String, count: usize| {
        let bar = "█".repeat((BAR * count).div_ceil(objects));
        (vec![title, grouped(count), percent(count, objects)], bar)
    };
    let counts = levels.levels.iter().map(|level| {
        row(
            format!("{} (stride {})", level.name, level.stride),
            level.objects,
        )
    });
    let without = row("no point".to_owned(), levels.without_point);
    let (cells, bars): (Vec<_>, Vec<_>) = counts.chain([without]).unzip();
    let mut text = format!(
        "{} by level, at {}\n",
        line(&sized_objects(inspection)),
        described(levels.resize)
    );
    for (line, bar) in aligned(&cells).lines().zip(bars) {
        let _ = writeln!(text, "{}", format!("{line}  {bar}").trim_end());
    }
    if let Some(size) = &inspection.suggestion {
        let (width, height) = (size.width, size.height);
        let _ = writeln!(
            text,
            "suggested image size: {width}x{height} ({})",
            reason(size)
        );
    }
    text
}

fn messages(inspection: &Inspection) -> String {
    let findings = inspection.findings.iter();
    let findings: Vec<String> = findings.map(ToString::to_string).collect();
    let mut text = String::new();
    for messages in [
        &leaks(inspection),
        &findings,
        &inspection.notes,
        &inspection.remarks,
    ] {
        for message in messages.iter().take(MAX_MESSAGES) {
            let _ = writeln!(text, "{}", line(message));
        }
        if messages.len() > MAX_MESSAGES {
            let _ = writeln!(text, "… {} more", messages.len() - MAX_MESSAGES);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_truncated_and_have_no_control_characters() {
        assert_eq!(name("a\u{1b}[2Jb"), "a [2Jb");
        let long = "ä".repeat(MAX_NAME + 1);
        assert_eq!(name(&long), format!("{}…", "ä".repeat(MAX_NAME)));
    }
}
