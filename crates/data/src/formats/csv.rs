//! CSV: one table per split, or one with a column for the split, with a row for each object.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use csv::{ReaderBuilder, StringRecord, Trim};

use super::candidates::{Candidates, names_annotations};
use super::description::{Place, corners};
use super::inventory::Inventory;
use super::listed_objects::{ListedImage, ListedObject};
use super::listing::{ListedFile, Listings};
use super::listing_classes::ClassNames;
use super::split::{Found, ONLY_SPLIT, Role, is_role_word, names_split, split_names};
use crate::files::{read_text, shown, start_of, stem};
use crate::{Category, DataError, Layout, LoadReport};

/// A column with more values than this does not name splits.
const MAX_SPLITS: usize = 50;

/// The class of all objects of a table without a column for it.
const ONLY_CLASS: &str = "object";

/// The extensions of tables.
pub(super) const EXTENSIONS: [&str; 2] = ["csv", "tsv"];

/// Recognizes tables of boxes, and class lists next to them. If `given` is set, only that table is considered.
pub(super) fn find(
    inventory: &Arc<Inventory>,
    given: Option<&Path>,
) -> Result<Option<Found>, DataError> {
    let (mut files, mut lists, mut names) = (Vec::new(), Vec::new(), Vec::new());
    let Candidates {
        files: candidates,
        mut report,
    } = Candidates::of(inventory, &EXTENSIONS, |_| true);
    // Their splits would have the same name.
    let tables: HashSet<&Path> = candidates.iter().copied().collect();
    let is_second = |file: &&Path| {
        given.is_none()
            && file.extension() != Some(EXTENSIONS[0].as_ref())
            && tables.contains(file.with_extension(EXTENSIONS[0]).as_path())
            && content(&start_of(
                &inventory.root().join(file.with_extension(EXTENSIONS[0])),
            )) == Content::Boxes
    };
    let (second, mut candidates): (Vec<&Path>, Vec<&Path>) =
        candidates.iter().copied().partition(is_second);
    candidates.sort();
    for file in second {
        let file = file.display();
        report.remark(format!(
            "{file}: not read: there is a .csv table of this name"
        ));
    }
    let mut unused = BTreeSet::new();
    for file in candidates {
        let path = inventory.root().join(file);
        let start = start_of(&path);
        match content(&start) {
            Content::Boxes if given.is_none_or(|given| given == file) => {
                let header = header(&start);
                unused.extend(header.iter().flat_map(|header| header.unused.clone()));
                if header.as_ref().is_some_and(|header| !header.has_class) {
                    report.remark(format!(
                        "{}: no column for the class: all objects are of one class, '{ONLY_CLASS}'",
                        file.display()
                    ));
                }
                let splits = match header.and_then(|header| header.split) {
                    Some(column) => splits(inventory, file, &column, &parsed(&path)?, &mut report),
                    None => Vec::new(),
                };
                files.push(ListedFile {
                    path: file.to_path_buf(),
                    splits,
                });
            }
            Content::Classes if names_classes(file) => lists.push(path),
            Content::Names if names_classes(file) => match names_of(&path) {
                Ok(pairs) => names.push(ClassNames {
                    file: file.to_path_buf(),
                    names: pairs,
                }),
                // It may be about something else.
                Err(error) => report.remark(format!("not read: {error}")),
            },
            // A split may be missing because of this.
            Content::Other | Content::Names if given.is_none() && names_annotations(file) => {
                let cause = refusal(&start);
                report.remark(format!("{}: not read: {cause}", file.display()));
            }
            _ => {}
        }
    }
    if files.is_empty() {
        return Ok(None);
    }
    if !unused.is_empty() {
        let unused: StringRecord = unused.into_iter().collect();
        report.remark(format!("columns that are not used: {}", shown_row(&unused)));
    }
    let listings = Listings {
        layout: Layout::Csv,
        inventory: Arc::clone(inventory),
        files,
        classes: classes(&lists)?,
        names,
        read: |path| Ok(parsed(path)?.images),
    };
    Ok(Some(listings.found().with_report(report)))
}

fn parsed(path: &Path) -> Result<Table, DataError> {
    let table = parse(&read_text(path)?);
    table.map_err(|fault| fault.in_file(path))
}

/// The splits that a column of a table names, with a remark on how it is used. If empty, the table is one split.
fn splits(
    inventory: &Inventory,
    file: &Path,
    column: &str,
    table: &Table,
    report: &mut LoadReport,
) -> Vec<String> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let images = (table.images.iter()).filter(|image| !image.file_name.is_empty());
    for split in images.filter_map(|image| image.split.as_ref()) {
        *counts.entry(split).or_default() += 1;
    }
    let (name, column) = (file.display(), shown(column));
    let own = split_names(inventory, &[file])
        .pop()
        .filter(|own| names_split(own));
    match (&table.only_split, own) {
        _ if counts.is_empty() => {
            report.remark(format!(
                "{name}: the column '{column}' is not used: its values are not splits such as train and val"
            ));
            Vec::new()
        }
        // The table of a split may repeat the name of a split in each row.
        (Some(only), Some(own)) => {
            if Role::of_word(only) != Role::of_word(&own) {
                let only = shown(only);
                report.remark(format!(
                    "{name}: read as the split '{own}' because of its name, although its column '{column}' is '{only}'"
                ));
            }
            Vec::new()
        }
        _ => {
            let named = counts.keys().map(|split| (*split).to_owned()).collect();
            let counts = (counts.iter())
                .map(|(split, images)| format!("{} with {images} images", shown(split)));
            let counts: Vec<String> = counts.collect();
            let blank = match table.without_split {
                0 => String::new(),
                1 => "; 1 image names none".to_owned(),
                images => format!("; {images} images name none"),
            };
            report.remark(format!(
                "{name}: splits by the column '{column}': {}{blank}",
                counts.join(", ")
            ));
            named
        }
    }
}

