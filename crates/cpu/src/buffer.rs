//! Memory for intermediate results.

use std::{cell::RefCell, ops::Deref};

/// Buffers that a thread keeps for the next layer: to get fresh memory from the system,
/// page by page, would take longer than much of what is computed in it.
const KEPT: usize = 4;

thread_local! {
    static FREE: RefCell<Vec<Vec<f32>>> = const { RefCell::new(Vec::new()) };
}

/// Values of any content, in memory that is used again.
#[derive(Debug)]
pub struct Buffer(Vec<f32>);

impl Buffer {
    /// An empty one.
    pub fn new() -> Self {
        Self(FREE.with_borrow_mut(Vec::pop).unwrap_or_default())
    }

    /// Its first `length` values, of any content.
    pub fn of_length(&mut self, length: usize) -> &mut [f32] {
        if self.0.len() < length {
            // Not the old content: to copy it would be for nothing.
            self.0.clear();
            self.0.resize(length, 0.0);
        }
        &mut self.0[..length]
    }
}

impl Deref for Buffer {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.0
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let buffer = std::mem::take(&mut self.0);
        // A thread that ends has no free buffers any more.
        let _ = FREE.try_with(|free| {
            let mut free = free.borrow_mut();
            if free.len() < KEPT {
                free.push(buffer);
            }
        });
    }
}
