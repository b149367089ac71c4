//! General matrix multiplication by the [`gemm`](https://crates.io/crates/gemm) crate, on the
//! calling thread.

use std::mem::MaybeUninit;

use ndarray::{ArrayView2, ArrayViewMut2, Ix2, RawArrayViewMut};

/// An element that a product can be written to: an `f32`, initialized or not.
///
/// # Safety
///
/// The type must have the layout of `f32`, and every `f32` must be a valid value of it.
#[allow(unsafe_code)]
pub unsafe trait Output: Copy {
    const ZERO: Self;
}

// SAFETY: the type is `f32`.
#[allow(unsafe_code)]
unsafe impl Output for f32 {
    const ZERO: Self = 0.0;
}

// SAFETY: `MaybeUninit<f32>` has the layout of `f32`, and any bits are a valid value of it.
#[allow(unsafe_code)]
unsafe impl Output for MaybeUninit<f32> {
    const ZERO: Self = Self::new(0.0);
}

/// `dst = lhs × rhs`. Returns `dst`, initialized.
///
/// # Panics
///
/// Panics if the shapes do not match.
pub fn multiply<'a, T: Output>(
    mut dst: ArrayViewMut2<'a, T>,
    lhs: ArrayView2<f32>,
    rhs: ArrayView2<f32>,
) -> ArrayViewMut2<'a, f32> {
    if lhs.ncols() == 0 {
        dst.fill(T::ZERO);
    } else {
        // SAFETY: `dst` is borrowed mutably and not read. Its elements have the layout of
        // `f32`.
        #[allow(unsafe_code)]
        unsafe {
            gemm(dst.raw_view_mut().cast(), false, lhs, rhs);
        }
    }
    // SAFETY: the elements have the layout of `f32`, and all of them have been initialized.
    // `dst` is not used again, so the returned view is the only one.
    #[allow(unsafe_code)]
    unsafe {
        dst.raw_view_mut().cast().deref_into_view_mut()
    }
}

/// `dst += lhs × rhs`.
///
/// # Panics
///
/// Panics if the shapes do not match.
pub fn multiply_add(mut dst: ArrayViewMut2<f32>, lhs: ArrayView2<f32>, rhs: ArrayView2<f32>) {
    if lhs.ncols() > 0 {
        // SAFETY: `dst` is borrowed mutably, and initialized.
        #[allow(unsafe_code)]
        unsafe {
            gemm(dst.raw_view_mut(), true, lhs, rhs);
        }
    }
}

/// `dst = lhs × rhs`, plus the old `dst` if `accumulate` is set. The inner dimension must not
/// be 0.
///
/// # Safety
///
/// The elements of `dst` must be valid for writes and accessible through it alone. If
/// `accumulate` is set, they must be initialized.
#[allow(unsafe_code)]
unsafe fn gemm(
    mut dst: RawArrayViewMut<f32, Ix2>,
    accumulate: bool,
    lhs: ArrayView2<f32>,
    rhs: ArrayView2<f32>,
) {
    let (m, n, k) = (lhs.nrows(), rhs.ncols(), lhs.ncols());
    assert_eq!(k, rhs.nrows(), "inner dimensions of the factors");
    assert_eq!(dst.dim(), (m, n), "shape of the product");
    if m == 0 || n == 0 {
        return;
    }
    let [dst_rs, dst_cs] = [dst.strides()[0], dst.strides()[1]];
    let dst = dst.as_mut_ptr();
    // SAFETY: the dimensions of the three views have been checked against each other, and
    // element (i, j) of a view lies at i and j times its strides from its pointer. The caller
    // guarantees that the destination overlaps neither factor, and is initialized if it is
    // read.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            dst,
            dst_cs,
            dst_rs,
            accumulate,
            lhs.as_ptr(),
            lhs.strides()[1],
            lhs.strides()[0],
            rhs.as_ptr(),
            rhs.strides()[1],
            rhs.strides()[0],
            1.0,
            1.0,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, s};

    use super::*;

    fn numbers(rows: usize, columns: usize, seed: usize) -> Array2<f32> {
        Array2::from_shape_fn((rows, columns), |(i, j)| {
            ((i * 7 + j * 13 + seed * 5) % 11) as f32 - 5.0
        })
    }

    #[test]
    fn products_of_strided_views_match_the_definition() {
        for (m, n, k) in [(1, 1, 1), (3, 40, 7), (65, 17, 33), (4, 1, 300), (2, 3, 0)] {
            let lhs = numbers(m + 2, k + 1, 1);
            let rhs = numbers(n + 3, k + 2, 2);
            let lhs = lhs.slice(s![1..m + 1, ..k]);
            let rhs = rhs.slice(s![..n, 1..k + 1]).reversed_axes();
            // Small integers, so that sums in any order are exact.
            let expected = Array2::from_shape_fn((m, n), |(i, j)| {
                (0..k).map(|l| lhs[(i, l)] * rhs[(l, j)]).sum::<f32>()
            });
            let mut dst = numbers(m, n + 4, 3);
            let before = dst.clone();
            multiply(dst.slice_mut(s![.., 2..n + 2]), lhs, rhs);
            assert_eq!(dst.slice(s![.., 2..n + 2]), expected);
            assert_eq!(dst.slice(s![.., ..2]), before.slice(s![.., ..2]));
            assert_eq!(dst.slice(s![.., n + 2..]), before.slice(s![.., n + 2..]));
            multiply_add(dst.slice_mut(s![.., 2..n + 2]), lhs, rhs);
            assert_eq!(dst.slice(s![.., 2..n + 2]), 2.0 * expected);
        }
    }
}
