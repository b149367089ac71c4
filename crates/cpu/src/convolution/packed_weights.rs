//! Packed weights of convolutions without autodiff, kept for the next time.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak},
};

use burn::{
    backend::{Flex, TensorMetadata, tensor::FloatTensor},
    tensor::Bytes,
};

use crate::{
    flex::values,
    product::{ProductFormat, lanes},
};

use super::{
    algorithm::{Algorithm, PackedWeight},
    geometry::Geometry,
};

/// What a packed weight depends on. The memory of a weight, by its address, does not change: as long
/// as an entry refers to it, tensors are not updated in place, and the address is not used again.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    memory: usize,
    shape: [usize; 4],
    algorithm: Algorithm,
    format: ProductFormat,
    lanes: usize,
}

struct Entry {
    /// Gone when no tensor has this memory any more.
    memory: Weak<Bytes>,
    /// `None` for a weight that was used once: it may have been computed for this use alone.
    packed: Option<Arc<PackedWeight<'static>>>,
}

/// The most values of a weight whose transformed kernels are kept, which take four times the memory. Large
/// weights have so many products that the transform takes little of the time.
const MAX_TRANSFORMED: usize = 1 << 18;

static ENTRIES: LazyLock<Mutex<HashMap<Key, Entry>>> = LazyLock::new(Mutex::default);

fn entries() -> MutexGuard<'static, HashMap<Key, Entry>> {
    ENTRIES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Drops what was kept for weights that no longer exist.
fn drop_unused(entries: &mut HashMap<Key, Entry>) {
    entries.retain(|_, entry| entry.memory.strong_count() > 0);
}

/// A packed weight that is not kept, of a contiguous tensor.
pub fn fresh<'a>(
    weight: &'a FloatTensor<Flex>,
    algorithm: Algorithm,
    format: ProductFormat,
    geometry: &Geometry,
) -> Arc<PackedWeight<'a>> {
    drop_unused(&mut entries());
    let filters = weight.shape()[0];
    Arc::new(PackedWeight::new(
        algorithm,
        format,
        values(weight),
        filters,
        geometry,
    ))
}

/// Whether a tensor is all of its memory, in order.
pub fn is_whole(weight: &FloatTensor<Flex>) -> bool {
    weight.is_contiguous() && weight.storage::<f32>().len() == weight.shape().num_elements()
}

/// A packed weight, which is kept from the second use on, of a [whole](is_whole) tensor. It is dropped by
/// the first convolution after the weight that packs another one.
pub fn kept<'a>(
    weight: &'a FloatTensor<Flex>,
    algorithm: Algorithm,
    format: ProductFormat,
    geometry: &Geometry,
) -> Arc<PackedWeight<'a>> {
    debug_assert!(
        is_whole(weight),
        "the address of a part may be that of another"
    );
    let shape: [usize; 4] = weight.shape().dims();
    let count = shape.iter().product::<usize>();
    if algorithm == Algorithm::Winograd && count > MAX_TRANSFORMED {
        return fresh(weight, algorithm, format, geometry);
    }
    let memory = weight.data_arc();
    let key = Key {
        memory: Arc::as_ptr(&memory).addr(),
        shape,
        algorithm,
        format,
        lanes: lanes(),
    };
    let is_first_use = match entries().get(&key) {
        Some(Entry {
            packed: Some(packed),
            ..
        }) => return packed.clone(),
        Some(Entry { packed: None, .. }) => false,
        None => true,
    };
    let weight = PackedWeight::new(algorithm, format, values(weight), shape[0], geometry);
    let (packed, kept) = match is_first_use {
        true => (Arc::new(weight), None),
        false => {
            let packed = Arc::new(weight.compact());
            (packed.clone(), Some(packed))
        }
    };
    let mut entries = entries();
    drop_unused(&mut entries);
    let entry = Entry {
        memory: Arc::downgrade(&memory),
        packed: kept,
    };
    entries.insert(key, entry);
    packed
}

#[cfg(test)]
#[allow(clippy::expect_used)]
mod tests {
    use burn::tensor::{Device, Tensor, ops::ConvOptions};

    use super::*;
    use crate::{convolution::conv2d, flex::untracked, simd::Level};

    const SHAPE: [usize; 4] = [20, 24, 3, 3];

    fn geometry() -> Geometry {
        Geometry::new([6, 6], [3, 3], [1, 1], [1, 1], [1, 1]).expect("the kernel fits")
    }

