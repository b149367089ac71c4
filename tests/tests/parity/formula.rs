//! Weights and images by the same formula as in `tests/reference/formula.py`.

use std::{collections::HashMap, path::Path};

use safetensors::{Dtype, tensor::TensorView};

/// Numbers in [0, 1): SplitMix64, seeded by the FNV-1a hash of the name, 24 bits each.
pub fn uniform(name: &str, count: usize) -> impl Iterator<Item = f64> {
    let seed = name.bytes().fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
    });
    (1..=count as u64).map(move |index| {
        let mut state = seed.wrapping_add(index.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        state = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        state = (state ^ (state >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        state ^= state >> 31;
        (state >> 40) as f64 / f64::from(1 << 24)
    })
}

/// The weight called `name` in a state dict of torchvision or the original FCOS code.
pub fn weight(name: &str, shape: &[usize]) -> Vec<f32> {
    let volume: usize = shape.iter().product();
    let value = |u: f64| {
        if shape.len() == 4 {
            let gain = if name.contains(".cls_logits.") {
                8.0
            } else {
                1.0
            };
            let fan_in: usize = shape[1..].iter().product();
            (2.0 * u - 1.0) * (gain * 3.0 / fan_in as f64).sqrt()
        } else if name.ends_with("running_var") {
            0.5 + u
        } else if name.ends_with("running_mean") {
            0.4 * u - 0.2
        } else if name.ends_with("cls_logits.bias") {
            u - 4.0
        } else if name.ends_with("bbox_reg.bias") {
            1.0 + u
        } else if name.ends_with("bbox_pred.bias") {
            2.0 + u
        } else if name.ends_with(".weight") || name.ends_with(".scale") {
            0.75 + 0.5 * u
        } else {
            0.2 * u - 0.1
        }
    };
    uniform(name, volume).map(|u| value(u) as f32).collect()
}

/// A normalized image of shape `[1, 3, height, width]` with values in [-2, 2).
pub fn image(name: &str, height: usize, width: usize) -> Vec<f32> {
    uniform(name, 3 * height * width)
        .map(|u| (4.0 * u - 2.0) as f32)
        .collect()
}

/// Writes weights to a safetensors file, with each name replaced by `rename(name)`.
pub fn write_safetensors(
    path: &Path,
    names: &[(String, Vec<usize>)],
    rename: impl Fn(&str) -> String,
) {
    let data: Vec<(String, &[usize], Vec<u8>)> = names
        .iter()
        .map(|(name, shape)| {
            let values = weight(name, shape);
            let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
            (rename(name), shape.as_slice(), bytes)
        })
        .collect();
    let views: HashMap<&str, TensorView<'_>> = data
        .iter()
        .map(|(name, shape, bytes)| {
            let view = TensorView::new(Dtype::F32, shape.to_vec(), bytes).unwrap();
            (name.as_str(), view)
        })
        .collect();
    safetensors::serialize_to_file(views, None, path).unwrap();
}
