//! The trainings that are compared: rows of the tables.

use fcos_burn::{
    loss::{AssociationLoss, AssociationScore, ClassificationLoss},
    train::RunConfig,
};

/// A row: a training that differs from the others in its objective alone.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Name of its runs' folder.
    pub name: String,
    /// What the table calls it.
    pub label: String,
    classification: ClassificationLoss,
    association: Option<AssociationLoss>,
    score: AssociationScore,
    ramp: f64,
}

/// Share of the training over which the ramped row's weight rises.
const RAMP: f64 = 0.5;

impl Row {
    fn new(name: &str, label: &str) -> Self {
        Self {
            name: name.to_owned(),
            label: label.to_owned(),
            classification: ClassificationLoss::default(),
            association: None,
            score: AssociationScore::MaxOverClasses,
            ramp: 0.0,
        }
    }

    /// What all are compared with: no association.
    pub fn baseline() -> Self {
        Self::new("none", "none")
    }

    fn pce() -> Self {
        Self {
            association: Some(AssociationLoss::Pce { beta: 1.0, k: 1.0 }),
            ..Self::new("pce", "PCE")
        }
    }

    fn pse(beta: f64, k: f64) -> Self {
        let association = Some(AssociationLoss::Pse { beta, k });
        let row = match (beta, k) {
            (1.0, 1.0) => Self::new("pse", "PSE"),
            (1.0, k) => Self::new(&format!("pse-k{k}"), &format!("PSE, k = {k}")),
            (beta, _) => Self::new(&format!("pse-beta{beta}"), &format!("PSE, β = {beta}")),
        };
        Self { association, ..row }
    }

    /// With the score of the object's class in place of the highest.
    fn of_true_class(self) -> Self {
        Self {
            score: AssociationScore::GroundTruthClass,
            name: format!("{}-ground-truth-class", self.name),
            label: format!("{} of the true class", self.label),
            ..self
        }
    }

    /// The paper's Figure 2: without and with association.
    pub fn figure2() -> Vec<Self> {
        vec![Self::baseline(), Self::pse(1.0, 1.0)]
    }

    /// With a weight that rises over the first part of the training.
    fn ramped(self) -> Self {
        Self {
            ramp: RAMP,
            name: format!("{}-ramp", self.name),
            label: format!("{}, β rising over the first half", self.label),
            ..self
        }
    }

    /// A row that can lock in, and candidate remedies.
    pub fn lock_in() -> Vec<Self> {
        let pse = || Self::pse(1.0, 1.0);
        vec![
            Self::baseline(),
            pse(),
            pse().of_true_class(),
            pse().ramped(),
        ]
    }

    /// The paper's Table I, then its successors and variants.
    pub fn table1() -> Vec<Self> {
        let classification = |name, label, classification| Self {
            classification,
            ..Self::new(name, label)
        };
        vec![
            Self::baseline(),
            Self::pce(),
            Self::pse(1.0, 1.0),
            Self::pce().of_true_class(),
            Self::pse(1.0, 1.0).of_true_class(),
            Self::pse(1.0, 1.0).ramped(),
            classification(
                "soft-label-focal",
                "soft-label focal loss",
                ClassificationLoss::SOFT_LABEL_FOCAL,
            ),
            classification(
                "quality-focal",
                "quality focal loss",
                ClassificationLoss::QUALITY_FOCAL,
            ),
            classification("varifocal", "varifocal loss", ClassificationLoss::VARIFOCAL),
        ]
    }

    /// The paper's Table III: slopes at β = 1, weights at k = 1.
    pub fn table3() -> Vec<Self> {
        let slopes = [0.8, 1.0, 1.25, 1.5].map(|k| Self::pse(1.0, k));
        let weights = [0.25, 0.8, 1.25].map(|beta| Self::pse(beta, 1.0));
        [Self::baseline()]
            .into_iter()
            .chain(slopes)
            .chain(weights)
            .collect()
    }

    /// `config` with this row's objective.
    pub fn apply(&self, config: &RunConfig) -> RunConfig {
        let objective = config
            .objective
            .clone()
            .with_classification(self.classification)
            .with_association(self.association)
            .with_association_score(self.score)
            .with_association_ramp(self.ramp);
        RunConfig {
            objective,
            ..config.clone()
        }
    }
}