/// The fields of a row for messages.
fn shown_row(row: &StringRecord) -> String {
    const MOST: usize = 20;
    let fields: Vec<String> = row.iter().take(MOST).map(shown).collect();
    match row.len() > MOST {
        true => format!("{}, …", fields.join(", ")),
        false => fields.join(", "),
    }
}

/// Whether a file has a name such as `classes.csv`, `_classes.csv` or `label_map.csv`.
fn names_classes(file: &Path) -> bool {
    let stem = stem(file).to_lowercase();
    ["class", "label", "categor"]
        .iter()
        .any(|word| stem.contains(word))
}

/// The classes of all lists, by id. Each split folder may have its own list.
fn classes(lists: &[PathBuf]) -> Result<Vec<Category>, DataError> {
    let mut all: BTreeMap<u64, String> = BTreeMap::new();
    for path in lists {
        let listed = parse_classes(&read_text(path)?).map_err(|fault| fault.in_file(path))?;
        for (id, name) in listed {
            match all.get(&id) {
                Some(other) if *other != name => {
                    return Err(DataError::Annotations {
                        path: path.clone(),
                        cause: format!(
                            "class {id} is '{name}' here but '{other}' in another class list"
                        ),
                    });
                }
                _ => drop(all.insert(id, name)),
            }
        }
    }
    Ok(all
        .into_iter()
        .map(|(id, name)| Category { id, name })
        .collect())
}

/// The names of classes by their codes.
fn names_of(path: &Path) -> Result<HashMap<String, String>, DataError> {
    parse_names(&read_text(path)?).map_err(|fault| fault.in_file(path))
}

/// A malformed file.
#[derive(Debug, PartialEq)]
struct Fault {
    /// The line, from 1.
    line: usize,
    cause: String,
}

/// Prints as in `line 3: the cause`.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.cause)
    }
}

impl Fault {
    fn in_file(self, path: &Path) -> DataError {
        DataError::Line {
            path: path.to_path_buf(),
            line: self.line,
            cause: self.cause,
        }
    }
}

/// The kind of a CSV file, from its first row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Content {
    /// Boxes in images.
    Boxes,
    /// The ids of classes.
    Classes,
    /// Two texts a row, which may be the codes of classes and their names.
    Names,
    /// Something else.
    Other,
}

/// The content of a file that starts with this text.
fn content(start: &str) -> Content {
    let mut rows = Rows::of(start);
    let Some(Ok((_, first))) = rows.next() else {
        return Content::Other;
    };
    // A header with a missing column is an error when the table is read.
    if Columns::of_header(&first).is_some()
        || (require_positional(&first).is_ok() && is_positional(&first))
    {
        return Content::Boxes;
    }
    let second = rows.next().and_then(Result::ok).map(|(_, row)| row);
    let is_class = |row: &StringRecord| row.len() == 2 && row[1].parse::<u64>().is_ok();
    let is_header = first.len() == 2 && CLASS.contains(&plain(&first[0]).as_str());
    if is_class(&first) || (is_header && second.as_ref().is_some_and(is_class)) {
        return Content::Classes;
    }
    let is_name = |field: &str| !field.is_empty() && field.parse::<f64>().is_err();
    let is_pair = |row: &StringRecord| row.len() == 2 && !row[0].is_empty() && is_name(&row[1]);
    match is_pair(&first) && second.as_ref().is_none_or(is_pair) {
        true => Content::Names,
        false => Content::Other,
    }
}

/// Why a file that starts with this text is not a table of boxes, with the line.
pub(super) fn refusal(start: &str) -> String {
    let first = match Rows::of(start).next() {
        None => return "the file is empty".to_string(),
        Some(Err(fault)) => return fault.to_string(),
        Some(Ok((line, first))) => (line, first),
    };
    let (line, row) = first;
    let is_number = |field: &str| field.parse::<f64>().is_ok();
    let cause = match row.iter().any(is_number) {
        true => require_positional(&row).err().unwrap_or_else(|| {
            let row = shown_row(&row);
            format!(
                "expected 'path,x1,y1,x2,y2,class', or a header that names the columns; found {row}"
            )
        }),
        false => Columns::missing(&row),
    };
    Fault { line, cause }.to_string()
}

/// Whether a file that starts with this text is a table of boxes or a list of classes.
pub(super) fn is_known(start: &str) -> bool {
    matches!(content(start), Content::Boxes | Content::Classes)
}

/// What the header of a table says besides where the boxes are.
struct Header {
    /// The column that may name the split of each row.
    split: Option<String>,
    /// The columns that are not used, as messages show them.
    unused: Vec<String>,
    /// Whether a column names the class.
    has_class: bool,
}

