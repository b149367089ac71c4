//! Losses of the order of scores, with error-driven gradients.
//!
//! An error-driven gradient is not the derivative of the loss, which is 0 almost everywhere, but
//! the update that the error of each positive element asks for: the positive moves up by its error,
//! and those that cause the error together move down by as much (Chen et al., [Towards Accurate
//! One-Stage Object Detection with AP-Loss](https://arxiv.org/abs/1904.06373), 2019).

use std::iter::repeat_n;

use burn::tensor::{Int, Tensor};

use crate::corners::EPSILON;
use crate::host::{failed, read, read_integers, with_gradient, write};
use crate::positives::IGNORED;
use crate::ramp_sums::{Line, RampSums};

/// The localization error of an IoU of 0 in aLRP, `1 / (1 − τ)` with `τ = ½`.
const ALRP_ERROR: f64 = 2.0;

/// The least soft number of elements above a positive one that has a gradient because of them, in
/// Rank & Sort.
const RANK_SORT_FLOOR: f64 = 1e-10;

/// That in aLRP, whose gradient divides by it.
const ALRP_FLOOR: f64 = 1e-5;

/// A loss of the order of scores: see the variants of
/// [`ClassificationLoss`](crate::ClassificationLoss).
#[derive(Clone, Copy, Debug)]
pub(crate) enum RankingLoss {
    RankSort { delta: f64 },
    Alrp { delta: f64 },
}

/// The losses of the elements, and the weights of boxes that follow from the ranks.
pub(crate) struct Ranking {
    loss: RankingLoss,
    /// `[num_locations, num_classes]`: the errors of positive elements, 0 elsewhere.
    pub(crate) losses: Tensor<2>,
    /// `[num_locations]`, 0 for background.
    box_weights: Tensor<1>,
}

impl Ranking {
    /// The sum of losses of boxes, `[num_locations]`, weighted by rank.
    pub(crate) fn weighted_sum(&self, losses: Tensor<1>) -> Tensor<1> {
        (losses * self.box_weights.clone()).sum()
    }

    /// The localization loss, scaled so that it is in balance with the classification loss.
    pub(crate) fn balanced(&self, localization: Tensor<1>, classification: Tensor<1>) -> Tensor<1> {
        let value = localization.clone().detach();
        let classification = classification.detach();
        let balanced = match self.loss {
            RankingLoss::RankSort { .. } => classification,
            RankingLoss::Alrp { .. } => classification + value.clone(),
        };
        let vanishing = value.clone().lower_scalar(EPSILON);
        localization * (balanced / value.mask_fill(vanishing, 1.0))
    }
}

impl RankingLoss {
    /// Ranks the elements of these locations, on the host.
    ///
    /// # Shapes
    ///
    /// - logits: `[num_locations, num_classes]`
    /// - labels: `[num_locations]`, negative for background and ignored locations
    /// - ious: `[num_locations]`, or what takes their place; any value for other locations
    pub(crate) fn rank(
        self,
        logits: Tensor<2>,
        labels: &Tensor<1, Int>,
        ious: &Tensor<1>,
    ) -> Ranking {
        let classes = logits.dims()[1];
        let on_host = read(&logits).zip(read_integers(labels)).zip(read(ious));
        let finite =
            on_host.filter(|((logits, _), _)| logits.iter().all(|logit| logit.is_finite()));
        let Some(((values, labels), iou_values)) = finite else {
            return Ranking {
                loss: self,
                losses: failed(logits),
                box_weights: ious.clone().detach(),
            };
        };
        let positives = Positive::sorted(&values, classes, &labels, &iou_values);
        let ignored = labels.iter().map(|label| *label == i64::from(IGNORED));
        let ignored: Vec<bool> = ignored
            .flat_map(|ignored| repeat_n(ignored, classes))
            .collect();
        let ranked = self.rank_on_host(&values, &positives, &ignored);
        let (mut losses, mut box_weights) = (vec![0.0; values.len()], vec![0.0; labels.len()]);
        for (positive, rank) in positives.iter().zip(&ranked.positives) {
            losses[positive.element] = rank.error as f32;
            box_weights[positive.element / classes] = rank.box_weight as f32;
        }
        Ranking {
            loss: self,
            losses: with_gradient(logits, losses, ranked.gradient),
            box_weights: write(box_weights, ious),
        }
    }

