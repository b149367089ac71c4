//! The JSON of a COCO file as tools actually write it.
//!
//! hotcoco reads COCO's own files. Files from other tools may have string or float ids, an empty `bbox` next to a
//! segmentation, or `NaN`; a single such value would make hotcoco reject the whole file. Here, a value of the wrong
//! type counts as missing unless the file is meaningless without it. Only the bounding box of a segmentation is kept.

use std::fmt;
use std::io::Read;
use std::path::Path;

use hotcoco::mask::RleRef;
use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::class_name::ClassName;
use super::description::{Outline, span};
use super::native_formats::advice_on;
use crate::DataError;
use crate::files::{not_utf8, open, without_mark};

/// The lists of a COCO file.
#[derive(Debug, Default, Deserialize)]
pub(super) struct CocoFile {
    #[serde(default, deserialize_with = "list")]
    pub images: Vec<Image>,
    /// `None` if the file has no such list.
    #[serde(default)]
    pub annotations: Option<Vec<Annotation>>,
    #[serde(default, deserialize_with = "list")]
    pub categories: Vec<Category>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Image {
    #[serde(default, deserialize_with = "id")]
    pub id: Option<Id>,
    /// Empty if missing.
    #[serde(default, deserialize_with = "text")]
    file_name: String,
    /// LVIS has it instead of a file name. Empty if missing.
    #[serde(default, deserialize_with = "text")]
    coco_url: String,
    #[serde(default)]
    width: Number,
    #[serde(default)]
    height: Number,
}

impl Image {
    /// The name of the file: without one, the last two parts of COCO's address. Empty if both are missing.
    pub fn name(&self) -> &str {
        if !self.file_name.is_empty() {
            return &self.file_name;
        }
        let folder = self.coco_url.rmatch_indices('/').nth(1);
        folder.map_or(&self.coco_url, |(slash, _)| &self.coco_url[slash + 1..])
    }