/// The header of a table that starts with this text; `None` if it has none or lacks a column.
fn header(start: &str) -> Option<Header> {
    let (_, row) = Rows::of(start).next()?.ok()?;
    let columns = Columns::of_header(&row)?.ok()?;
    let named = |column: usize| row.get(column).unwrap_or_default();
    let unused = (0..row.len()).filter(|column| !columns.uses(*column));
    let unused = unused.map(named).filter(|name| !name.is_empty()).map(shown);
    Some(Header {
        split: columns.split.map(|column| named(column).to_string()),
        unused: unused.collect(),
        has_class: columns.class.is_some(),
    })
}

/// Whether the fields of a box in a row without a header are numbers or empty.
fn is_positional(row: &StringRecord) -> bool {
    let mut edges = row.iter().skip(1).take(4);
    !row[0].is_empty() && edges.all(|edge| edge.is_empty() || edge.parse::<f64>().is_ok())
}

/// Fails unless the row has the fields of a table without a header.
fn require_positional(row: &StringRecord) -> Result<(), String> {
    // A separator at the end of a row adds an empty field.
    match row.len() == 6 || (row.len() == 7 && row[6].is_empty()) {
        true => Ok(()),
        false => Err(format!(
            "expected 'path,x1,y1,x2,y2,class', or a header that names the columns; found {} fields",
            row.len()
        )),
    }
}

/// Reads a table whose header names its columns, in any order, or a table of `path,x1,y1,x2,y2,class` without a header.
///
/// Fields are separated by commas, semicolons or tabs. Numbers may have decimal commas unless commas separate fields. A
/// row without a box and a class is an image without objects. Images are in the order of their first rows. Rows
/// without an image name share one entry. A column for the split is used if all of its values name splits, or if some are
/// for training and others for validation or test.
fn parse(text: &str) -> Result<Table, Fault> {
    let mut rows = Rows::of(text).peekable();
    let header = match rows.peek() {
        Some(Ok((line, first))) => {
            let fault = |cause| Fault { line: *line, cause };
            Columns::of_header(first).transpose().map_err(fault)?
        }
        _ => None,
    };
    if header.is_some() {
        rows.next();
    }
    let mut images: Vec<ListedImage> = Vec::new();
    let mut positions: HashMap<String, usize> = HashMap::new();
    // Whether the column names splits is known only after the last row.
    let mut contradiction = None;
    for row in rows {
        let (line, row) = row?;
        let row = match header {
            Some(columns) => columns.read(&row),
            None => require_positional(&row).and_then(|()| Columns::POSITIONAL.read(&row)),
        };
        let fault = |cause| Fault { line, cause };
        let row = row.map_err(fault)?;
        let position = *positions.entry(row.file_name.clone()).or_insert_with(|| {
            images.push(ListedImage {
                file_name: row.file_name,
                size: None,
                unusable_size: None,
                split: None,
                objects: Vec::new(),
            });
            images.len() - 1
        });
        let image = &mut images[position];
        if let Some(split) = row.split {
            let before = image.split.get_or_insert_with(|| split.clone());
            if !before.eq_ignore_ascii_case(&split) && !image.file_name.is_empty() {
                let name = shown(&image.file_name);
                let (split, before) = (shown(&split), shown(before));
                contradiction.get_or_insert_with(|| {
                    fault(format!(
                        "the split of {name} is '{split}', but was '{before}' in a row above"
                    ))
                });
            }
        }
        match row.size {
            Size::Missing => {}
            Size::Unusable => drop(image.unusable_size.get_or_insert(Place::Line(line))),
            Size::Given(width, height) => {
                let (before_width, before_height) = *image.size.get_or_insert((width, height));
                if (before_width, before_height) != (width, height) && !image.file_name.is_empty() {
                    return Err(fault(format!(
                        "the size of {} is {width}x{height}, but was {before_width}x{before_height} in a row above",
                        image.file_name
                    )));
                }
            }
        }
        let place = Place::Line(line);
        image
            .objects
            .extend(row.object.map(|(class, corners)| ListedObject {
                class,
                corners,
                iscrowd: row.is_group,
                place,
            }));
    }
    let named = || {
        let images = images.iter().filter(|image| !image.file_name.is_empty());
        images.filter_map(|image| image.split.as_deref())
    };
    let distinct: HashSet<String> = named().map(str::to_lowercase).collect();
    let is_role =
        |role| named().any(|name| is_role_word(name) && Role::of_word(name) == Some(role));
    let is_division = named().next().is_some() && named().all(names_split)
        || is_role(Role::Train) && (is_role(Role::Validation) || is_role(Role::Test));
    if !is_division || distinct.len() > MAX_SPLITS {
        images.iter_mut().for_each(|image| image.split = None);
        return Ok(Table {
            images,
            without_split: 0,
            only_split: None,
        });
    }
    if let Some(fault) = contradiction {
        return Err(fault);
    }
    let roles: Vec<Option<Role>> = named().map(Role::of_word).collect();
    // The same rule as for images outside of the folders of splits.
    let rest = match roles.contains(&Some(Role::Validation)) && !roles.contains(&Some(Role::Train))
    {
        true => "train",
        false => ONLY_SPLIT,
    };
    let first = named().next().map(str::to_owned);
    let only_split = first.clone().filter(|_| distinct.len() == 1);
    let mut spellings: HashMap<String, String> = HashMap::new();
    let mut without_split = 0;
    for image in &mut images {
        let split = image.split.take();
        let split = match (split, &first) {
            // They are no image, but are reported with a split.
            (_, Some(first)) if image.file_name.is_empty() => first.clone(),
            (Some(split), _) => split,
            (None, _) => {
                without_split += 1;
                rest.to_owned()
            }
        };
        let spelling = spellings.entry(split.to_lowercase()).or_insert(split);
        image.split = Some(spelling.clone());
    }
    Ok(Table {
        images,
        without_split,
        only_split,
    })
}

