//! Scratch memory for intermediate results.

use std::{cell::RefCell, ops::Deref};

/// The number of free buffers that a thread keeps. Fresh memory from the operating system,
/// page by page, would take longer than many of the computations in it.
const MAX_FREE: usize = 4;

thread_local! {
    static FREE: RefCell<Vec<Vec<f32>>> = const { RefCell::new(Vec::new()) };
}

/// The values of one line of the cache, at which the values of a buffer begin: a vector that crosses
/// two lines takes twice as long to read or write.
pub const LINE: usize = 16;

/// A growing buffer whose memory is reused by later buffers of the thread that drops it.
#[derive(Debug, Default)]
pub struct Scratch(Vec<f32>);

impl Scratch {
    /// An empty buffer.
    pub fn new() -> Self {
        Self(Vec::new())
    }

    /// The first `length` values, of unspecified contents.
    pub fn slice(&mut self, length: usize) -> &mut [f32] {
        if self.0.is_empty() {
            self.0 = free_buffer(length + LINE);
        }
        if self.0.len() < length + LINE {
            // Not resized, which would copy the old contents.
            self.0 = vec![0.0; length + LINE];
        }
        let start = self.start();
        &mut self.0[start..start + length]
    }

    /// The first `length` values, in memory of that size.
    pub fn compact(self, length: usize) -> Self {
        let mut compact = Self(vec![0.0; length + LINE]);
        compact.slice(length).copy_from_slice(&self[..length]);
        compact
    }

    /// The index of the first value that begins a line.
    fn start(&self) -> usize {
        let bytes = LINE * size_of::<f32>();
        self.0.as_ptr().align_offset(bytes).min(self.0.len())
    }
}

impl Deref for Scratch {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.0[self.start()..]
    }
}

/// The smallest free buffer of this thread with that many values, or else the largest.
fn free_buffer(length: usize) -> Vec<f32> {
    FREE.with_borrow_mut(|free| {
        let by_length = |index: &usize| free[*index].len();
        let fitting = (0..free.len()).filter(|index| free[*index].len() >= length);
        let found =
            (fitting.min_by_key(by_length)).or_else(|| (0..free.len()).max_by_key(by_length));
        found.map_or_else(Vec::new, |index| free.swap_remove(index))
    })
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let buffer = std::mem::take(&mut self.0);
        if buffer.is_empty() {
            return;
        }
        // The list is gone if the thread is terminating; the buffer is then freed.
        let _ = FREE.try_with(|free| {
            let mut free = free.borrow_mut();
            if free.len() < MAX_FREE {
                free.push(buffer);
            }
        });
    }
}