    /// Width and height in pixels if both are given.
    ///
    /// # Errors
    ///
    /// The value that is not a valid number of pixels.
    pub fn size(&self) -> Result<Option<(u32, u32)>, f64> {
        let length = |Number(value): Number| match value {
            value if value.is_nan() || value == 0.0 => Ok(None),
            value => {
                let length = whole(value).and_then(|length| u32::try_from(length).ok());
                length.map(Some).ok_or(value)
            }
        };
        Ok(length(self.width)?.zip(length(self.height)?))
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct Category {
    #[serde(default, deserialize_with = "id")]
    pub id: Option<Id>,
    #[serde(default)]
    pub name: Option<ClassName>,
    /// Empty if missing.
    #[serde(default, deserialize_with = "text")]
    supercategory: String,
}

impl Category {
    /// The name of the category above; empty if missing.
    pub fn parent(&self) -> &str {
        self.supercategory.trim()
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct Annotation {
    #[serde(default, deserialize_with = "id")]
    pub id: Option<Id>,
    #[serde(default, deserialize_with = "id")]
    pub image_id: Option<Id>,
    #[serde(default, deserialize_with = "id")]
    pub category_id: Option<Id>,
    /// `None` if the annotation has no such field. A list that is not four numbers is an error in the file; it does not
    /// ask for the box of the segmentation.
    #[serde(default, deserialize_with = "present")]
    bbox: Option<Numbers>,
    #[serde(default)]
    segmentation: Segment,
    #[serde(default)]
    pub area: Number,
    #[serde(default)]
    pub iscrowd: Number,
}

impl Annotation {
    /// The box, or the bounding box of the segmentation if there is no field for a box.
    pub fn outline(&self) -> Outline {
        let bbox = self.bbox.as_ref().map(|bbox| bbox.0.as_slice());
        match (bbox, self.segmentation.0) {
            (Some([x, y, width, height]), _) => Outline::CornerAndSize([*x, *y, *width, *height]),
            (None, Some(corners)) => Outline::Segment(corners),
            _ => Outline::Missing,
        }
    }
}

impl CocoFile {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// [`DataError::Io`], or [`DataError::Annotations`] if it is not COCO's JSON.
    pub fn read(path: &Path) -> Result<Self, DataError> {
        let bytes = read(path).map_err(DataError::io(path))?;
        parse(&bytes).map_err(|error| DataError::Annotations {
            path: path.to_path_buf(),
            cause: match std::str::from_utf8(&bytes) {
                // A file that is cut off is not one of another format.
                Ok(_) if error.is_data() => match advice_on(path) {
                    Some(advice) => advice.into(),
                    None => format!("not COCO annotations: {error}"),
                },
                Ok(_) => format!("not COCO annotations: {error}"),
                Err(_) => not_utf8(&bytes),
            },
        })
    }
}

fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path)?.read_to_end(&mut bytes)?;
    Ok(without_mark(bytes))
}

/// Reads JSON that may contain `NaN` and infinities.
fn parse<T: DeserializeOwned>(bytes: &[u8]) -> serde_json::Result<T> {
    let parsed = serde_json::from_slice(bytes);
    if parsed.is_err()
        && let Some(bytes) = without_non_finite(bytes)
    {
        return serde_json::from_slice(&bytes);
    }
    parsed
}

/// Replaces `NaN`, `Infinity` and `-Infinity`, which Python writes but JSON does not allow, with `null`. `None` if
/// there are none.
fn without_non_finite(bytes: &[u8]) -> Option<Vec<u8>> {
    const NAMES: [&[u8]; 3] = [b"-Infinity", b"Infinity", b"NaN"];
    let mut without = Vec::new();
    let (mut at, mut copied, mut in_text) = (0, 0, false);
    while at < bytes.len() {
        match bytes[at] {
            b'\\' if in_text => at += 1,
            b'"' => in_text = !in_text,
            b'-' | b'I' | b'N' if !in_text => {
                let rest = &bytes[at..];
                if let Some(name) = NAMES.iter().find(|name| rest.starts_with(name)) {
                    without.extend_from_slice(&bytes[copied..at]);
                    without.extend_from_slice(b"null");
                    at += name.len();
                    copied = at;
                    continue;
                }
            }
            _ => {}
        }
        at += 1;
    }
    (copied > 0).then(|| {
        without.extend_from_slice(&bytes[copied..]);
        without
    })
}

/// Whether a file has the lists of a COCO file. Reads none of their elements. The annotations may be missing.
pub(super) fn is_coco(path: &Path) -> bool {
    #[derive(Deserialize)]
    struct Lists {
        #[serde(rename = "images")]
        _images: Skipped,
        #[serde(rename = "annotations")]
        _annotations: Option<Skipped>,
        #[serde(rename = "categories")]
        _categories: Skipped,
    }
    /// An array.
    struct Skipped;
    impl<'de> Deserialize<'de> for Skipped {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            struct Array;
            impl<'de> Visitor<'de> for Array {
                type Value = Skipped;
                fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.write_str("a list")
                }
                fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Skipped, A::Error> {
                    while items.next_element::<IgnoredAny>()?.is_some() {}
                    Ok(Skipped)
                }
            }
            deserializer.deserialize_seq(Array)
        }
    }
    read(path).is_ok_and(|bytes| parse::<Lists>(&bytes).is_ok())
}

/// Why a file is not COCO annotations: malformed JSON, or a missing list. `None` if it is COCO or about something else.
pub(super) fn refusal(path: &Path) -> Option<String> {
    let bytes = match read(path) {
        Ok(bytes) => bytes,
        Err(error) => return Some(error.to_string()),
    };
    if let Some(cause) = malformed(&bytes) {
        return Some(cause);
    }
    #[derive(Deserialize)]
    struct Lists {
        images: Option<IgnoredAny>,
        annotations: Option<IgnoredAny>,
        categories: Option<IgnoredAny>,
    }
    let Lists {
        images,
        annotations,
        categories,
    } = parse(&bytes).ok()?;
    let is_about_objects = annotations.is_some() || categories.is_some();
    let missing = match (images, categories) {
        (None, _) if is_about_objects => "images",
        (Some(_), None) => "categories",
        // Both are there but are not lists.
        (Some(_), Some(_)) if !is_coco(path) => {
            return Some(
                "not COCO annotations: images, annotations or categories is not a list".into(),
            );
        }
        _ => return None,
    };
    Some(format!("not COCO annotations: no list '{missing}'"))
}

/// Why a file is not JSON; `None` if it is.
pub(super) fn not_json(path: &Path) -> Option<String> {
    read(path).map_or_else(|error| Some(error.to_string()), |bytes| malformed(&bytes))
}

fn malformed(bytes: &[u8]) -> Option<String> {
    let error = parse::<IgnoredAny>(bytes).err()?;
    Some(match std::str::from_utf8(bytes) {
        Ok(text) if text.trim().is_empty() => "the file is empty".to_string(),
        Ok(_) => format!("not JSON: {error}"),
        Err(_) => not_utf8(bytes),
    })
}

/// Whether the annotations of a file have boxes or segmentations, or there are none yet. Files for captions and panoptic
/// segmentation have others.
pub(super) fn has_boxes(path: &Path) -> bool {
    #[derive(Deserialize)]
    struct Lists {
        annotations: Vec<Shape>,
    }
    #[derive(Deserialize)]
    struct Shape {
        bbox: Option<IgnoredAny>,
        segmentation: Option<IgnoredAny>,
    }
    let has_any = |lists: Lists| {
        let mut shapes = lists.annotations.iter();
        lists.annotations.is_empty()
            || shapes.any(|shape| shape.bbox.is_some() || shape.segmentation.is_some())
    };
    read(path).is_ok_and(|bytes| parse::<Lists>(&bytes).is_ok_and(has_any))
}

/// Whether a file is COCO with an empty list of images.
pub(super) fn lists_no_image(path: &Path) -> bool {
    #[derive(Deserialize)]
    struct Lists {
        images: Vec<IgnoredAny>,
    }
    read(path).is_ok_and(|bytes| parse::<Lists>(&bytes).is_ok_and(|lists| lists.images.is_empty()))
}

/// Whether a file is COCO without a list of annotations, or with an empty one.
pub(super) fn lists_no_annotation(path: &Path) -> bool {
    #[derive(Deserialize)]
    struct Lists {
        #[serde(rename = "images")]
        _images: Vec<IgnoredAny>,
        annotations: Option<Vec<IgnoredAny>>,
    }
    let lists = read(path)
        .ok()
        .and_then(|bytes| parse::<Lists>(&bytes).ok());
    lists.is_some_and(|lists| lists.annotations.is_none_or(|list| list.is_empty()))
}

/// The file names of the images that a file lists; empty if it cannot be read.
pub(super) fn image_names(path: &Path) -> Vec<String> {
    #[derive(Deserialize)]
    struct Lists {
        images: Vec<Name>,
    }
    #[derive(Deserialize)]
    struct Name {
        #[serde(default, deserialize_with = "text")]
        file_name: String,
    }
    let lists = read(path)
        .ok()
        .and_then(|bytes| parse::<Lists>(&bytes).ok());
    let names = lists.map(|lists| lists.images).unwrap_or_default();
    names.into_iter().map(|name| name.file_name).collect()
}

/// The number of images that a COCO file lists, from counting file names; 0 if it cannot be read.
pub(super) fn count_images(path: &Path) -> usize {
    let bytes = read(path).unwrap_or_default();
    let count = |key: &[u8]| {
        let quotes = (bytes.iter().enumerate()).filter(|(_, byte)| **byte == b'"');
        quotes
            .filter(|(at, _)| bytes[*at..].starts_with(key))
            .count()
    };
    match count(b"\"file_name\"") {
        0 => count(b"\"coco_url\""),
        count => count,
    }
}

/// `null` is an empty list.
fn list<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// A field that is present, even if `null`.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// A string; empty if it is something else.
fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(match deserializer.deserialize_any(AnyScalar)? {
        Scalar::Text(text) => text,
        Scalar::Whole(_) | Scalar::None => String::new(),
    })
}