/// Reads a table of `name,id`, with or without a header. Returns the names by id.
fn parse_classes(text: &str) -> Result<BTreeMap<u64, String>, Fault> {
    let mut classes = BTreeMap::new();
    let mut names = HashSet::new();
    for (position, row) in Rows::of(text).enumerate() {
        let (line, row) = row?;
        let fault = |cause: String| Fault { line, cause };
        let [name, id] = [0, 1].map(|field| row.get(field).unwrap_or_default());
        let Ok(id) = id.parse::<u64>() else {
            if position == 0 {
                continue;
            }
            return Err(fault(format!("expected 'name,id', found '{name},{id}'")));
        };
        if !names.insert(name.to_string()) {
            return Err(fault(format!("the class '{name}' is listed twice")));
        }
        if let Some(other) = classes.insert(id, name.to_string()) {
            return Err(fault(format!(
                "the id {id} is used twice, by '{other}' and by '{name}'"
            )));
        }
    }
    Ok(classes)
}

/// Reads a table of `code,name`. A header does no harm: no class has its code.
fn parse_names(text: &str) -> Result<HashMap<String, String>, Fault> {
    let mut names: HashMap<String, String> = HashMap::new();
    for row in Rows::of(text) {
        let (line, row) = row?;
        let [code, name] = [0, 1].map(|field| row.get(field).unwrap_or_default());
        if row.len() != 2 || name.is_empty() {
            let row = shown_row(&row);
            let cause = format!("expected the code of a class and its name, found '{row}'");
            return Err(Fault { line, cause });
        }
        match names.insert(code.to_string(), name.to_string()) {
            Some(other) if other != name => {
                let code = shown(code);
                let cause = format!("the class {code} is called '{other}' and '{name}'");
                return Err(Fault { line, cause });
            }
            _ => {}
        }
    }
    Ok(names)
}

/// The rows of a text that are not blank, with their line numbers. Fields are trimmed.
struct Rows<'a> {
    text: &'a str,
    reader: csv::Reader<&'a [u8]>,
    /// The line number at the byte `counted`.
    line: usize,
    counted: usize,
    decimal_comma: bool,
}

impl<'a> Rows<'a> {
    fn of(text: &'a str) -> Self {
        // Excel reads and writes a first line that names the separator.
        let (separator, text, line) = match separator_line(text) {
            Some((separator, rest)) => (separator, rest, 2),
            None => (guess_separator(text), text, 1),
        };
        Self {
            text,
            reader: reader(text, separator),
            line,
            counted: 0,
            decimal_comma: separator != b',',
        }
    }

    /// The line number of the row that starts at a byte, or after the line breaks there. The csv crate gives the number
    /// of the previous row if lines end with CR LF or are blank.
    fn line_at(&mut self, byte: u64) -> usize {
        let bytes = self.text.as_bytes();
        let mut start = usize::try_from(byte).unwrap_or(usize::MAX);
        while matches!(bytes.get(start), Some(b'\r' | b'\n')) {
            start += 1;
        }
        for at in self.counted..start.min(bytes.len()) {
            match bytes[at] {
                b'\n' => self.line += 1,
                // A lone CR ends a line on old systems.
                b'\r' if bytes.get(at + 1) != Some(&b'\n') => self.line += 1,
                _ => {}
            }
        }
        self.counted = start;
        self.line
    }
}

impl Iterator for Rows<'_> {
    type Item = Result<(usize, StringRecord), Fault>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let mut row = StringRecord::new();
            let line = self.line_at(self.reader.position().byte());
            match self.reader.read_record(&mut row) {
                Ok(false) => return None,
                Ok(true) if row.iter().all(str::is_empty) => {}
                Ok(true) => {
                    if self.decimal_comma {
                        row = row.iter().map(with_decimal_point).collect();
                    }
                    return Some(Ok((line, row)));
                }
                Err(error) => {
                    let cause = format!("not CSV: {error}").replace('\n', " ");
                    return Some(Err(Fault { line, cause }));
                }
            }
        }
    }
}

fn reader(text: &str, separator: u8) -> csv::Reader<&[u8]> {
    ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .trim(Trim::All)
        .delimiter(separator)
        .from_reader(text.as_bytes())
}

/// The separator in a first line such as `sep=;`, and the lines after it.
fn separator_line(text: &str) -> Option<(u8, &str)> {
    let (first, rest) = text.split_once('\n').unwrap_or((text, ""));
    match *first.trim_end_matches('\r').as_bytes() {
        [b's' | b'S', b'e' | b'E', b'p' | b'P', b'=', separator] => Some((separator, rest)),
        _ => None,
    }
}

