//! The HTML page.

mod charts;
mod photos;

use fcos_burn_page::{
    Document,
    markup::{bar, list, swatch},
    text::{capitalized, counted, grouped, line, percent, rounded},
};
use maud::{Markup, html};

use self::{charts::histogram, photos::BoxPictures};
use crate::{
    classes::ClassIndex,
    distribution::Distribution,
    inspection::Inspection,
    picture::Picture,
    splits::Splits,
    wording::{
        concerns, described, leaks, reason, sized_objects, split_columns, unions, unread_name,
    },
};

const STYLE: &str = include_str!("style.css");

/// The largest number of rows in the class table.
const MAX_CLASSES: usize = 200;

/// The largest number of groups of duplicate images.
const MAX_GROUPS: usize = 6;

/// The self-contained page.
pub(crate) fn html(inspection: &Inspection, splits: &Splits) -> String {
    let page = Page {
        inspection,
        splits,
        photos: BoxPictures::read(splits, &shown(inspection), &ClassIndex::of(splits)),
    };
    page.document()
}

/// All images on the page.
fn shown(inspection: &Inspection) -> Vec<Picture> {
    let sheets = inspection.sheets.iter().flat_map(|sheet| &sheet.pictures);
    let findings = inspection
        .findings
        .iter()
        .flat_map(|finding| &finding.pictures);
    let equal = groups(inspection).into_iter().flatten();
    let pictures = sheets.chain(findings).copied().chain(equal);
    pictures.chain(without_point(inspection)).collect()
}

/// Some of the images with objects without a point.
fn without_point(inspection: &Inspection) -> impl Iterator<Item = Picture> {
    let images = &inspection.levels.without_point_images;
    let pictures = |split| images.iter().map(move |&image| Picture { split, image });
    inspection.sized.into_iter().flat_map(pictures)
}

/// The groups of duplicate images to show, groups across splits first. Each group shows the first image of each split,
/// or the first two images if it is within one split.
fn groups(inspection: &Inspection) -> Vec<Vec<Picture>> {
    let groups = inspection.duplicates.iter().map(|group| {
        let mut firsts = group.clone();
        firsts.dedup_by_key(|picture| picture.split);
        match firsts.len() {
            1 => group.iter().take(2).copied().collect(),
            _ => firsts,
        }
    });
    let mut groups: Vec<Vec<Picture>> = groups.collect();
    groups.sort_by_key(|group| group.iter().all(|picture| picture.split == group[0].split));
    groups.truncate(MAX_GROUPS);
    groups
}

struct Page<'a> {
    inspection: &'a Inspection,
    splits: &'a Splits,
    photos: BoxPictures,
}

