//! Times the correlation coefficients. Run with `cargo bench -p fcos-burn-eval`.

use divan::{Bencher, black_box};
use fcos_burn_eval::correlation::{kendall, pearson, spearman};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

fn main() {
    divan::main();
}

/// Scores with three decimals, so that there are ties, and IoUs that correlate with them.
fn pairs(count: usize) -> [Vec<f64>; 2] {
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let scores: Vec<f64> = (0..count)
        .map(|_| f64::from(rng.random_range(0..1000_u32)) / 1000.0)
        .collect();
    let ious = scores
        .iter()
        .map(|score| 0.5 * score + 0.5 * rng.random::<f64>())
        .collect();
    [scores, ious]
}

const COUNTS: [usize; 3] = [1_000, 30_000, 250_000];

#[divan::bench(args = COUNTS)]
fn kendall_of_pairs(bencher: Bencher, count: usize) {
    let [scores, ious] = pairs(count);
    bencher.bench_local(|| black_box(kendall(&scores, &ious)));
}

#[divan::bench(args = COUNTS)]
fn spearman_of_pairs(bencher: Bencher, count: usize) {
    let [scores, ious] = pairs(count);
    bencher.bench_local(|| black_box(spearman(&scores, &ious)));
}

#[divan::bench(args = COUNTS)]
fn pearson_of_pairs(bencher: Bencher, count: usize) {
    let [scores, ious] = pairs(count);
    bencher.bench_local(|| black_box(pearson(&scores, &ious)));
}