/// The separator that makes the most fields of the first row.
fn guess_separator(text: &str) -> u8 {
    let fields = |separator: u8| {
        let mut row = StringRecord::new();
        match reader(text, separator).read_record(&mut row) {
            Ok(true) => row.len(),
            _ => 0,
        }
    };
    // Of equal keys, `max_by_key` takes the last.
    let separators = [b'\t', b';', b','];
    separators
        .into_iter()
        .max_by_key(|separator| fields(*separator))
        .unwrap_or(b',')
}

/// A number such as `12,5` with a decimal point; anything else unchanged.
fn with_decimal_point(field: &str) -> String {
    let with_point = field.replacen(',', ".", 1);
    match with_point.parse::<f64>() {
        Ok(_) => with_point,
        Err(_) => field.to_string(),
    }
}

/// The content of a table of boxes.
#[derive(Debug)]
struct Table {
    /// If a column names splits, every image has one.
    images: Vec<ListedImage>,
    /// The number of images for which that column is empty.
    without_split: usize,
    /// The value of that column, if all images that have one have the same.
    only_split: Option<String>,
}

/// Where the fields of a row are.
#[derive(Debug, Clone, Copy)]
struct Columns {
    file_name: usize,
    edges: Edges,
    /// `None` if all objects are of one class.
    class: Option<usize>,
    size: Option<[usize; 2]>,
    split: Option<usize>,
    /// The column that tells groups from single objects.
    group: Option<usize>,
}

/// The columns of a box.
#[derive(Debug, Clone, Copy)]
enum Edges {
    /// Left, top, right, bottom.
    Corners([usize; 4]),
    /// Left, top, width, height.
    CornerAndSize([usize; 4]),
    /// Center, width, height.
    CenterAndSize([usize; 4]),
}

impl Edges {
    fn columns(self) -> [usize; 4] {
        let (Self::Corners(columns) | Self::CornerAndSize(columns) | Self::CenterAndSize(columns)) =
            self;
        columns
    }
}

/// Column names in lower case and without punctuation. Names that tools write come first.
const FILE_NAME: &[&str] = &[
    "filename",
    "path",
    "filepath",
    "imagepath",
    "imagename",
    "imagefilename",
    "imagefile",
    "imgpath",
    "imgname",
    "imgfilename",
    "imgfile",
    "fname",
    "image",
    "img",
    "file",
    "imageid",
    "imgid",
];
/// Names of columns of the image unless something else names it. With a `name`, the other may be a number.
const FRAME_NAME: [&str; 2] = ["frame", "name"];
/// Columns that are no class, whatever they contain.
const NUMBERS: &[&str] = &["", "unnamed0", "index", "id", "area", "depth", "channels"];
const CLASS: &[&str] = &[
    "class",
    "classname",
    "label",
    "labelname",
    "category",
    "categoryname",
    "name",
    "classid",
    "labelid",
    "categoryid",
    "id",
];
const CORNERS: [&[&str]; 4] = [
    &[
        "xmin", "x1", "left", "bboxxmin", "bboxx1", "bboxleft", "xtl",
    ],
    &["ymin", "y1", "top", "bboxymin", "bboxy1", "bboxtop", "ytl"],
    &[
        "xmax",
        "x2",
        "right",
        "bboxxmax",
        "bboxx2",
        "bboxright",
        "xbr",
    ],
    &[
        "ymax",
        "y2",
        "bottom",
        "bboxymax",
        "bboxy2",
        "bboxbottom",
        "ybr",
    ],
];
/// Left, top, width and height of a box, in tables without right and bottom.
const CORNER_AND_SIZE: [&[&str]; 4] = [
    &[
        "bboxx", "x", "boxx", "xmin", "x1", "left", "bboxxmin", "bboxleft",
    ],
    &[
        "bboxy", "y", "boxy", "ymin", "y1", "top", "bboxymin", "bboxtop",
    ],
    &["bboxwidth", "bboxw", "boxwidth", "boxw", "w", "width"],
    &["bboxheight", "bboxh", "boxheight", "boxh", "h", "height"],
];
/// The center of a box. Its width and height are named like those of a box with a corner.
const CENTER: [&[&str]; 2] = [
    &["xcenter", "centerx", "cx", "xc", "bboxcx", "bboxxcenter"],
    &["ycenter", "centery", "cy", "yc", "bboxcy", "bboxycenter"],
];
const SPLIT: &[&str] = &[
    "split",
    "subset",
    "set",
    "datasplit",
    "datasetsplit",
    "partition",
    "mluse",
];
/// Whether the box is around several objects: Open Images' name, and COCO's.
const GROUP: &[&str] = &["isgroupof", "iscrowd"];
const SIZE: [&[&str]; 2] = [
    &["width", "imagewidth", "imgwidth"],
    &["height", "imageheight", "imgheight"],
];

/// A name in lower case and without punctuation.
fn plain(name: &str) -> String {
    let chars = name.chars().filter(|char| char.is_alphanumeric());
    chars.flat_map(char::to_lowercase).collect()
}

/// A row of a table.
struct Row {
    file_name: String,
    size: Size,
    /// Its class, and its corners if they are complete.
    object: Option<(String, Option<[f64; 4]>)>,
    /// Its split, if it is given.
    split: Option<String>,
    /// Whether the object is a group.
    is_group: bool,
}

/// The image size in a row.
enum Size {
    Missing,
    /// Width and height in pixels.
    Given(u32, u32),
    /// Not a valid number of pixels.
    Unusable,
}

