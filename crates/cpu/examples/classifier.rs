//! A residual classifier of images, computed with this crate and with Burn's own operations, which
//! give the same results up to rounding. Prints how far they differ and how long they take. With
//! large images (the first argument is their side in pixels), rounding also decides on which side of
//! a ReLU one of the many values near zero falls.
//!
//! ```sh
//! cargo run --release -p fcos-burn-cpu --features optim --example classifier
//! ```

use std::{env, error::Error, time::Instant};

use burn::{
    module::{Module, ModuleVisitor, Param},
    nn::{
        BatchNorm, BatchNormConfig, Linear, LinearConfig, PaddingConfig2d,
        conv::{Conv2d, Conv2dConfig},
        loss::CrossEntropyLossConfig,
        pool::{MaxPool2d, MaxPool2dConfig},
    },
    optim::GradientsParams,
    tensor::{Device, Distribution, Int, Tensor, activation::relu, ops::ConvOptions},
};

/// A convolution of 3×3 and the normalization of its output.
#[derive(Module, Debug)]
struct Layer {
    conv: Conv2d,
    norm: BatchNorm,
}

/// A stem of stride 2, a max pooling, residual blocks of two layers, and a linear classifier.
#[derive(Module, Debug)]
struct Classifier {
    stem: Layer,
    pool: MaxPool2d,
    blocks: Vec<[Layer; 2]>,
    linear: Linear,
}

/// Whose operations compute a network.
#[derive(Clone, Copy, Debug)]
enum Operations {
    Burn,
    ThisCrate,
}

impl Layer {
    fn new(channels: [usize; 2], stride: usize, device: &Device) -> Self {
        let conv = Conv2dConfig::new(channels, [3, 3])
            .with_stride([stride, stride])
            .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
            .with_bias(false);
        Self {
            conv: conv.init(device),
            norm: BatchNormConfig::new(channels[1]).init(device),
        }
    }

    /// Convolution and normalization. With this crate's operations, running statistics are left out:
    /// this example only trains.
    fn forward(&self, input: Tensor<4>, operations: Operations) -> Tensor<4> {
        let norm = &self.norm;
        match operations {
            Operations::Burn => norm.forward(self.conv.forward(input)),
            Operations::ThisCrate => {
                let output = self.convolve(input);
                let (gamma, beta) = (norm.gamma.val(), norm.beta.val());
                fcos_burn_cpu::batch_norm_train(output, gamma, beta, norm.epsilon).0
            }
        }
    }

    /// [`forward`](Self::forward), followed by ReLU.
    fn forward_relu(&self, input: Tensor<4>, operations: Operations) -> Tensor<4> {
        let norm = &self.norm;
        match operations {
            Operations::Burn => relu(self.forward(input, operations)),
            Operations::ThisCrate => {
                let output = self.convolve(input);
                let (gamma, beta) = (norm.gamma.val(), norm.beta.val());
                fcos_burn_cpu::batch_norm_relu_train(output, gamma, beta, norm.epsilon).0
            }
        }
    }

    fn convolve(&self, input: Tensor<4>) -> Tensor<4> {
        let options = ConvOptions::new(self.conv.stride, [1, 1], [1, 1], 1);
        fcos_burn_cpu::conv2d(input, self.conv.weight.val(), None, options)
    }
}

impl Classifier {
    fn new(channels: usize, blocks: usize, classes: usize, device: &Device) -> Self {
        let block = |_| [0; 2].map(|_| Layer::new([channels, channels], 1, device));
        Self {
            stem: Layer::new([3, channels], 2, device),
            pool: MaxPool2dConfig::new([3, 3])
                .with_strides([2, 2])
                .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
                .init(),
            blocks: (0..blocks).map(block).collect(),
            linear: LinearConfig::new(channels, classes).init(device),
        }
    }

    fn forward(&self, images: Tensor<4>, operations: Operations) -> Tensor<2> {
        let stem = self.stem.forward_relu(images, operations);
        let mut features = match operations {
            Operations::Burn => self.pool.forward(stem),
            Operations::ThisCrate => fcos_burn_cpu::max_pool2d(&self.pool, stem),
        };
        for [first, second] in &self.blocks {
            features = match operations {
                Operations::Burn => {
                    let output = first.forward_relu(features.clone(), operations);
                    relu(second.forward(output, operations) + features)
                }
                Operations::ThisCrate => {
                    let (features, shortcut) = fcos_burn_cpu::branch(features);
                    let output = first.forward_relu(features, operations);
                    shortcut.add_relu(second.forward(output, operations))
                }
            };
        }
        let [images, channels, _, _] = features.dims();
        let means = features.flatten::<3>(2, 3).mean_dim(2);
        self.linear.forward(means.reshape([images, channels]))
    }

    /// The loss of a batch and the gradients of all parameters.
    fn step(
        &self,
        images: Tensor<4>,
        labels: Tensor<1, Int>,
        operations: Operations,
    ) -> (Tensor<1>, GradientsParams) {
        let logits = self.forward(images, operations);
        let loss = CrossEntropyLossConfig::new()
            .init(&logits.device())
            .forward(logits, labels);
        let gradients = GradientsParams::from_grads(loss.backward(), self);
        (loss, gradients)
    }
}

/// The squared norms of a gradient and of its difference to another one.
struct Squares<'a> {
    gradients: [&'a GradientsParams; 2],
    whole: f32,
    difference: f32,
}

impl ModuleVisitor for Squares<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let [Some(a), Some(b)] = self.gradients.map(|all| all.get::<D>(param.id)) {
            self.whole += a.clone().square().sum().into_scalar::<f32>();
            self.difference += (a - b).square().sum().into_scalar::<f32>();
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args()
        .skip(1)
        .map(|argument| argument.parse::<usize>());
    let side = arguments.next().transpose()?.unwrap_or(96);
    let device = Device::flex().autodiff();
    device.seed(0);
    let model = Classifier::new(64, 4, 10, &device);
    let images = Tensor::<4>::random([8, 3, side, side], Distribution::Normal(0.0, 1.0), &device);
    let labels = Tensor::<1, Int>::arange(0..8, &device);

    let [burns, ours] = [Operations::Burn, Operations::ThisCrate].map(|operations| {
        let compute = || model.step(images.clone(), labels.clone(), operations);
        let (loss, gradients) = compute();
        let milliseconds = (0..5).map(|_| {
            let started = Instant::now();
            compute();
            1e3 * started.elapsed().as_secs_f64()
        });
        let fastest = milliseconds.fold(f64::INFINITY, f64::min);
        let loss = loss.into_scalar::<f32>();
        println!("{operations:?}: loss {loss:.6}, {fastest:.1} ms");
        (gradients, fastest)
    });
    let mut squares = Squares {
        gradients: [&burns.0, &ours.0],
        whole: 0.0,
        difference: 0.0,
    };
    model.visit(&mut squares);
    println!(
        "gradients differ by {:.1e} of their norm; {:.2} of Burn's time",
        (squares.difference / squares.whole).sqrt(),
        ours.1 / burns.1
    );
    Ok(())
}