/// An id; `None` if missing.
fn id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Id>, D::Error> {
    Ok(match deserializer.deserialize_any(AnyScalar)? {
        Scalar::Text(text) => Id::of_text(&text),
        Scalar::Whole(number) => Some(Id::Number(number)),
        Scalar::None => None,
    })
}

/// Any value, as a whole number or a string.
enum Scalar {
    Whole(u64),
    Text(String),
    None,
}

struct AnyScalar;

impl<'de> Visitor<'de> for AnyScalar {
    type Value = Scalar;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number or a string")
    }
    fn visit_u64<E>(self, value: u64) -> Result<Scalar, E> {
        Ok(Scalar::Whole(value))
    }
    fn visit_i64<E>(self, value: i64) -> Result<Scalar, E> {
        Ok(Scalar::Text(value.to_string()))
    }
    fn visit_f64<E>(self, value: f64) -> Result<Scalar, E> {
        Ok(Scalar::Text(value.to_string()))
    }
    fn visit_str<E>(self, text: &str) -> Result<Scalar, E> {
        Ok(Scalar::Text(text.to_string()))
    }
    fn visit_bool<E>(self, _: bool) -> Result<Scalar, E> {
        Ok(Scalar::None)
    }
    fn visit_unit<E>(self) -> Result<Scalar, E> {
        Ok(Scalar::None)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Scalar, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Scalar::None)
    }
    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Scalar, A::Error> {
        while entries.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Scalar::None)
    }
}