impl Columns {
    /// `path,x1,y1,x2,y2,class`.
    const POSITIONAL: Self = Self {
        file_name: 0,
        edges: Edges::Corners([1, 2, 3, 4]),
        class: Some(5),
        size: None,
        split: None,
        group: None,
    };

    /// The columns that a header names; `None` if the row is not a header.
    fn of_header(row: &StringRecord) -> Option<Result<Self, String>> {
        let names: Vec<String> = row.iter().map(plain).collect();
        let find = |aliases: &[&str]| {
            let mut aliases = aliases.iter();
            aliases.find_map(|alias| names.iter().position(|name| name == alias))
        };
        let corners = CORNERS.map(find);
        let sides = CORNER_AND_SIZE.map(find);
        let center = CENTER.map(find);
        let edges = match (corners, sides, center) {
            ([Some(x1), Some(y1), Some(x2), Some(y2)], ..) => {
                Some(Edges::Corners([x1, y1, x2, y2]))
            }
            ([_, _, None, None], [Some(x), Some(y), Some(width), Some(height)], _) => {
                Some(Edges::CornerAndSize([x, y, width, height]))
            }
            (
                [None, None, None, None],
                [None, None, Some(width), Some(height)],
                [Some(x), Some(y)],
            ) => Some(Edges::CenterAndSize([x, y, width, height])),
            // Two edge names in one row are no coincidence.
            _ if corners.iter().flatten().count() >= 2 => None,
            _ => return None,
        };
        let no_column =
            |name: &str| format!("no column '{name}'; the columns are: {}", shown_row(row));
        let required = |position: Option<usize>, aliases: &[&str]| {
            position.ok_or_else(|| no_column(aliases[0]))
        };
        let columns = || {
            let edges = edges.ok_or_else(|| {
                let missing = CORNERS
                    .iter()
                    .zip(corners)
                    .find(|(_, found)| found.is_none());
                no_column(missing.map_or("", |(aliases, _)| aliases[0]))
            })?;
            let class_other_than = |file_name: &str| {
                let class = CLASS.iter().filter(|alias| file_name != **alias);
                find(&class.copied().collect::<Vec<_>>())
            };
            let mut frame_name = FRAME_NAME;
            if class_other_than("name").is_some() {
                frame_name.reverse();
            }
            let file_name = find(FILE_NAME).or_else(|| find(&frame_name));
            let file_name = required(file_name, FILE_NAME)?;
            let class = class_other_than(&names[file_name]);
            let taken = edges.columns();
            // A column of the box may have one of these names, too.
            let find_free = |aliases: &[&str]| {
                let named = |alias: &&str| {
                    (0..names.len())
                        .find(|column| names[*column] == **alias && !taken.contains(column))
                };
                aliases.iter().find_map(named)
            };
            let found = Self {
                file_name,
                edges,
                class,
                size: match SIZE.map(find_free) {
                    [Some(width), Some(height)] => Some([width, height]),
                    _ => None,
                },
                split: find(SPLIT),
                group: find(GROUP),
            };
            // Another column may have the class, or there are scores: then these are no annotations.
            let is_number = |column: usize| NUMBERS.contains(&names[column].as_str());
            let is_known = |column: usize| found.uses(column) || is_number(column);
            match class.is_some() || (0..names.len()).all(is_known) {
                true => Ok(found),
                false => Err(no_column(CLASS[0])),
            }
        };
        Some(columns())
    }

    /// What a header lacks that does not name the columns of a box.
    fn missing(row: &StringRecord) -> String {
        let names: Vec<String> = row.iter().map(plain).collect();
        let lacks = |aliases: &&[&str]| !names.iter().any(|name| aliases.contains(&name.as_str()));
        let wanted = [FILE_NAME].into_iter().chain(CORNERS).chain([CLASS]);
        let missing: Vec<&str> = wanted.filter(lacks).map(|aliases| aliases[0]).collect();
        format!(
            "no columns {}; the columns are: {}",
            missing.join(", "),
            shown_row(row)
        )
    }

    /// Whether a column is read.
    fn uses(&self, column: usize) -> bool {
        let others = [Some(self.file_name), self.class, self.split, self.group];
        others.contains(&Some(column))
            || self.edges.columns().contains(&column)
            || self.size.is_some_and(|size| size.contains(&column))
    }