    /// `ignored` has a value for each element.
    fn rank_on_host(self, logits: &[f32], positives: &[Positive], ignored: &[bool]) -> Ranked {
        let (Self::RankSort { delta } | Self::Alrp { delta }) = self;
        let background = Background::new(logits, positives, ignored, delta);
        let ranks = match self {
            Self::RankSort { .. } => rank_sort(positives, &background, delta),
            Self::Alrp { .. } => alrp(positives, &background, delta),
        };
        let mut pull = RampSums::new(keys(positives), delta);
        for (index, rank) in ranks.iter().enumerate() {
            pull.add(index, [rank.push]);
        }
        let mut gradient = background.gradient(logits, &pull);
        for (positive, rank) in positives.iter().zip(&ranks) {
            gradient[positive.element] = rank.gradient as f32;
        }
        Ranked {
            positives: ranks,
            gradient,
        }
    }
}

/// A positive element: that of the labeled class of a positive location.
struct Positive {
    /// Its row-major index.
    element: usize,
    logit: f64,
    /// `1 − Î`.
    error: f64,
    /// The highest score of the location.
    score: f64,
}

impl Positive {
    /// All of them, by ascending logit.
    fn sorted(logits: &[f32], classes: usize, labels: &[i64], ious: &[f32]) -> Vec<Self> {
        let rows = labels.iter().enumerate().filter(|(_, label)| **label >= 0);
        let mut positives: Vec<Self> = rows
            .map(|(row, label)| {
                let of_row = &logits[row * classes..(row + 1) * classes];
                let highest = of_row.iter().copied().fold(f32::MIN, f32::max);
                Self {
                    element: row * classes + *label as usize,
                    logit: f64::from(of_row[*label as usize]),
                    error: 1.0 - f64::from(ious[row]),
                    score: 1.0 / (1.0 + (-f64::from(highest)).exp()),
                }
            })
            .collect();
        positives.sort_by(|a, b| a.logit.total_cmp(&b.logit));
        positives
    }
}

fn keys(positives: &[Positive]) -> Vec<f64> {
    positives.iter().map(|positive| positive.logit).collect()
}

/// The ranks of positive elements, and the gradient of all elements.
struct Ranked {
    /// In the order of the positives.
    positives: Vec<Rank>,
    gradient: Vec<f32>,
}

/// What the rank of a positive element implies.
#[derive(Clone, Copy, Debug, Default)]
struct Rank {
    error: f64,
    gradient: f64,
    /// The gradient of each element of background that is above it.
    push: f64,
    box_weight: f64,
}

/// The elements that are not positive, in buckets.
///
/// The borders are the logits of the positives plus and minus `δ`. Within a bucket, the comparison
/// with any positive is linear in the logit. A bucket can therefore be compared as a whole, by its
/// size and its mean, and all sums are those over its elements. This is the idea of [bucketed
/// ranking](https://arxiv.org/abs/2407.14204) (Yavuz et al., 2024), whose borders are the logits of
/// the positives themselves: its gradients are those of the losses at `δ = 0`, but not elsewhere.
struct Background {
    /// The bucket of each element. Elements below all borders, positive and ignored ones are in bucket
    /// 0, which no positive is compared with.
    bucket: Vec<u32>,
    /// The mean logit of each bucket that is not empty.
    means: Vec<f64>,
    /// The place in `means` of each bucket.
    place: Vec<usize>,
    /// The sums of the sizes.
    sizes: RampSums<1>,
}