    fn flex(tensor: &Tensor<4>) -> FloatTensor<Flex> {
        untracked(tensor).expect("a Flex tensor")
    }

    fn pack(weight: &FloatTensor<Flex>) -> Arc<PackedWeight<'_>> {
        kept(weight, Algorithm::Direct, ProductFormat::F32, &geometry())
    }

    fn is_listed(address: usize) -> bool {
        entries().keys().any(|key| key.memory == address)
    }

    #[test]
    fn weights_are_kept_from_the_second_use_until_they_are_dropped() {
        let _level = Level::hold();
        let tensor = Tensor::<4>::ones(SHAPE, &Device::flex());
        let reshaped = flex(&tensor.clone().reshape([24, 20, 3, 3]));
        let weight = flex(&tensor);
        let address = Arc::as_ptr(&weight.data_arc()).addr();
        let uses = [(); 4].map(|()| pack(&weight));
        assert!(!Arc::ptr_eq(&uses[0], &uses[1]));
        assert!(Arc::ptr_eq(&uses[1], &uses[2]) && Arc::ptr_eq(&uses[2], &uses[3]));
        // Another algorithm and another shape of the same memory are packed apart.
        let winograd = kept(
            &weight,
            Algorithm::Winograd,
            ProductFormat::F32,
            &geometry(),
        );
        assert!(matches!(&*winograd, PackedWeight::Winograd(_)));
        assert!(!Arc::ptr_eq(&uses[3], &pack(&reshaped)));

        assert!(is_listed(address));
        drop((uses, winograd));
        drop((tensor, weight, reshaped));
        pack(&flex(&Tensor::ones(SHAPE, &Device::flex())));
        assert!(!is_listed(address));
    }

    #[test]
    fn large_transformed_weights_are_not_kept() {
        let _level = Level::hold();
        let weight = flex(&Tensor::ones([256, 256, 3, 3], &Device::flex()));
        let uses =
            |algorithm| [(); 3].map(|()| kept(&weight, algorithm, ProductFormat::F32, &geometry()));
        let [_, second, third] = uses(Algorithm::Winograd);
        assert!(!Arc::ptr_eq(&second, &third));
        let [_, second, third] = uses(Algorithm::Direct);
        assert!(Arc::ptr_eq(&second, &third));
    }

    #[test]
    fn a_weight_that_is_changed_is_packed_anew() {
        let _level = Level::hold();
        let mut weight = Tensor::<4>::ones(SHAPE, &Device::flex());
        let value = |weight: &Tensor<4>| match &*pack(&flex(weight)) {
            PackedWeight::Direct(panels) => panels.panel(0, 0).values[0],
            PackedWeight::Winograd(_) | PackedWeight::WinogradInGroups { .. } => f32::NAN,
        };
        let first = [(); 2].map(|()| value(&weight));
        // The only tensor of its memory, which Burn would otherwise update in place.
        weight = weight.mul_scalar(2.0);
        let second = [(); 2].map(|()| value(&weight));
        assert_eq!([first, second], [[1.0; 2], [2.0; 2]]);
    }

    #[test]
    fn formats_are_kept_apart() {
        let _level = Level::hold();
        let weight = flex(&Tensor::ones(SHAPE, &Device::flex()));
        let formats = [ProductFormat::F32, ProductFormat::Bf16];
        for _ in 0..3 {
            for format in formats {
                let packed = kept(&weight, Algorithm::Direct, format, &geometry());
                match &*packed {
                    PackedWeight::Direct(panels) => assert_eq!(panels.format(), format),
                    packed => panic!("{packed:?}"),
                }
            }
        }
    }

    #[test]
    fn parts_of_other_tensors_are_not_kept() {
        let _level = Level::hold();
        let device = Device::flex();
        let ones = |filters| Tensor::<4>::ones([filters, 24, 3, 3], &device);
        // Of shapes that no other test has.
        for (weight, is_kept) in [
            (ones(20).narrow(0, 1, 19), false),
            (ones(18).swap_dims(2, 3), false),
            (ones(17), true),
        ] {
            let options = ConvOptions::new([1, 1], [1, 1], [1, 1], 1);
            let input = Tensor::ones([1, 24, 6, 6], &device);
            conv2d(input, weight.clone(), None, options);
            let shape = weight.dims();
            let is_found = entries().keys().any(|key| key.shape == shape);
            assert_eq!(is_found, is_kept, "{shape:?}");
        }
    }
}
