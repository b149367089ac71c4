//! Data sets with one file per split, which lists images by name and objects by the names of their classes.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rayon::prelude::*;

use super::description::{AnnotatedImage, AnnotatedObject, Description, Outline, Place};
use super::image_finder::{ImageFinder, image_folders};
use super::inventory::Inventory;
use super::split::{Found, Split, SplitReader, split_names, title};
use crate::files::file_name;
use crate::{Category, DataError, Layout, LoadReport};

/// What a file says about an image.
#[derive(Debug, PartialEq)]
pub(super) struct ListedImage {
    pub file_name: String,
    /// Width and height in pixels, if the file gives both.
    pub size: Option<(u32, u32)>,
    pub objects: Vec<ListedObject>,
}

/// What a file says about an object.
#[derive(Debug, PartialEq)]
pub(super) struct ListedObject {
    pub class: String,
    /// Left, top, right and bottom; `None` if the file does not give all of them.
    pub corners: Option<[f64; 4]>,
    pub place: Place,
}

/// Data sets of one format.
#[derive(Debug)]
pub(super) struct Listings {
    pub layout: Layout,
    pub inventory: Arc<Inventory>,
    /// One for each split, relative to the folder of the inventory. Not empty.
    pub files: Vec<PathBuf>,
    /// The classes that the data set lists.
    pub classes: Vec<Category>,
    /// Reads one of the files.
    pub read: fn(&Path) -> Result<Vec<ListedImage>, DataError>,
}

impl Listings {
    /// The data set with its splits.
    pub fn found(self) -> Found {
        let files: Vec<&Path> = self.files.iter().map(PathBuf::as_path).collect();
        let evidence = files.first().map(|file| file.display().to_string());
        let (layout, names) = (self.layout, split_names(&files));
        let listings = Arc::new(self);
        let splits = names.into_iter().zip(0..).map(|(name, file)| {
            let listings = Arc::clone(&listings);
            Split::new(
                name.clone(),
                Listing {
                    listings,
                    name,
                    file,
                },
            )
        });
        let splits = splits.collect();
        Found::new(layout, evidence.unwrap_or_default(), splits)
    }

    /// The classes that are listed, then all others in any split, sorted.
    fn categories(&self, files: &[Vec<ListedImage>]) -> Vec<Category> {
        let mut categories = self.classes.clone();
        let listed: BTreeSet<&str> = self
            .classes
            .iter()
            .map(|class| class.name.as_str())
            .collect();
        let objects = files.iter().flatten().flat_map(|image| &image.objects);
        let found: BTreeSet<&str> = objects.map(|object| object.class.as_str()).collect();
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
        let read = |file: &PathBuf| (self.listings.read)(&root.join(file));
        // All files, so that every split has the same categories.
        let mut listed: Vec<_> = files.par_iter().map(read).collect::<Result<_, _>>()?;
        let categories = self.listings.categories(&listed);
        let names = categories.iter().map(|category| category.name.as_str());
        let label_of: HashMap<&str, usize> = names.zip(0..).collect();

        let file = &files[self.file];
        let finder = ImageFinder::new(Arc::clone(inventory), image_folders(root, file, &self.name));
        let finder = finder.of_split(&self.name);
        let mut report = LoadReport::default();
        let listed = listed.swap_remove(self.file);
        let in_shares = are_shares(&listed);
        if in_shares {
            report.remark(
                "all coordinates are at most 1: read as fractions of the image width and height",
            );
        }
        let outline = |corners: Option<[f64; 4]>| match corners {
            None => Outline::Missing,
            Some(corners) if in_shares => Outline::CornerShares(corners),
            Some(corners) => Outline::Corners(corners),
        };
        let image = |image: ListedImage| {
            let path = finder.find(&image.file_name)?;
            let source = match image.objects.first().map(|object| &object.place) {
                Some(Place::Line(_)) => file_name(file),
                _ => image.file_name.clone(),
            };
            let objects = image.objects.into_iter().filter_map(|object| {
                Some(AnnotatedObject {
                    id: None,
                    outline: outline(object.corners),
                    label: label_of.get(object.class.as_str()).copied()?,
                    annotated_area: None,
                    iscrowd: false,
                    place: object.place,
                })
            });
            Ok(AnnotatedImage {
                id: None,
                path,
                stated_size: image.size,
                source,
                objects: objects.collect(),
                file_name: image.file_name,
            })
        };
        let images: Result<Vec<_>, String> = listed.into_iter().map(image).collect();
        let path = root.join(file);
        let images = images.map_err(|cause| DataError::Annotations {
            path: path.clone(),
            cause,
        })?;
        if images.is_empty() {
            let cause = "no images are listed".to_string();
            return Err(DataError::Annotations { path, cause });
        }
        Ok(Description {
            name: title(root, &self.name),
            layout: *layout,
            categories,
            images,
            searched: path.display().to_string(),
            report,
        })
    }

    fn annotated(&self) -> usize {
        let path = self
            .listings
            .inventory
            .root()
            .join(&self.listings.files[self.file]);
        (self.listings.read)(&path).map_or(0, |images| images.len())
    }
}

/// Whether coordinates are fractions of the image's width and height rather than pixels: all are at most 1, and some
/// are not whole numbers.
fn are_shares(images: &[ListedImage]) -> bool {
    let objects = images.iter().flat_map(|image| &image.objects);
    let corners = || {
        objects
            .clone()
            .filter_map(|object| object.corners)
            .flatten()
    };
    // With a tolerance for rounding.
    corners().all(|corner| (-0.01..=1.01).contains(&corner))
        && corners().any(|corner| corner.fract() != 0.0)
}
