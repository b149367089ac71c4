//! The parts of a training run that are the caller's code.

use std::{path::Path, sync::Arc};

use fcos_burn_data::{DetectionDataset, transforms::Augmentations};
use fcos_burn_detect::json::{read_json, write_json};
use fcos_burn_loss::{FcosObjective, LossTerm};
use fcos_burn_model::backbone::BackboneConfig;
use serde::{Deserialize, Serialize};

use crate::{
    Error, RunConfig,
    data::{self, Assigner, TrainCollate},
    run::RunFolder,
    step::StepMetric,
};

/// The objective, assignment and augmentations of a training run: custom ones, or those of its
/// configuration.
pub(super) struct Extensions {
    pub(super) objective: FcosObjective,
    pub(super) collate: TrainCollate,
    record: ExtensionRecord,
}

impl Extensions {
    pub(super) fn new<C: BackboneConfig>(
        config: &RunConfig<C>,
        terms: &[Arc<dyn LossTerm>],
        assigner: Option<&Assigner>,
        augmentations: &Augmentations,
    ) -> Result<Self, Error> {
        let mut objective = config.objective()?;
        for term in terms {
            objective = objective.with_term(term.clone())?;
        }
        let objective = StepMetric::named(objective)?;
        let record = ExtensionRecord {
            terms: terms.iter().map(|term| term.name().to_owned()).collect(),
            assignment: assigner.map(described),
        };
        let assigner = match assigner {
            Some(assigner) => assigner.clone(),
            None => data::assigner(config)?,
        };
        Ok(Self {
            objective,
            collate: TrainCollate::with_extensions(config, augmentations, assigner)?,
            record,
        })
    }

    /// Weights the classes of the training data `train` as configured.
    pub(super) fn with_class_balance<C: BackboneConfig>(
        self,
        config: &RunConfig<C>,
        train: &DetectionDataset,
    ) -> Result<Self, Error> {
        let balance = config.class_balance(train)?;
        let objective = self.objective.with_class_balance(balance);
        Ok(Self {
            objective: objective.map_err(|error| error.within("objective"))?,
            ..self
        })
    }

    /// Records the terms and the assignment rule in the folder of a new run. Its configuration
    /// has the augmentations.
    pub(super) fn write(&self, folder: &RunFolder) -> Result<(), Error> {
        let path = folder.checkpoints().extensions_path();
        Ok(write_json(&path, &self.record)?)
    }

    /// Fails if the run was started with other terms or another assignment rule. Folders of
    /// older versions have no record.
    pub(super) fn check(&self, folder: &RunFolder) -> Result<(), Error> {
        let path = folder.checkpoints().extensions_path();
        match path.exists() {
            true => read_json::<ExtensionRecord>(&path)?.check(&self.record, folder.path()),
            false => Ok(()),
        }
    }
}

/// A rule as a run records it.
fn described(assigner: &Assigner) -> String {
    match assigner {
        Assigner::Static(rule) => format!("{rule:?}"),
        Assigner::ByPrediction(rule) => format!("{rule:?}, by prediction"),
    }
}

/// What a run records of the extensions.
#[derive(Debug, Serialize, Deserialize)]
struct ExtensionRecord {
    /// The names of the terms that were added to the objective, in order.
    terms: Vec<String>,
    /// The custom assignment rule; none for that of the configuration.
    assignment: Option<String>,
}

impl ExtensionRecord {
    /// Fails if `found`, the current extensions, differ from these of the run in `run`.
    fn check(&self, found: &Self, run: &Path) -> Result<(), Error> {
        let missing = |all: &Self, some: &Self| {
            let mut terms = all.terms.iter();
            terms.find(|term| !some.terms.contains(term)).cloned()
        };
        let rule = |record: &Self| match &record.assignment {
            Some(rule) => format!("the assignment rule {rule}"),
            None => "the assignment rule of its configuration".to_owned(),
        };
        let cause = if let Some(term) = missing(self, found) {
            format!("it was started with the term `{term}`, which is missing")
        } else if let Some(term) = missing(found, self) {
            format!("it was started without the term `{term}`")
        } else if self.terms != found.terms {
            format!(
                "its terms were added in the order {}, not {}",
                self.terms.join(", "),
                found.terms.join(", ")
            )
        } else if self.assignment != found.assignment {
            format!(
                "it was started with {}, not with {}",
                rule(self),
                rule(found)
            )
        } else {
            return Ok(());
        };
        Err(Error::other_run(run, &cause))
    }
}