    fn read(self, row: &StringRecord) -> Result<Row, String> {
        let field = |column: usize| {
            let missing = || {
                let found = row.len();
                format!(
                    "the row has {found} fields, but column {} is needed",
                    column + 1
                )
            };
            row.get(column).ok_or_else(missing)
        };
        let columns = self.edges.columns();
        // pandas may write `nan` for an image without objects.
        let is_missing = |field: &str| field.is_empty() || field.eq_ignore_ascii_case("nan");
        let file_name = field(self.file_name)?;
        let class = self.class.map(field).transpose()?;
        let (mut edges, mut is_blank) = ([None; 4], true);
        for (edge, column) in edges.iter_mut().zip(columns) {
            let field = field(column)?;
            is_blank &= is_missing(field);
            *edge = field.parse().ok().filter(|edge: &f64| edge.is_finite());
        }
        let edges = match edges {
            [Some(x1), Some(y1), Some(c), Some(d)] => Some(match self.edges {
                Edges::Corners(_) => [x1, y1, c, d],
                Edges::CornerAndSize(_) => corners([x1, y1, c, d]),
                Edges::CenterAndSize(_) => corners([x1 - c / 2.0, y1 - d / 2.0, c, d]),
            }),
            _ => None,
        };
        let has_object = !is_blank || class.is_some_and(|class| !is_missing(class));
        let object = (has_object || file_name.is_empty())
            .then(|| (class.unwrap_or(ONLY_CLASS).to_string(), edges));
        // Open Images has -1 where it is not known.
        let is_yes = |field: &str| {
            field.parse::<f64>().is_ok_and(|value| value > 0.0)
                || field.eq_ignore_ascii_case("true")
        };
        let size = match self.size {
            None => Size::Missing,
            Some([width, height]) => match (extent(field(width)?), extent(field(height)?)) {
                (Ok(Some(width)), Ok(Some(height))) => Size::Given(width, height),
                (Ok(_), Ok(_)) => Size::Missing,
                _ => Size::Unusable,
            },
        };
        Ok(Row {
            file_name: file_name.to_string(),
            size,
            object,
            // The last fields of a row may be missing.
            split: (self.split.and_then(|column| row.get(column)))
                .filter(|split| !split.is_empty())
                .map(str::to_string),
            is_group: (self.group.and_then(|column| row.get(column))).is_some_and(is_yes),
        })
    }
}

