//! The rows of the tables: training objectives that are compared.

use fcos_burn::{
    loss::{AssociationLoss, AssociationScore, BoxAssociation, ClassificationLoss},
    model::{
        assignment::{AssignerConfig, DwConfig, TalConfig},
        head::{BoxQuality, CenternessBranch, RegressionForm},
    },
    train::RunConfig,
};

/// A row of a table. Rows differ in their training objective, and some in what the head predicts, or which
/// locations are assigned to an object, for it.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Name of the folder of its runs.
    pub name: String,
    /// Name in the table.
    pub label: String,
    // That of the assignment rule, if none.
    classification: Option<ClassificationLoss>,
    association: Option<AssociationLoss>,
    score: AssociationScore,
    ramp: f64,
    box_association: Option<BoxAssociation>,
    head: Option<HeadChange>,
    assigner: Option<AssignerConfig>,
}

/// What the head of a row predicts, if it is not what that of the others does.
#[derive(Clone, Copy, Debug, PartialEq)]
enum HeadChange {
    /// The IoU of its boxes.
    Iou,
    /// Distributions over the sides of its boxes.
    Distributions,
}

/// Fraction of the training over which the weight of the ramped row rises.
const RAMP: f64 = 0.5;

impl Row {
    fn new(name: &str, label: &str) -> Self {
        Self {
            name: name.to_owned(),
            label: label.to_owned(),
            classification: None,
            association: None,
            score: AssociationScore::MaxOverClasses,
            ramp: 0.0,
            box_association: None,
            head: None,
            assigner: None,
        }
    }

    /// The row that all others are compared with: no association loss.
    pub fn baseline() -> Self {
        Self::new("none", "none")
    }

    /// A rule whose targets tie scores to the IoU.
    fn assigned(name: &str, label: &str, assigner: AssignerConfig) -> Self {
        Self {
            assigner: Some(assigner),
            ..Self::new(name, label)
        }
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

    /// The same row, but with the score of the object's class instead of the highest score.
    fn of_true_class(self) -> Self {
        Self {
            score: AssociationScore::GroundTruthClass,
            name: format!("{}-ground-truth-class", self.name),
            label: format!("{} of the true class", self.label),
            ..self
        }
    }

    /// The rows of Figure 2 of the paper: without and with association loss.
    pub fn figure2() -> Vec<Self> {
        vec![Self::baseline(), Self::pse(1.0, 1.0)]
    }

    /// The same row, but with a weight that rises over the first half of the training.
    fn ramped(self) -> Self {
        Self {
            ramp: RAMP,
            name: format!("{}-ramp", self.name),
            label: format!("{}, β rising over the first half", self.label),
            ..self
        }
    }

    /// The baseline, a row that can lock in, and two possible remedies.
    pub fn lock_in() -> Vec<Self> {
        let pse = || Self::pse(1.0, 1.0);
        vec![
            Self::baseline(),
            pse(),
            pse().of_true_class(),
            pse().ramped(),
        ]
    }

    /// The rows of Table I of the paper, followed by variants, a control that weights positives more
    /// without an association, and later losses: those that tie scores to the IoU, and those that tie
    /// boxes to the score.
    pub fn table1() -> Vec<Self> {
        let classification = |name, label, classification| Self {
            classification: Some(classification),
            ..Self::new(name, label)
        };
        let correlation = |name, label, association| Self {
            association: Some(association),
            score: AssociationScore::GroundTruthClass,
            ..Self::new(name, label)
        };
        let boxes = |name, label, association| Self {
            box_association: Some(association),
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
                "focal-alpha0.5",
                "focal loss, α = 0.5",
                ClassificationLoss::Focal {
                    alpha: 0.5,
                    gamma: 2.0,
                },
            ),
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
            classification(
                "rank-sort",
                "Rank & Sort loss",
                ClassificationLoss::RANK_SORT,
            ),
            classification("alrp", "aLRP loss", ClassificationLoss::ALRP),
            correlation(
                "concordance",
                "concordance loss",
                AssociationLoss::CONCORDANCE,
            ),
            correlation("pearson", "Pearson loss", AssociationLoss::PEARSON),
            correlation("spearman", "Spearman loss", AssociationLoss::SPEARMAN),
            Self {
                head: Some(HeadChange::Iou),
                ..Self::new("predicted-iou", "predicted IoU in the score")
            },
            Self {
                classification: Some(ClassificationLoss::QUALITY_FOCAL),
                box_association: Some(BoxAssociation::ScoreWeighted),
                head: Some(HeadChange::Distributions),
                ..Self::new("generalized-focal", "generalized focal loss")
            },
            Self::assigned(
                "task-aligned",
                "task alignment learning",
                AssignerConfig::Tal(TalConfig::default()),
            ),
            Self::assigned(
                "dual-weighting",
                "dual weighting",
                AssignerConfig::Dw(DwConfig::default()),
            ),
            boxes(
                "score-weighted-boxes",
                "boxes weighted by score",
                BoxAssociation::ScoreWeighted,
            ),
            boxes(
                "expected-iou",
                "expected IoU of the kept box",
                BoxAssociation::EXPECTED_IOU,
            ),
        ]
    }

