//! Products of matrices.

use std::mem::MaybeUninit;

use ndarray::{ArrayView2, ArrayViewMut2, Ix2, RawArrayViewMut};

/// What a product is written to: numbers, or memory for them.
///
/// # Safety
///
/// It has the layout of a number, and each number is one of its values.
#[allow(unsafe_code)]
pub unsafe trait Place: Copy {
    /// The number 0.
    const ZERO: Self;
}

// SAFETY: it is a number.
#[allow(unsafe_code)]
unsafe impl Place for f32 {
    const ZERO: Self = 0.0;
}

// SAFETY: it has the layout of a number, and any bits are one of its values.
#[allow(unsafe_code)]
unsafe impl Place for MaybeUninit<f32> {
    const ZERO: Self = Self::new(0.0);
}

/// `dst = lhs × rhs`, on the calling thread; returns the product.
///
/// # Panics
///
/// Panics if the shapes do not fit.
pub fn multiply<'a, T: Place>(
    mut dst: ArrayViewMut2<'a, T>,
    lhs: ArrayView2<f32>,
    rhs: ArrayView2<f32>,
) -> ArrayViewMut2<'a, f32> {
    if lhs.ncols() == 0 {
        dst.fill(T::ZERO);
    } else {
        product(dst.raw_view_mut().cast(), false, lhs, rhs);
    }
    // SAFETY: a place is a number or memory for one, and all have been written. Of the two
    // views, this alone is used from here on.
    #[allow(unsafe_code)]
    unsafe {
        dst.raw_view_mut().cast().deref_into_view_mut()
    }
}

/// `dst += lhs × rhs`, on the calling thread.
///
/// # Panics
///
/// Panics if the shapes do not fit.
pub fn multiply_add(mut dst: ArrayViewMut2<f32>, lhs: ArrayView2<f32>, rhs: ArrayView2<f32>) {
    if lhs.ncols() > 0 {
        product(dst.raw_view_mut(), true, lhs, rhs);
    }
}

/// `dst` is borrowed exclusively; it is read where something is added to it.
fn product(
    mut dst: RawArrayViewMut<f32, Ix2>,
    add: bool,
    lhs: ArrayView2<f32>,
    rhs: ArrayView2<f32>,
) {
    let (m, n, k) = (lhs.nrows(), rhs.ncols(), lhs.ncols());
    assert_eq!(k, rhs.nrows(), "the inner dimensions differ");
    assert_eq!(dst.dim(), (m, n), "the result has another shape");
    if m == 0 || n == 0 {
        return;
    }
    let [dst_rs, dst_cs] = [dst.strides()[0], dst.strides()[1]];
    let dst = dst.as_mut_ptr();
    // SAFETY: the three views are of the dimensions given, which were checked against each
    // other, and an element (i, j) of a view lies at i and j times its strides from its
    // pointer. The destination is borrowed exclusively, so it overlaps neither operand.
    // What it holds is numbers where it is read.
    #[allow(unsafe_code)]
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            dst,
            dst_cs,
            dst_rs,
            add,
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
    fn products_of_views_are_those_of_the_definition() {
        for (m, n, k) in [(1, 1, 1), (3, 40, 7), (65, 17, 33), (4, 1, 300), (2, 3, 0)] {
            let lhs = numbers(m + 2, k + 1, 1);
            let rhs = numbers(n + 3, k + 2, 2);
            let lhs = lhs.slice(s![1..m + 1, ..k]);
            let rhs = rhs.slice(s![..n, 1..k + 1]).reversed_axes();
            let wanted = Array2::from_shape_fn((m, n), |(i, j)| {
                (0..k).map(|l| lhs[(i, l)] * rhs[(l, j)]).sum::<f32>()
            });
            let mut found = numbers(m, n + 4, 3);
            let before = found.clone();
            multiply(found.slice_mut(s![.., 2..n + 2]), lhs, rhs);
            assert_eq!(found.slice(s![.., 2..n + 2]), wanted);
            assert_eq!(found.slice(s![.., ..2]), before.slice(s![.., ..2]));
            assert_eq!(found.slice(s![.., n + 2..]), before.slice(s![.., n + 2..]));
            multiply_add(found.slice_mut(s![.., 2..n + 2]), lhs, rhs);
            assert_eq!(found.slice(s![.., 2..n + 2]), 2.0 * wanted);
        }
    }
}