/// A width or height; `None` if it is empty or zero.
fn extent(field: &str) -> Result<Option<u32>, ()> {
    if field.is_empty() {
        return Ok(None);
    }
    match field.parse::<f64>() {
        Ok(0.0) => Ok(None),
        Ok(size) if size.fract() == 0.0 && (1.0..=f64::from(u32::MAX)).contains(&size) => {
            Ok(Some(size as u32))
        }
        _ => Err(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// The images with their sizes, and the classes and corners of their objects, one line each.
    fn rows(text: &str) -> Vec<String> {
        let images = parse(text).unwrap().images;
        let rows = images.into_iter().flat_map(|image| {
            let name = match image.size {
                Some((width, height)) => format!("{} {width}x{height}", image.file_name),
                None => image.file_name,
            };
            match image.objects.is_empty() {
                true => vec![name],
                false => (image.objects.into_iter())
                    .map(|object| {
                        let (place, class) = (object.place, object.class);
                        format!(
                            "{name} {place} {class} {:?}",
                            object.corners.unwrap_or_default()
                        )
                    })
                    .collect(),
            }
        });
        rows.collect()
    }

    #[test]
    fn tables_without_a_header_have_six_columns() {
        let text = "/data/a.jpg,1,2.5,30,40,cat\r\nb.jpg,,,,,\r\n\r\n\"c, d.jpg\",1,2,3,4,\"a \"\"dog\"\"\",\r\n/data/a.jpg,5,6,7,8,0\r\n";
        assert_eq!(
            rows(text),
            [
                "/data/a.jpg line 1 cat [1.0, 2.5, 30.0, 40.0]",
                "/data/a.jpg line 5 0 [5.0, 6.0, 7.0, 8.0]",
                "b.jpg",
                "c, d.jpg line 4 a \"dog\" [1.0, 2.0, 3.0, 4.0]",
            ]
        );
    }

    #[test]
    fn headers_name_columns_in_any_order() {
        let expected = ["a.jpg 640x480 line 2 cat [1.0, 2.0, 3.0, 4.0]"];
        for text in [
            "filename,width,height,class,xmin,ymin,xmax,ymax\na.jpg,640,480,cat,1,2,3,4",
            "class,ymax,xmax,ymin,xmin,Width,Height,image\ncat,4,3,2,1,640,480,a.jpg",
            "\"image_path\",\"x_min\",\"y_min\",\"x_max\",\"y_max\",\"label\",\"image_width\",\"image_height\"\r\na.jpg,1,2,3,4,cat,640.0,480\r\n",
            ",filename,x1,y1,x2,y2,class_name,width,height,score\n0,a.jpg,1,2,3,4,cat,640,480,0.5",
        ] {
            assert_eq!(rows(text), expected, "{text}");
        }
        let without_sizes = "ImageID,LabelName,XMin,XMax,YMin,YMax\na.jpg,cat,1,3,2,4\n";
        let named = "name,xmin,ymin,xmax,ymax,class\na.jpg,1,2,3,4,cat\n";
        for text in [without_sizes, named] {
            assert_eq!(rows(text), ["a.jpg line 2 cat [1.0, 2.0, 3.0, 4.0]"]);
        }
    }

    #[test]
    fn fields_may_be_separated_by_semicolons_and_tabs() {
        assert_eq!(
            rows("a, b.jpg;1,5;2,25;3;4;cat, black\n"),
            ["a, b.jpg line 1 cat, black [1.5, 2.25, 3.0, 4.0]"]
        );
        assert_eq!(
            rows("sep=;\r\nfilename;xmin;ymin;xmax;ymax;class\r\na.jpg;1;2;3;4;cat\r\n"),
            ["a.jpg line 3 cat [1.0, 2.0, 3.0, 4.0]"]
        );
        assert_eq!(
            rows("a.jpg\t1\t2\t3\t4\tcat"),
            ["a.jpg line 1 cat [1.0, 2.0, 3.0, 4.0]"]
        );
    }

    #[test]
    fn incomplete_rows_are_kept_for_the_report() {
        let text = "a.jpg,1,2,,4,cat\nb.jpg,,,,,cat\nc.jpg,1,,,,\nd.jpg,1,x,3,4,cat\n,,,,,\ne.jpg,1,2,3,4,\n,1,2,3,4,cat\n";
        let images = parse(text).unwrap().images;
        let objects: Vec<_> = (images.iter())
            .map(|image| {
                let object = &image.objects[0];
                let name = image.file_name.as_str();
                (name, object.class.as_str(), object.corners.is_some())
            })
            .collect();
        assert_eq!(
            objects,
            [
                ("a.jpg", "cat", false),
                ("b.jpg", "cat", false),
                ("c.jpg", "", false),
                ("d.jpg", "cat", false),
                ("e.jpg", "", true),
                ("", "cat", true),
            ]
        );
    }

    #[test]
    fn a_size_may_be_missing_in_some_rows() {
        let header = "filename,width,height,xmin,ymin,xmax,ymax,class\n";
        let image = |rows: &str| parse(&format!("{header}{rows}")).unwrap().images.remove(0);
        for rows in [
            "a,,,1,2,3,4,c\na,9,8,1,2,3,4,c",
            "a,9,8,1,2,3,4,c\na,0,8,1,2,3,4,c",
        ] {
            let image = image(rows);
            assert_eq!((image.size, image.unusable_size), (Some((9, 8)), None));
        }
        let image = image("a,9.5,9,1,2,3,4,c\na,x,9,1,2,3,4,c");
        assert_eq!(
            (image.size, image.unusable_size),
            (None, Some(Place::Line(2)))
        );
    }

    #[test]
    fn boxes_may_be_given_by_corner_and_size() {
        for (text, size) in [
            (
                "label_name,bbox_x,bbox_y,bbox_width,bbox_height,image_name,image_width,image_height\ncat,1,2,30,40,a.jpg,100,80",
                " 100x80",
            ),
            ("filename,x,y,w,h,class\na.jpg,1,2,30,40,cat", ""),
            (
                "filename,xmin,ymin,width,height,class\na.jpg,1,2,30,40,cat",
                "",
            ),
        ] {
            assert_eq!(
                rows(text),
                [format!("a.jpg{size} line 2 cat [1.0, 2.0, 31.0, 42.0]")]
            );
            assert_eq!(content(text), Content::Boxes);
        }
    }

    #[test]
    fn malformed_rows_name_the_line_and_the_cause() {
        for (text, line, cause) in [
            ("a.jpg,1,2,3,4,cat\n\nb.jpg,1,2,3,cat", 3, "found 5 fields"),
            ("TRAIN,a.jpg,cat,0.1,0.2,,,0.3,0.4,,", 1, "found 11 fields"),
            (
                "filename,xmin,ymin,xmax,class\na.jpg,1,2,3,cat",
                1,
                "no column 'ymax'; the columns are: filename, xmin",
            ),
            ("xmin,ymin,xmax,ymax,class\n", 1, "no column 'filename'"),
            (
                "filename,xmin,ymin,xmax,ymax,class\na.jpg,1,2,3",
                2,
                "the row has 4 fields, but column 6",
            ),
            (
                "filename,width,height,xmin,ymin,xmax,ymax,class\na,9,8,1,2,3,4,c\na,8,9,1,2,3,4,c",
                3,
                "the size of a is 8x9, but was 9x8",
            ),
        ] {
            let fault = parse(text).unwrap_err();
            assert_eq!(fault.line, line, "{text}: {fault:?}");
            assert!(fault.cause.contains(cause), "{text}: {fault:?}");
        }
    }

    #[test]
    fn classes_have_ids() {
        for text in [
            "cat,1\ndog,0\n",
            "name,id\ncat,1\ndog,0",
            "class;id\ncat;1\ndog;0\n",
        ] {
            let classes = parse_classes(text).unwrap().into_iter().collect::<Vec<_>>();
            assert_eq!(classes, [(0, "dog".to_string()), (1, "cat".to_string())]);
            assert_eq!(content(text), Content::Classes, "{text}");
        }
        for (text, cause) in [
            ("cat,0\ncat,1", "listed twice"),
            ("cat,0\ndog,0", "used twice"),
            ("cat,0\ndog,x", "found 'dog,x'"),
        ] {
            let fault = parse_classes(text).unwrap_err();
            assert!(fault.line == 2 && fault.cause.contains(cause), "{fault:?}");
        }
    }

    #[test]
    fn other_tables_are_not_mistaken_for_annotations() {
        for text in [
            "",
            "epoch,loss\n1,0.5\n",
            "a,b,c,d,e,f\n",
            "1,2,3,4,5,6,7\n",
            "not a table",
            "a.jpg,\nb.jpg,\n",
        ] {
            assert_eq!(content(text), Content::Other, "{text}");
        }
        assert_eq!(content("/m/01,Cat\n/m/02,Dog\n"), Content::Names);
        assert_eq!(content("a.jpg,1,2,3,4,cat\n"), Content::Boxes);
        assert_eq!(content("a.jpg,,,,,\n"), Content::Boxes);
        assert_eq!(content("file;left;top;right;bottom;name\n"), Content::Boxes);
    }
}