    /// The rows of Table III of the paper: slopes at β = 1 and weights at k = 1.
    pub fn table3() -> Vec<Self> {
        let slopes = [0.8, 1.0, 1.25, 1.5].map(|k| Self::pse(1.0, k));
        let weights = [0.25, 0.8, 1.25].map(|beta| Self::pse(beta, 1.0));
        [Self::baseline()]
            .into_iter()
            .chain(slopes)
            .chain(weights)
            .collect()
    }

    /// Returns `config` with the objective, the head and the assignment rule of this row. A row without a
    /// rule or a classification loss of its own has the rule of `config`, and the loss made for it.
    pub fn apply(&self, config: &RunConfig) -> RunConfig {
        let assigner = self.assigner.as_ref().unwrap_or(&config.model.assigner);
        let classification = self.classification.or_else(|| assigner.classification());
        let objective = config
            .objective
            .clone()
            .with_classification(classification.unwrap_or_default())
            .with_association(self.association)
            .with_association_score(self.score)
            .with_association_ramp(self.ramp)
            .with_box_association(self.box_association);
        let mut config = config.clone().with_objective(objective);
        if let Some(assigner) = &self.assigner {
            config.model.assigner = assigner.clone();
        }
        let head = &mut config.model.head;
        match self.head {
            None => {}
            Some(HeadChange::Iou) => {
                head.centerness = Some(CenternessBranch::Regression);
                head.quality = BoxQuality::Iou;
            }
            Some(HeadChange::Distributions) => {
                head.regression = RegressionForm::Distribution { bins: 16 };
            }
        }
        config
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_row_has_the_loss_of_its_assignment_rule() {
        let rows = Row::table1();
        let row = |name| rows.iter().find(|row| row.name == name).unwrap();
        let dual_weighting = AssignerConfig::Dw(DwConfig::default());
        let (small, accurate) = (RunConfig::small(), RunConfig::accurate());

        let none = row("none").apply(&small);
        assert_eq!(none.model.assigner, AssignerConfig::Fcos);
        assert_eq!(none.objective.classification, ClassificationLoss::default());

        let pse = row("pse-ground-truth-class").apply(&accurate);
        assert_eq!(pse.objective, accurate.objective);
        assert_eq!(pse.model.assigner, dual_weighting);

        let alone = small.clone().with_assigner(dual_weighting);
        let dw = row("dual-weighting").apply(&small).objective;
        assert_eq!(dw.classification, alone.objective.classification);
        assert_eq!(dw.association, None);
        let none = row("none").apply(&accurate).objective;
        assert_eq!(none.classification, alone.objective.classification);
        assert_eq!(none.association, None);

        let varifocal = row("varifocal").apply(&accurate);
        assert_eq!(
            varifocal.objective.classification,
            ClassificationLoss::VARIFOCAL
        );
    }
}