impl Page<'_> {
    fn document(&self) -> String {
        let title = line(&self.inspection.name);
        let body = html! {
            (self.photos.definitions())
            header {
                h1 { (title) }
                p.quiet { (self.origin()) }
            }
            main {
                (self.overview())
                (self.problems())
                (self.classes())
                (self.levels())
                (self.distributions())
                (self.duplicates())
                (self.sheets())
            }
        };
        let document = Document {
            title: &format!("Inspection of {title}"),
            style: STYLE,
            script: None,
            body,
        };
        document.html()
    }

    fn origin(&self) -> String {
        let inspection = self.inspection;
        let layout = match &inspection.layout {
            Some(layout) if inspection.evidence.is_empty() => format!("{layout} layout. "),
            Some(layout) => format!("{layout} layout: {}. ", line(&inspection.evidence)),
            None => String::new(),
        };
        let [images, objects, classes] = [
            (inspection.images, "image"),
            (inspection.objects, "object"),
            (inspection.classes.len(), "class"),
        ]
        .map(|(count, noun)| counted(count, noun));
        format!("{layout}{images}, {objects}, {classes}.")
    }

    fn overview(&self) -> Markup {
        let inspection = self.inspection;
        let columns = split_columns(inspection);
        html! {
            section {
                h2 { "Splits" }
                div.scroll { table {
                    thead { tr {
                        th { "Split" }
                        @for (title, _) in &columns { th { (capitalized(title)) } }
                    } }
                    tbody { @for split in &inspection.splits {
                        tr {
                            td.name { (line(&split.name)) }
                            @for (_, count) in &columns { td { (grouped(count(split))) } }
                        }
                    } }
                } }
                @for split in &inspection.unread {
                    p { span.alarm { (line(&unread_name(split))) ": cannot be read: " } (line(&split.cause)) }
                }
                @for union in unions(inspection) { p.quiet { (line(&union)) } }
                @for leak in leaks(inspection) { p.alarm { (line(&leak)) } }
                (list(&inspection.remarks))
            }
        }
    }

    fn problems(&self) -> Markup {
        let Inspection {
            findings, notes, ..
        } = self.inspection;
        html! {
            section {
                h2 { "Dropped or repaired" }
                @if findings.is_empty() && notes.is_empty() { p { "Nothing." } }
                (list(notes))
                @if findings.iter().any(|finding| !finding.pictures.is_empty()) {
                    p.quiet { "The images show the remaining boxes." }
                }
                @for finding in findings {
                    p { (line(&finding.to_string())) }
                    (self.pictures(finding.pictures.iter().copied()))
                }
            }
        }
    }

    fn classes(&self) -> Markup {
        let Inspection {
            classes, splits, ..
        } = self.inspection;
        let most = classes.iter().map(|class| class.total_objects).max();
        let most = most.unwrap_or(0);
        html! {
            section {
                h2 { "Classes" }
                @for (concern, names) in concerns(&self.inspection.concerns) {
                    p { span.alarm { (capitalized(concern)) ": " } (line(&names.join(", "))) }
                }
                div.scroll { table {
                    thead { tr {
                        th { "Class" }
                        @for split in splits { th { (line(&split.name)) } }
                        th { "Objects" } th { "Images" } th {}
                    } }
                    tbody { @for (index, class) in classes.iter().enumerate().take(MAX_CLASSES) {
                        tr {
                            td.name { (swatch(index)) (line(&class.name)) }
                            @for count in &class.objects { td { (grouped(*count)) } }
                            td { (grouped(class.total_objects)) }
                            td { (grouped(class.total_images)) }
                            td.bar { (bar(class.total_objects, most)) }
                        }
                    } }
                } }
                @if classes.len() > MAX_CLASSES {
                    p.quiet { "… " (grouped(classes.len() - MAX_CLASSES)) " more" }
                }
            }
        }
    }

    fn levels(&self) -> Markup {
        let levels = &self.inspection.levels;
        let objects = levels.objects();
        let row = |name: String, stride: String, count: usize| {
            html! {
                tr {
                    td { (name) } td { (stride) } td { (grouped(count)) } td { (percent(count, objects)) }
                    td.bar { (bar(count, objects)) }
                }
            }
        };
        html! {
            section {
                h2 { "Image size" }
                @if let Some(size) = &self.inspection.suggestion {
                    p { "Suggested: " strong { (size.width) "x" (size.height) } ". At this size, " (reason(size)) "." }
                } @else {
                    p { "No " (line(&sized_objects(self.inspection))) "." }
                }
                @if objects > 0 {
                    h3 { (line(&capitalized(&sized_objects(self.inspection)))) " by pyramid level, at " (described(levels.resize)) }
                    div.scroll { table.levels {
                        thead { tr { th { "Level" } th { "Stride" } th { "Objects" } th { "Share" } th {} } }
                        tbody {
                            @for level in &levels.levels {
                                (row(level.name.clone(), level.stride.to_string(), level.objects))
                            }
                            (row("No point".to_owned(), "–".to_owned(), levels.without_point))
                        }
                    } }
                }
                @if levels.without_point > 0 {
                    h3 { "Images with objects that get no point" }
                    p.quiet { "These objects are never learned: they are smaller than the gaps between points, or smaller objects cover them." }
                    (self.pictures(without_point(self.inspection)))
                }
            }
        }
    }

    fn distributions(&self) -> Markup {
        let Inspection {
            image_sizes,
            box_sizes,
            crowding,
            ..
        } = self.inspection;
        let charts = [
            ("Image width in pixels", &image_sizes.width),
            ("Image height in pixels", &image_sizes.height),
            ("Objects per image", &crowding.per_image),
            (
                "Box side (square root of the area) in pixels",
                &box_sizes.side,
            ),
            (
                "Box side in percent of the image side",
                &box_sizes.relative_side,
            ),
            ("Box width / height", &box_sizes.aspect_ratio),
        ];
        let sizes = image_sizes
            .common
            .iter()
            .map(|size| format!("{}x{} ({})", size.width, size.height, grouped(size.images)));
        let sizes = sizes.collect::<Vec<_>>().join(", ");
        let sizes = match image_sizes.different {
            0 | 1 => sizes,
            different => format!("{} distinct, most often {sizes}", grouped(different)),
        };
        html! {
            section {
                h2 { "Sizes, shapes and crowding" }
                div.charts { @for (title, distribution) in charts { @if let Some(distribution) = distribution.as_ref().filter(|of| of.min < of.max) {
                    (chart(title, distribution))
                } } }
                p {
                    "Image sizes: " (sizes) ". "
                    @if crowding.overlapping > 0 {
                        (percent(crowding.overlapping, self.inspection.objects))
                        " of the boxes overlap another box with an IoU of 0.5 or more."
                    }
                }
            }
        }
    }

    fn duplicates(&self) -> Markup {
        let all = &self.inspection.duplicates;
        html! {
            @if !all.is_empty() { section {
                h2 { "Duplicate images" }
                p { (counted(all.len(), "group")) " of images with identical files." }
                div.groups { @for group in groups(self.inspection) { (self.pictures(group.into_iter())) } }
                @if all.len() > MAX_GROUPS { p.quiet { "… " (grouped(all.len() - MAX_GROUPS)) " more" } }
            } }
        }
    }

    fn sheets(&self) -> Markup {
        html! {
            @for sheet in &self.inspection.sheets {
                section {
                    h2 { (sheet.title) }
                    (self.pictures(sheet.pictures.iter().copied()))
                }
            }
        }
    }

    fn pictures(&self, pictures: impl Iterator<Item = Picture>) -> Markup {
        html! {
            div.pictures { @for picture in pictures { (self.picture(picture)) } }
        }
    }

    fn picture(&self, picture: Picture) -> Markup {
        let split = self.splits.splits().get(picture.split);
        let record = split.and_then(|split| split.dataset.images().get(picture.image));
        let (Some(split), Some(record), Some(photo)) = (split, record, self.photos.get(picture))
        else {
            return html! {};
        };
        let name = line(&record.file_name);
        let objects = counted(record.objects.len(), "object");
        html! {
            figure {
                @match photo {
                    Ok(photo) => svg viewBox=(photo.view_box()) role="img" aria-label=(name) { (photo.markup()) },
                    Err(cause) => div.gone { (line(cause)) },
                }
                figcaption {
                    (name) br;
                    span.quiet { (line(&split.name)) " · " (record.width) "x" (record.height) " · " (objects) }
                }
            }
        }
    }
}

fn chart(title: &str, distribution: &Distribution) -> Markup {
    let [tenth, median, ninetieth] = [
        distribution.tenth,
        distribution.median,
        distribution.ninetieth,
    ]
    .map(rounded);
    html! {
        figure {
            figcaption { (title) }
            (histogram(distribution, title))
            p.quiet { "Median " (median) "; 80% lie between " (tenth) " and " (ninetieth) }
        }
    }
}