/// An id: a whole number in any notation, or a string.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Id {
    Number(u64),
    Text(String),
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Text(text) => text.fmt(f),
        }
    }
}

/// The float as a whole number; `None` if it is not one.
fn whole(value: f64) -> Option<u64> {
    // Every whole number up to this one is exact as a float.
    const LAST: f64 = 9_007_199_254_740_992.0;
    let fits = (0.0..=LAST).contains(&value) && value.fract() == 0.0;
    fits.then_some(value as u64)
}

impl Id {
    /// Parses an id; `None` if the text is empty.
    fn of_text(text: &str) -> Option<Self> {
        let text = text.trim();
        if text.is_empty() {
            return None;
        }
        // `007` and `7` may be different ids.
        let plain = text == "0" || !text.starts_with('0') || text.starts_with("0.");
        let number = text.parse().ok().or_else(|| whole(text.parse().ok()?));
        Some(match number.filter(|_| plain) {
            Some(number) => Self::Number(number),
            None => Self::Text(text.to_string()),
        })
    }
}

/// A number, or a string that holds one; NaN if missing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Number(pub f64);

impl Default for Number {
    fn default() -> Self {
        Self(f64::NAN)
    }
}

impl Number {
    pub fn finite(self) -> Option<f64> {
        Some(self.0).filter(|value| value.is_finite())
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let numbers = deserializer.deserialize_any(AnyNumbers)?;
        Ok(match numbers {
            Value::One(value) => Self(value),
            Value::List(_) => Self::default(),
        })
    }
}

/// A list of numbers; empty if it is something else.
#[derive(Debug, Default)]
struct Numbers(Vec<f64>);

impl<'de> Deserialize<'de> for Numbers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match deserializer.deserialize_any(AnyNumbers)? {
            Value::List(numbers) => Self(numbers),
            Value::One(_) => Self::default(),
        })
    }
}

/// Any value, as a number or a list of numbers.
enum Value {
    One(f64),
    List(Vec<f64>),
}

struct AnyNumbers;

impl<'de> Visitor<'de> for AnyNumbers {
    type Value = Value;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number or a list of numbers")
    }
    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::One(value as f64))
    }
    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::One(value as f64))
    }
    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::One(value))
    }
    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::One(f64::from(u8::from(value))))
    }
    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::One(text.trim().parse().unwrap_or(f64::NAN)))
    }
    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::One(f64::NAN))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut numbers = Vec::new();
        while let Some(Number(number)) = items.next_element()? {
            numbers.push(number);
        }
        Ok(Value::List(numbers))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        while entries.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Value::One(f64::NAN))
    }
}

