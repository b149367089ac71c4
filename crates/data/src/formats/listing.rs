//! Data sets with one file per split, or with files that name the split of each image. They list images by file name and
//! objects by class name.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rayon::prelude::*;

use super::description::{
    AnnotatedImage, AnnotatedObject, Description, IN_SHARES, Outline, Place, are_shares,
};
use super::image_finder::{ImageFinder, image_folders};
use super::inventory::Inventory;
use super::listed_images::{locate_all, remark_on_unlisted};
use super::listed_objects::ListedImage;
use super::listing_classes::{ClassNames, name_classes};
use super::split::{Found, Split, SplitReader, split_names, title};
use crate::files::{file_name, last_part, stem};
use crate::spelling::composed;
use crate::{Category, DataError, Finding, Layout, LoadReport};

/// A file that lists images.
#[derive(Debug)]
pub(super) struct ListedFile {
    /// Relative to the folder of the inventory.
    pub path: PathBuf,
    /// The splits that it names. If empty, the file is one split.
    pub splits: Vec<String>,
}

/// Data sets of one format.
#[derive(Debug)]
pub(super) struct Listings {
    pub layout: Layout,
    pub inventory: Arc<Inventory>,
    /// Sorted by path. Not empty.
    pub files: Vec<ListedFile>,
    /// The classes that the data set lists.
    pub classes: Vec<Category>,
    /// Lists that may give names to the other classes.
    pub names: Vec<ClassNames>,
    /// Reads one of the files.
    pub read: fn(&Path) -> Result<Vec<ListedImage>, DataError>,
}

impl Listings {
    /// The data set with its splits.
    pub fn found(self) -> Found {
        let evidence = self.files.first();
        let evidence = evidence.map(|file| file.path.display().to_string());
        let (layout, parts) = (self.layout, self.parts());
        let listings = Arc::new(self);
        let splits = parts.into_iter().map(|(name, file, named)| {
            let listing = Listing {
                listings: Arc::clone(&listings),
                name: name.clone(),
                file,
                named,
            };
            Split::new(name, listing)
        });
        let splits = splits.collect();
        Found::new(layout, evidence.unwrap_or_default(), splits)
    }

    /// The splits: a distinct name, the index of the file, and the split that the file names.
    fn parts(&self) -> Vec<(String, usize, Option<String>)> {
        let paths: Vec<&Path> = (self.files.iter())
            .map(|file| file.path.as_path())
            .collect();
        let names = split_names(&self.inventory, &paths);
        let mut parts: Vec<(String, usize, Option<String>)> = Vec::new();
        for ((file, name), index) in self.files.iter().zip(names).zip(0..) {
            match file.splits.is_empty() {
                true => parts.push((name, index, None)),
                false => {
                    let named = file.splits.iter().cloned();
                    parts.extend(named.map(|split| (split.clone(), index, Some(split))));
                }
            }
        }
        let lower: Vec<String> = parts.iter().map(|part| part.0.to_lowercase()).collect();
        let mut counts: HashMap<&str, usize> = HashMap::new();
        for name in &lower {
            *counts.entry(name).or_default() += 1;
        }
        for (part, own) in parts.iter_mut().zip(&lower) {
            if counts[own.as_str()] > 1 {
                let (name, index, named) = part;
                let file = paths[*index].with_extension("");
                *name = match named {
                    Some(split) => file.join(split).display().to_string(),
                    None => file.display().to_string(),
                };
            }
        }
        parts
    }

    /// The listed classes, then all others in any split, sorted.
    fn categories(&self, files: &[Vec<ListedImage>]) -> Vec<Category> {
        let mut categories = self.classes.clone();
        let listed: BTreeSet<&str> = self
            .classes
            .iter()
            .map(|class| class.name.as_str())
            .collect();
        let objects = files.iter().flatten().flat_map(|image| &image.objects);
        let found: BTreeSet<&str> = objects
            .map(|object| object.class.as_str())
            .filter(|class| !class.is_empty())
            .collect();
        let last = self.classes.iter().map(|class| class.id).max();
        let ids = last.map_or(1, |last| last.saturating_add(1))..;
        let others = found.difference(&listed).zip(ids);
        categories.extend(others.map(|(name, id)| Category {
            id,
            name: (*name).to_string(),
        }));
        categories
    }
}

/// One split.
#[derive(Debug)]
struct Listing {
    listings: Arc<Listings>,
    name: String,
    /// The index of its file.
    file: usize,
    /// The split that the file names.
    named: Option<String>,
}

impl Listing {
    /// Whether an image of its file belongs to this split.
    fn holds(&self, image: &ListedImage) -> bool {
        self.named.is_none() || image.split == self.named
    }

    /// The path of its file.
    fn path(&self) -> PathBuf {
        let root = self.listings.inventory.root();
        root.join(&self.listings.files[self.file].path)
    }

    fn finder(&self) -> ImageFinder {
        let inventory = &self.listings.inventory;
        let file = self.listings.files[self.file].path.as_path();
        let split = self.named.as_deref().unwrap_or(&self.name);
        let folders = image_folders(inventory.root(), file, split);
        let finder = ImageFinder::new(Arc::clone(inventory), folders);
        let files = self.listings.files.iter().map(|file| &file.path);
        finder.of_file(file, files).of_split(split)
    }

