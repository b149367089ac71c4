//! Results in memory that is not zeroed before it is written. Zeroing it, on the thread that
//! allocates it, would take a tenth of a training step.

use std::mem::MaybeUninit;

/// A vector of `length` values, initialized by `write`.
///
/// # Safety
///
/// `write` must initialize every value.
#[allow(unsafe_code)]
pub unsafe fn vec_written_by(
    length: usize,
    write: impl FnOnce(&mut [MaybeUninit<f32>]),
) -> Vec<f32> {
    let mut values = Vec::with_capacity(length);
    let spare = &mut values.spare_capacity_mut()[..length];
    if cfg!(debug_assertions) {
        // A value that `write` misses shows up as NaN.
        spare.fill(MaybeUninit::new(f32::NAN));
    }
    write(spare);
    // SAFETY: the capacity is at least `length`, and the caller guarantees that `write` has
    // initialized the first `length` values.
    unsafe { values.set_len(length) };
    values
}

/// Initializes all values to 0.
#[allow(unsafe_code)]
pub fn zeroed(values: &mut [MaybeUninit<f32>]) -> &mut [f32] {
    values.fill(MaybeUninit::new(0.0));
    // SAFETY: all values have just been initialized.
    unsafe { values.assume_init_mut() }
}

/// Values as memory that is only written.
///
/// # Safety
///
/// The caller must write nothing but initialized values.
#[allow(unsafe_code)]
pub unsafe fn as_uninit(values: &mut [f32]) -> &mut [MaybeUninit<f32>] {
    let values: *mut [f32] = values;
    // SAFETY: both have the same layout, and the caller keeps the values initialized.
    unsafe { &mut *(values as *mut [MaybeUninit<f32>]) }
}