impl Background {
    fn new(logits: &[f32], positives: &[Positive], ignored: &[bool], delta: f64) -> Self {
        let mut borders: Vec<f64> = positives
            .iter()
            .flat_map(|positive| [positive.logit - delta, positive.logit + delta])
            .collect();
        borders.sort_by(f64::total_cmp);
        let mut bucket: Vec<u32> = match borders.first() {
            None => vec![0; logits.len()],
            Some(&least) => (logits.iter().map(|&logit| f64::from(logit)).zip(ignored))
                .map(|(logit, ignored)| match *ignored || logit < least {
                    true => 0,
                    false => borders.partition_point(|border| *border <= logit) as u32,
                })
                .collect(),
        };
        for positive in positives {
            bucket[positive.element] = 0;
        }
        let mut buckets = vec![(0.0, 0.0); borders.len() + 1];
        for (&bucket, &logit) in bucket.iter().zip(logits) {
            let (size, sum) = &mut buckets[bucket as usize];
            *size += 1.0;
            *sum += f64::from(logit);
        }
        let (mut means, mut sizes) = (Vec::new(), Vec::new());
        let mut place = vec![0; buckets.len()];
        for (index, (size, sum)) in buckets.into_iter().enumerate().skip(1) {
            place[index] = means.len();
            if size > 0.0 {
                // Rounding must not move the mean out of the bucket.
                means.push(f64::max(sum / size, borders[index - 1]));
                sizes.push(size);
            }
        }
        let mut sums = RampSums::new(means.clone(), delta);
        for (index, size) in sizes.into_iter().enumerate() {
            sums.add(index, [size]);
        }
        Self {
            bucket,
            means,
            place,
            sizes: sums,
        }
    }

    /// The soft number of elements that are at least `logit`.
    fn at_least(&self, logit: f64) -> f64 {
        let [count] = self.sizes.at_least(logit);
        count.max(0.0)
    }

    /// The gradient of each element, of which those of positive elements are 0. `pull` has the
    /// positives with their [`push`](Rank::push).
    fn gradient(&self, logits: &[f32], pull: &RampSums<1>) -> Vec<f32> {
        let lines: Vec<Line> = self.means.iter().map(|mean| pull.at_most(*mean)).collect();
        let elements = self.bucket.iter().zip(logits);
        elements
            .map(|(&bucket, &logit)| match bucket {
                0 => 0.0,
                bucket => {
                    let line = lines[self.place[bucket as usize]];
                    line.at(f64::from(logit)).max(0.0) as f32
                }
            })
            .collect()
    }
}

/// Ranks by Rank & Sort.
fn rank_sort(positives: &[Positive], background: &Background, delta: f64) -> Vec<Rank> {
    let mut all = RampSums::new(keys(positives), delta);
    for (index, positive) in positives.iter().enumerate() {
        all.add(index, [1.0, positive.error]);
    }
    let mut ranks: Vec<Rank> = positives
        .iter()
        .map(|positive| {
            let above = background.at_least(positive.logit);
            let [among_positives, _] = all.at_least(positive.logit);
            let rank = among_positives + above;
            let error = above / rank;
            let has_gradient = above > RANK_SORT_FLOOR;
            Rank {
                error,
                gradient: if has_gradient { -error } else { 0.0 },
                push: if has_gradient { 1.0 / rank } else { 0.0 },
                box_weight: 0.0,
            }
        })
        .collect();
    sort_errors(positives, &all, delta, &mut ranks);

    let scores: f64 = positives.iter().map(|positive| positive.score).sum();
    for (rank, positive) in ranks.iter_mut().zip(positives) {
        rank.box_weight = positive.score * positives.len() as f64 / scores.max(f64::MIN_POSITIVE);
    }
    ranks
}