/// The bounding box of a segmentation if it is not empty: polygons, or a run-length mask, compressed or not.
#[derive(Debug, Default)]
struct Segment(Option<[f64; 4]>);

impl<'de> Deserialize<'de> for Segment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Segment;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("polygons or run lengths")
            }
            fn visit_unit<E>(self) -> Result<Segment, E> {
                Ok(Segment(None))
            }
            fn visit_bool<E>(self, _: bool) -> Result<Segment, E> {
                Ok(Segment(None))
            }
            fn visit_u64<E>(self, _: u64) -> Result<Segment, E> {
                Ok(Segment(None))
            }
            fn visit_i64<E>(self, _: i64) -> Result<Segment, E> {
                Ok(Segment(None))
            }
            fn visit_f64<E>(self, _: f64) -> Result<Segment, E> {
                Ok(Segment(None))
            }
            fn visit_str<E>(self, _: &str) -> Result<Segment, E> {
                Ok(Segment(None))
            }
            /// Polygons, or the coordinates of a single one.
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Segment, A::Error> {
                let mut corners: Option<[f64; 4]> = None;
                let mut alone = Vec::new();
                while let Some(item) = items.next_element::<Item>()? {
                    match item.0 {
                        Value::One(number) => alone.push(number),
                        Value::List(polygon) => {
                            corners = span(corners.into_iter().flatten().chain(polygon))
                        }
                    }
                }
                Ok(Segment(corners.or_else(|| span(alone))))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Segment, A::Error> {
                let (mut size, mut counts) = (Numbers::default(), Counts::default());
                while let Some(key) = entries.next_key::<String>()? {
                    match key.as_str() {
                        "size" => size = entries.next_value()?,
                        "counts" => counts = entries.next_value()?,
                        _ => drop(entries.next_value::<IgnoredAny>()?),
                    }
                }
                Ok(Segment(counts.span(&size.0)))
            }
        }
        deserializer.deserialize_any(Any)
    }
}

/// A polygon or a coordinate.
struct Item(Value);

impl<'de> Deserialize<'de> for Item {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyNumbers).map(Self)
    }
}

/// The run lengths of a mask.
#[derive(Default)]
enum Counts {
    #[default]
    None,
    Runs(Vec<u32>),
    Compressed(String),
}

impl Counts {
    /// The corners of the mask; `None` if it is empty or its runs are longer than an image of that height and width.
    fn span(&self, size: &[f64]) -> Option<[f64; 4]> {
        let &[h, w] = size else { return None };
        let [h, w] =
            [h, w].map(|length| whole(length).and_then(|length| u32::try_from(length).ok()));
        let (h, w) = (h?, w?);
        let mask = match self {
            Self::None => return None,
            Self::Runs(counts) => RleRef::Runs { counts, h, w },
            Self::Compressed(counts) => RleRef::Compressed { counts, h, w },
        };
        let [x, y, width, height] = mask.to_bbox().ok()?;
        (width > 0.0 && height > 0.0).then_some([x, y, x + width, y + height])
    }
}

