//! Memory for results, not cleared before they are written: to clear it, on the thread that
//! asks for it, would take a tenth of a training step.

use std::mem::MaybeUninit;

/// `length` values, each of which `write` writes.
///
/// # Safety
///
/// `write` must write every value.
#[allow(unsafe_code)]
pub unsafe fn written(length: usize, write: impl FnOnce(&mut [MaybeUninit<f32>])) -> Vec<f32> {
    let mut values = Vec::with_capacity(length);
    let room = &mut values.spare_capacity_mut()[..length];
    if cfg!(debug_assertions) {
        // So that a value that is not written is found.
        room.fill(MaybeUninit::new(f32::NAN));
    }
    write(room);
    // SAFETY: the vector has room for so many values, and the caller promises that they
    // have been written.
    unsafe { values.set_len(length) };
    values
}

/// The same memory, all 0.
#[allow(unsafe_code)]
pub fn zeroed(values: &mut [MaybeUninit<f32>]) -> &mut [f32] {
    values.fill(MaybeUninit::new(0.0));
    // SAFETY: all values have been written.
    unsafe { values.assume_init_mut() }
}