/// Adds the sorting errors: how much larger the mean localization error of the positives above each
/// one is than it would be without those of lower IoU. `all` has their number and their errors.
fn sort_errors(positives: &[Positive], all: &RampSums<2>, delta: f64, ranks: &mut [Rank]) {
    let by_iou = by_descending(positives, |positive| positive.error);
    let mut lower = RampSums::new(keys(positives), delta);
    let mut share = vec![0.0; positives.len()];
    for group in by_iou.chunk_by(|&a, &b| positives[a].error == positives[b].error) {
        for &index in group {
            let logit = positives[index].logit;
            let [count, errors] = all.at_least(logit);
            let [lower_count, lower_errors]: [f64; 2] = lower.at_least(logit);
            let current = errors / count;
            let sorted = (errors - lower_errors) / (count - lower_count);
            let error = (current - sorted).max(0.0);
            ranks[index].error += error;
            if lower_count > RANK_SORT_FLOOR {
                ranks[index].gradient -= error;
                share[index] = error / lower_count;
            }
        }
        for &index in group {
            lower.add(index, [1.0, positives[index].error]);
        }
    }
    let mut higher = RampSums::new(keys(positives), delta);
    for group in by_iou
        .chunk_by(|&a, &b| positives[a].error == positives[b].error)
        .rev()
    {
        for &index in group {
            let logit = positives[index].logit;
            ranks[index].gradient += higher.at_most(logit).at(logit).max(0.0);
        }
        for &index in group {
            higher.add(index, [share[index]]);
        }
    }
}

/// The indices of the positives by descending `key`.
fn by_descending(positives: &[Positive], key: impl Fn(&Positive) -> f64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..positives.len()).collect();
    order.sort_by(|&a, &b| key(&positives[b]).total_cmp(&key(&positives[a])));
    order
}