    /// The paths of the images of this split that have names, in their order. `listed` are all images in its file.
    ///
    /// # Errors
    ///
    /// The cause, if a name points outside the data set.
    fn locate(
        &self,
        listed: &[ListedImage],
        report: &mut LoadReport,
    ) -> Result<Vec<PathBuf>, String> {
        let (own, others): (Vec<&ListedImage>, Vec<&ListedImage>) =
            listed.iter().partition(|image| self.holds(image));
        let names = own.iter().map(|image| image.file_name.as_str());
        let named: Vec<&str> = names.filter(|name| !name.is_empty()).collect();
        let others = others.iter().map(|image| image.file_name.as_str());
        let others: Vec<&str> = others.collect();
        locate_all(&self.finder(), &named, &others, report)
    }
}

impl SplitReader for Listing {
    fn describe(&self) -> Result<Description, DataError> {
        let Listings {
            layout,
            inventory,
            files,
            ..
        } = &*self.listings;
        let root = inventory.root();
        let read = |file: &ListedFile| (self.listings.read)(&root.join(&file.path));
        // All files, so that every split has the same categories.
        let mut listed: Vec<_> = files.par_iter().map(read).collect::<Result<_, _>>()?;
        let mut report = LoadReport::default();
        let Listings { classes, names, .. } = &*self.listings;
        name_classes(&mut listed, classes, names, &mut report);
        let is_other = |image: &ListedImage, file| file != self.file || !self.holds(image);
        let others = listed.iter().zip(0..).flat_map(|(images, file)| {
            let images = images.iter();
            images.filter(move |image| is_other(image, file))
        });
        let of_others: HashSet<String> = others
            .map(|image| composed(&stem(Path::new(last_part(&image.file_name)))).into_owned())
            .collect();
        let categories = self.listings.categories(&listed);
        let names = categories.iter().map(|category| category.name.as_str());
        let label_of: HashMap<&str, usize> = names.zip(0..).collect();

        let file = files[self.file].path.as_path();
        let listed = listed.swap_remove(self.file);
        let objects = listed.iter().flat_map(|image| &image.objects);
        let in_shares = are_shares(objects.filter_map(|object| object.corners));
        if in_shares {
            report.remark(IN_SHARES);
        }
        let path = root.join(file);
        let located = self.locate(&listed, &mut report);
        let mut located = (located.map_err(|cause| DataError::Annotations {
            path: path.clone(),
            cause,
        })?)
        .into_iter();
        let outline = |corners: Option<[f64; 4]>| match corners {
            None => Outline::Missing,
            Some(corners) if in_shares => Outline::CornerShares(corners),
            Some(corners) => Outline::Corners(corners),
        };
        let mut image = |image: ListedImage| {
            let source = match image.objects.first().map(|object| &object.place) {
                Some(Place::Line(_)) => file_name(file),
                _ if image.file_name.is_empty() => file_name(file),
                _ => image.file_name.clone(),
            };
            if let Some(place) = image.unusable_size {
                report.record(
                    Finding::UnusableSize,
                    format_args!("{} {place}", file_name(file)),
                );
            }
            if image.file_name.is_empty() {
                match image.objects.is_empty() {
                    true => report.record(Finding::Incomplete, &source),
                    false => (image.objects.iter()).for_each(|object| {
                        report.record(
                            Finding::Incomplete,
                            format_args!("{source} {}", object.place),
                        );
                    }),
                }
                return None;
            }
            let path = located.next()?;
            let mut objects = Vec::with_capacity(image.objects.len());
            for object in image.objects {
                let Some(&label) = label_of.get(object.class.as_str()) else {
                    report.record(
                        Finding::Incomplete,
                        format_args!("{source} {}", object.place),
                    );
                    continue;
                };
                objects.push(AnnotatedObject {
                    id: None,
                    outline: outline(object.corners),
                    label,
                    annotated_area: None,
                    iscrowd: object.iscrowd,
                    place: object.place,
                });
            }
            Some(AnnotatedImage {
                id: None,
                path,
                stated_size: image.size,
                source,
                objects,
                file_name: image.file_name,
            })
        };
        let own = listed.into_iter().filter(|image| self.holds(image));
        let images: Vec<AnnotatedImage> = own.filter_map(&mut image).collect();
        if images.is_empty() {
            let cause = "no images are listed".to_string();
            return Err(DataError::Annotations { path, cause });
        }
        let mut description = Description {
            name: title(root, &self.name),
            layout: *layout,
            categories,
            images,
            searched: path.display().to_string(),
            report,
        };
        remark_on_unlisted(inventory, &mut description, |image| {
            of_others.contains(composed(&stem(image)).as_ref())
        });
        Ok(description)
    }

    fn annotated(&self) -> usize {
        let path = self.path();
        let own = |image: &&ListedImage| !image.file_name.is_empty() && self.holds(image);
        (self.listings.read)(&path).map_or(0, |images| images.iter().filter(own).count())
    }

    fn has_objects(&self) -> bool {
        let own = |image: &ListedImage| self.holds(image) && !image.objects.is_empty();
        (self.listings.read)(&self.path()).map_or(true, |images| images.iter().any(own))
    }

    fn members(&self) -> HashSet<PathBuf> {
        let images = (self.listings.read)(&self.path()).unwrap_or_default();
        let paths = self.locate(&images, &mut LoadReport::default());
        paths.unwrap_or_default().into_iter().collect()
    }
}
