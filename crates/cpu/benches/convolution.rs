//! Times the convolutions of a detector with this crate and with Burn's Flex backend. Run with
//! `cargo bench --workspace --bench convolution`.

use std::fmt;

use burn::tensor::{Device, Distribution, Tensor, module, ops::ConvOptions};
use divan::{Bencher, black_box};
use fcos_burn_cpu::conv2d;

fn main() {
    divan::main();
}

/// Batch size, input channels, output channels, kernel size, stride and input size.
#[derive(Clone, Copy)]
struct Case(usize, usize, usize, usize, usize, usize);

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Self(batch, channels, filters, kernel, stride, side) = self;
        write!(
            f,
            "{batch}×{channels}→{filters}, {kernel}×{kernel}/{stride}, {side}×{side}"
        )
    }
}

const CASES: [Case; 10] = [
    Case(1, 3, 64, 7, 2, 320),
    Case(1, 64, 64, 3, 1, 80),
    Case(1, 256, 256, 3, 1, 40),
    Case(1, 512, 512, 3, 1, 10),
    Case(1, 256, 512, 3, 2, 20),
    Case(1, 512, 128, 1, 1, 40),
    Case(1, 128, 512, 1, 1, 40),
    Case(1, 512, 1024, 1, 2, 40),
    Case(8, 32, 32, 3, 1, 28),
    Case(8, 64, 64, 3, 1, 8),
];

type Convolution = fn(Tensor<4>, Tensor<4>, Option<Tensor<1>>, ConvOptions<2>) -> Tensor<4>;

/// The input lies in memory as the convolution's own output does.
fn tensors(
    case: Case,
    convolution: Convolution,
    device: &Device,
) -> (Tensor<4>, Tensor<4>, ConvOptions<2>) {
    let Case(batch, channels, filters, kernel, stride, side) = case;
    let random = |shape: [usize; 4]| Tensor::random(shape, Distribution::Normal(0.0, 1.0), device);
    let input = random([batch, channels, side, side]);
    let identity = Tensor::<2>::eye(channels, device).reshape([channels as i32, -1, 1, 1]);
    let pointwise = ConvOptions::new([1, 1], [0, 0], [1, 1], 1);
    (
        convolution(input, identity, None, pointwise).detach(),
        random([filters, channels, kernel, kernel]),
        ConvOptions::new([stride; 2], [kernel / 2; 2], [1; 2], 1),
    )
}

fn forward(bencher: Bencher, case: Case, convolution: Convolution) {
    let (input, weight, options) = tensors(case, convolution, &Device::flex());
    bencher.bench_local(|| {
        black_box(convolution(
            input.clone(),
            weight.clone(),
            None,
            options.clone(),
        ))
    });
}

fn forward_backward(bencher: Bencher, case: Case, convolution: Convolution) {
    let (input, weight, options) = tensors(case, convolution, &Device::flex().autodiff());
    let (input, weight) = (input.require_grad(), weight.require_grad());
    bencher.bench_local(|| {
        let output = convolution(input.clone(), weight.clone(), None, options.clone());
        black_box(output.sum().backward())
    });
}

#[divan::bench(args = CASES)]
fn forward_fcos_burn_cpu(bencher: Bencher, case: Case) {
    forward(bencher, case, conv2d);
}

#[divan::bench(args = CASES)]
fn forward_burn_flex(bencher: Bencher, case: Case) {
    forward(bencher, case, module::conv2d);
}

#[divan::bench(args = CASES)]
fn forward_backward_fcos_burn_cpu(bencher: Bencher, case: Case) {
    forward_backward(bencher, case, conv2d);
}

#[divan::bench(args = CASES)]
fn forward_backward_burn_flex(bencher: Bencher, case: Case) {
    forward_backward(bencher, case, module::conv2d);
}