/// Ranks by average LRP.
fn alrp(positives: &[Positive], background: &Background, delta: f64) -> Vec<Rank> {
    let error = |positive: &Positive| ALRP_ERROR * positive.error;
    let mut all = RampSums::new(keys(positives), delta);
    for (index, positive) in positives.iter().enumerate() {
        all.add(index, [1.0, error(positive)]);
    }
    // The comparison of a positive with itself.
    let with_itself = if delta > 0.0 { 0.5 } else { 1.0 };
    // A box counts in the localization error of each positive that is not above it.
    let mut box_weight = 0.0;
    let mut ranks = Vec::with_capacity(positives.len());
    for equal in positives.chunk_by(|a, b| a.logit == b.logit) {
        let logit = equal[0].logit;
        let above = background.at_least(logit);
        let [count, errors] = all.at_least(logit);
        let rank = 1.0 + count - with_itself + above;
        box_weight += equal.len() as f64 / rank;
        ranks.extend(equal.iter().map(|positive| {
            let others = (errors - with_itself * error(positive)).max(0.0);
            let gradient = match above > ALRP_FLOOR {
                true => (others + above) / rank,
                false => 0.0,
            };
            Rank {
                error: above / rank,
                gradient: -gradient,
                push: gradient / above.max(ALRP_FLOOR),
                box_weight,
            }
        }));
    }
    ranks
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use burn::tensor::Device;

    use super::*;
    use crate::classification::ClassificationLoss;
    use crate::test_tensors::{assert_close, assert_finite, gradient, tensor1, tensor2, values};

    const CLASSES: usize = 3;

    struct Scene {
        logits: Vec<[f64; CLASSES]>,
        labels: Vec<i64>,
        ious: Vec<f64>,
    }

    impl Scene {
        fn random(rows: usize) -> Self {
            let mut state = 3_u64;
            let mut next = || {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                (state >> 40) as f64 / (1u64 << 24) as f64
            };
            Self {
                logits: (0..rows)
                    .map(|_| [0; CLASSES].map(|_| 6.0 * next() - 4.0))
                    .collect(),
                labels: (0..rows)
                    .map(|row| (row % 5) as i64 - 2)
                    .map(|l| l.max(-1))
                    .collect(),
                ious: (0..rows).map(|_| next()).collect(),
            }
        }

        fn rank(&self, loss: RankingLoss, logits: Tensor<2>) -> Ranking {
            let device = Device::flex();
            let labels = Tensor::from_ints(self.labels.as_slice(), &device);
            loss.rank(logits, &labels, &tensor1(&self.ious, &device))
        }

        fn losses(&self, loss: RankingLoss) -> Vec<f64> {
            values(
                self.rank(loss, tensor2(&self.logits, &Device::flex()))
                    .losses,
            )
        }

        fn gradient(&self, loss: RankingLoss) -> Vec<f64> {
            let logits = tensor2(&self.logits, &Device::flex());
            gradient(logits, |logits| self.rank(loss, logits).losses)
        }
    }

    const LOSSES: [RankingLoss; 4] = [
        RankingLoss::RankSort { delta: 0.5 },
        RankingLoss::RankSort { delta: 0.0 },
        RankingLoss::Alrp { delta: 1.0 },
        RankingLoss::Alrp { delta: 0.0 },
    ];

    /// The positives rise by their errors, and those that cause the errors fall by as much.
    #[test]
    fn gradients_add_up_to_0() {
        let scene = Scene::random(40);
        for loss in LOSSES {
            let slopes = scene.gradient(loss);
            assert!(slopes.iter().any(|slope| *slope > 0.01), "{loss:?}");
            assert_close(&[slopes.iter().sum()], &[0.0], 1e-4);
            for (row, slopes) in slopes.chunks(CLASSES).enumerate() {
                for (class, slope) in slopes.iter().enumerate() {
                    if scene.labels[row] != class as i64 {
                        assert!(*slope >= 0.0, "{loss:?}: {slope}");
                    }
                }
            }
        }
    }

    #[test]
    fn the_error_of_a_single_positive_is_the_share_of_background_above_it() {
        let scene = Scene {
            logits: vec![[0.0, 2.0, 0.25], [3.0, -4.0, -0.25], [-0.75, -9.0, 0.5]],
            labels: vec![0, -1, -1],
            ious: vec![0.3, 0.0, 0.0],
        };
        // Of 0.25, −0.25, −0.75 and 0.5, the ramp counts 3/4, 1/4, 0 and 1; 2 and 3 count 1 each.
        let above = 4.0;
        // A positive counts half in its own rank in Rank & Sort, and 1 in aLRP.
        for (loss, itself) in [
            (RankingLoss::RankSort { delta: 0.5 }, 0.5),
            (RankingLoss::Alrp { delta: 0.5 }, 1.0),
        ] {
            let error = above / (above + itself);
            assert_close(&[scene.losses(loss)[0]], &[error], 1e-6);
            let share = [0.0, 1.0, 0.75, 1.0, 0.0, 0.25, 0.0, 0.0, 1.0];
            let mut expected = share.map(|share| error * share / above);
            expected[0] = -error;
            assert_close(&scene.gradient(loss), &expected, 1e-6);
        }
    }

    #[test]
    fn sorted_positives_above_all_background_have_no_loss() {
        let scene = Scene {
            logits: vec![
                [4.0, -5.0, -6.0],
                [-7.0, 6.0, -5.0],
                [-9.0; 3],
                [8.0, -9.0, -9.0],
            ],
            labels: vec![0, 1, -1, 0],
            ious: vec![0.2, 0.5, 0.0, 0.9],
        };
        for loss in LOSSES {
            assert!(
                scene.losses(loss).iter().all(|value| value.abs() < 1e-6),
                "{loss:?}"
            );
            assert!(
                scene.gradient(loss).iter().all(|slope| *slope == 0.0),
                "{loss:?}"
            );
        }
        // With the IoUs in the opposite order, the positive with the lowest logit has the error
        // 1 − mean IoU above it, less its own, and pushes the others down.
        let reversed = Scene {
            ious: vec![0.9, 0.5, 0.0, 0.2],
            ..scene
        };
        let loss = RankingLoss::RankSort { delta: 0.0 };
        let errors = reversed.losses(loss);
        let expected = (0.1 + 0.5 + 0.8) / 3.0 - 0.1;
        assert_close(&[errors[0]], &[expected], 1e-6);
        let slopes = reversed.gradient(loss);
        assert_close(&[slopes[0]], &[-expected], 1e-6);
        assert!(slopes[9] > slopes[4] && slopes[4] > -0.1, "{slopes:?}");
    }

    #[test]
    fn boxes_are_weighted_by_rank_and_balanced_with_the_classes() {
        let device = Device::flex();
        let scene = Scene::random(30);
        let box_losses: Vec<f64> = (0..30).map(|row| 0.1 + 0.01 * f64::from(row)).collect();
        for (loss, both) in [
            (RankingLoss::RankSort { delta: 0.5 }, 0.0),
            (RankingLoss::Alrp { delta: 1.0 }, 1.0),
        ] {
            let ranking = scene.rank(loss, tensor2(&scene.logits, &device));
            let weights = values(ranking.box_weights.clone());
            let classification: f64 = values(ranking.losses.clone()).iter().sum();
            let weighted: f64 = weights.iter().zip(&box_losses).map(|(w, l)| w * l).sum();
            let expected = classification + both * weighted;
            let forward = |losses| {
                ranking.balanced(ranking.weighted_sum(losses), ranking.losses.clone().sum())
            };
            let found = values(forward(tensor1(&box_losses, &device)));
            assert_close(&found, &[expected], 1e-5);
            let slopes = gradient(tensor1(&box_losses, &device), forward);
            let expected: Vec<f64> = weights.iter().map(|w| w * expected / weighted).collect();
            assert_close(&slopes, &expected, 1e-5);
            for (label, weight) in scene.labels.iter().zip(weights) {
                assert_eq!(*label >= 0, weight > 0.0);
            }
            // Perfect boxes.
            assert_finite(&values(forward(Tensor::zeros([30], &device))));
            assert_finite(&gradient(Tensor::zeros([30], &device), forward));
        }
    }

    #[test]
    fn ignored_locations_are_not_ranked() {
        let scene = Scene::random(40);
        let mut ignoring = Scene::random(40);
        for row in (0..40).filter(|row| scene.labels[*row] < 0 && row % 3 == 0) {
            ignoring.labels[row] = IGNORED.into();
        }
        let kept: Vec<usize> = (0..40)
            .filter(|row| ignoring.labels[*row] != i64::from(IGNORED))
            .collect();
        let without = Scene {
            logits: kept.iter().map(|row| scene.logits[*row]).collect(),
            labels: kept.iter().map(|row| scene.labels[*row]).collect(),
            ious: kept.iter().map(|row| scene.ious[*row]).collect(),
        };
        for loss in LOSSES {
            let all = (ignoring.losses(loss), ignoring.gradient(loss));
            let rows = |values: &[f64]| -> Vec<f64> {
                let rows = kept
                    .iter()
                    .flat_map(|row| values[3 * row..3 * row + 3].to_vec());
                rows.collect()
            };
            assert_close(&rows(&all.0), &without.losses(loss), 1e-6);
            assert_close(&rows(&all.1), &without.gradient(loss), 1e-6);
            let others = (0..40).filter(|row| !kept.contains(row));
            for row in others {
                assert_eq!(all.1[3 * row..3 * row + 3], [0.0; 3], "{loss:?}");
            }
        }
    }

    #[test]
    fn batches_without_positives_or_rows_have_no_loss() {
        let background = Scene {
            labels: vec![-1; 10],
            ..Scene::random(10)
        };
        for loss in LOSSES {
            for scene in [&background, &Scene::random(0)] {
                assert!(scene.losses(loss).iter().all(|value| *value == 0.0));
                assert!(scene.gradient(loss).iter().all(|slope| *slope == 0.0));
            }
        }
    }

    #[test]
    fn logits_that_are_not_finite_give_a_loss_that_is_not() {
        let device = Device::flex();
        for logit in [f64::NAN, f64::INFINITY] {
            let loss = ClassificationLoss::RANK_SORT;
            let labels = Tensor::from_ints([0, -1], &device);
            let logits = tensor2(&[[logit], [0.0]], &device);
            let found = values(loss.forward(logits, labels, tensor1(&[0.5; 2], &device)));
            assert!(found.iter().all(|value| value.is_nan()), "{found:?}");
        }
    }
}