impl<'de> Deserialize<'de> for Counts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Counts;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("run lengths")
            }
            fn visit_str<E>(self, text: &str) -> Result<Counts, E> {
                Ok(Counts::Compressed(text.to_string()))
            }
            fn visit_unit<E>(self) -> Result<Counts, E> {
                Ok(Counts::None)
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Counts, A::Error> {
                let mut runs = Vec::new();
                while let Some(Number(length)) = items.next_element()? {
                    let length = whole(length).and_then(|length| u32::try_from(length).ok());
                    runs.push(length);
                }
                let runs: Option<Vec<u32>> = runs.into_iter().collect();
                Ok(runs.map_or(Counts::None, Counts::Runs))
            }
        }
        deserializer.deserialize_any(Any)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn outline(fields: &str) -> Outline {
        let json = format!(r#"{{"annotations": [{{"image_id": 1, "category_id": 1, {fields}}}]}}"#);
        parse::<CocoFile>(json.as_bytes())
            .unwrap()
            .annotations
            .unwrap()[0]
            .outline()
    }

    #[test]
    fn segmentations_give_their_bounding_boxes() {
        // Columns 1 and 2 of rows 1 to 2 in a mask of 4 rows and 5 columns.
        let mask = [0, 0, 0, 0, 0, 1, 1, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let rle = hotcoco::mask::encode(&mask, 4, 5).unwrap();
        let (runs, text) = (&rle.counts, hotcoco::mask::rle_to_string(&rle));
        let expected = Outline::Segment([1.0, 1.0, 3.0, 3.0]);
        for segment in [
            format!(r#"{{"size": [4, 5], "counts": {runs:?}}}"#),
            format!(r#"{{"counts": {text:?}, "size": [4.0, "5"], "more": {{}}}}"#),
            "[[1, 1, 3, 2], [2, 3, 1.5, 2]]".to_string(),
            "[1, 1, 3, 3, 1, 3]".to_string(),
            r#"[["1", 1, 3, 3, 9]]"#.to_string(),
        ] {
            assert_eq!(
                outline(&format!(r#""segmentation": {segment}"#)),
                expected,
                "{segment}"
            );
        }
        for nothing in [
            "[]",
            "[[]]",
            "{}",
            "null",
            r#"{"size": [1, 1], "counts": [9, 9]}"#,
            r#"{"size": [2, 2], "counts": [4]}"#,
        ] {
            assert_eq!(
                outline(&format!(r#""segmentation": {nothing}"#)),
                Outline::Missing,
                "{nothing}"
            );
        }
    }

    #[test]
    fn a_box_takes_precedence_over_a_segmentation() {
        let both = r#""bbox": ["1", 2, 3.5, 4], "segmentation": [[0, 0, 9, 9, 0, 9]]"#;
        assert_eq!(outline(both), Outline::CornerAndSize([1.0, 2.0, 3.5, 4.0]));
        for bbox in ["[]", "null", "[1, 2, 3]", "{}", "[1, 2, 3, 4, 5]"] {
            let both = format!(r#""bbox": {bbox}, "segmentation": [[0, 0, 9, 9, 0, 9]]"#);
            assert_eq!(outline(&both), Outline::Missing, "{both}");
        }
    }

    #[test]
    fn ids_may_be_numbers_in_any_notation_or_strings() {
        let id = |json: &str| {
            let json = format!(r#"{{"id": {json}}}"#);
            serde_json::from_str::<Category>(&json).unwrap().id
        };
        for seven in ["7", "7.0", r#""7""#, r#"" 7.0 ""#] {
            assert_eq!(id(seven), Some(Id::Number(7)), "{seven}");
        }
        for text in ["a7", "007", "7.5", "-7"] {
            assert_eq!(id(&format!("\"{text}\"")), Some(Id::Text(text.into())));
        }
        for text in ["-7", "7.5"] {
            assert_eq!(id(text), Some(Id::Text(text.into())));
        }
        for none in ["null", "[]", "{}", "true", r#"" ""#] {
            assert_eq!(id(none), None, "{none}");
        }
    }

    #[test]
    fn nan_and_infinity_do_not_make_a_file_unreadable() {
        let text = r#"{"annotations": [{"image_id": 1, "category_id": 1, "bbox": [NaN, -Infinity, Infinity, 2],
            "note": "NaN \"Infinity"}]}"#;
        let file: CocoFile = parse(text.as_bytes()).unwrap();
        let Outline::CornerAndSize([x, y, width, height]) = file.annotations.unwrap()[0].outline()
        else {
            panic!("a box")
        };
        assert!(x.is_nan() && y.is_nan() && width.is_nan() && height == 2.0);
    }
}
