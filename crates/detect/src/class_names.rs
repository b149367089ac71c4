//! The class names of weights, and which of them a data set has.

use fcos_burn_data::{Category, DetectionDataset};
use fcos_burn_model::weights::{TensorNaming, WeightsFile};
use serde::Deserialize;

use crate::{coco_classes::COCO_CLASSES, error::Error, run_files};

/// The part of a run's configuration that names its classes.
#[derive(Deserialize)]
struct RunClasses {
    data: Categories,
}

#[derive(Deserialize)]
struct Categories {
    categories: Vec<Category>,
}

/// The classes of the weights in `file`, in the order of the labels; `None` if nothing names them.
///
/// The classes of a run are those of the `config.json` next to its weights. Those of another
/// project's file are COCO's if their number matches: 80 of the original FCOS code, and 91 of
/// torchvision, which has a label for each COCO id from 0 to 90.
///
/// # Errors
///
/// Fails if the configuration of the run cannot be read.
pub fn class_names(file: &WeightsFile) -> Result<Option<Vec<Category>>, Error> {
    let Some(classes) = file.num_classes() else {
        return Ok(None);
    };
    let config = file.path().with_file_name(run_files::CONFIG);
    if file.naming() != TensorNaming::FcosBurn || !config.is_file() {
        return Ok(coco_names(file.naming(), classes));
    }
    let run = serde_json::from_value(run_files::read_config(&config)?);
    let RunClasses { data } = run.map_err(Error::json(&config))?;
    // A configuration has no classes before its run starts.
    Ok(Some(data.categories).filter(|categories| categories.len() == classes))
}

/// COCO's classes, if another project's file has that many labels.
fn coco_names(naming: TensorNaming, classes: usize) -> Option<Vec<Category>> {
    let coco = |&(id, name): &(u64, &str)| Category {
        id,
        name: name.to_owned(),
    };
    match (naming, classes) {
        (TensorNaming::Fcos, 80) => Some(COCO_CLASSES.iter().map(coco).collect()),
        (TensorNaming::Torchvision, 91) => {
            let mut categories = numbered(naming, classes);
            for class in &COCO_CLASSES {
                categories[class.0 as usize] = coco(class);
            }
            Some(categories)
        }
        _ => None,
    }
}

/// Classes without names, with the numbers that they have in the project.
pub(crate) fn numbered(naming: TensorNaming, count: usize) -> Vec<Category> {
    // Label 0 is the first class in the original code, the background in torchvision.
    let first = u64::from(naming == TensorNaming::Fcos);
    let category = |id| Category {
        id,
        name: format!("class {id}"),
    };
    (first..).take(count).map(category).collect()
}

/// [`DetectionDataset::with_known_classes`] for a detector of the classes in `known`.
///
/// # Errors
///
/// Fails if the data set has objects, but none of its classes is known.
pub fn known_classes(
    dataset: DetectionDataset,
    known: &[Category],
) -> Result<DetectionDataset, Error> {
    let no_class = Error::classes(known, &dataset);
    let has_objects = dataset.object_count() > 0;
    let dataset = dataset.with_known_classes(known);
    match dataset.categories().is_empty() && has_objects {
        true => Err(no_class),
        false => Ok(dataset),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use fcos_burn_data::shapes::{ShapesConfig, ShapesSplit};

    use super::*;

    #[test]
    fn labels_get_coco_names_if_their_number_matches() {
        let torchvision = coco_names(TensorNaming::Torchvision, 91).unwrap();
        assert_eq!(torchvision.len(), 91);
        assert_eq!((torchvision[18].id, &*torchvision[18].name), (18, "dog"));
        assert_eq!(torchvision[12].name, "class 12");
        let fcos = coco_names(TensorNaming::Fcos, 80).unwrap();
        assert_eq!((fcos[79].id, &*fcos[79].name), (90, "toothbrush"));
        assert_eq!(coco_names(TensorNaming::Fcos, 91), None);
        assert_eq!(coco_names(TensorNaming::FcosBurn, 80), None);
    }

    #[test]
    fn classes_without_names_are_numbered_as_in_their_project() {
        let first = |naming| numbered(naming, 2)[0].clone();
        let fcos = first(TensorNaming::Fcos);
        assert_eq!((fcos.id, &*fcos.name), (1, "class 1"));
        let torchvision = first(TensorNaming::Torchvision);
        assert_eq!((torchvision.id, &*torchvision.name), (0, "class 0"));
        assert!(numbered(TensorNaming::Fcos, 0).is_empty());
    }

    #[test]
    fn data_without_a_known_class_is_refused() {
        let shapes = ShapesConfig::default().with_val_images(2);
        let dataset = || DetectionDataset::shapes(&shapes, ShapesSplit::Val).unwrap();
        let known =
            |names: &[&str]| known_classes(dataset(), &Category::list(names.iter().copied()));
        assert_eq!(known(&["circle"]).unwrap().categories().len(), 1);
        let error = known(&["cat", "Circle"]).unwrap_err().to_string();
        assert!(
            error.contains("has none of the classes cat, Circle; its own are ")
                && error.ends_with("('circle' is not the same name as 'Circle')"),
            "{error}"
        );
    }
}
