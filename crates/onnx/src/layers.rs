//! Burn's layers as nodes.

use burn::{
    nn::{BatchNorm, GroupNorm, PaddingConfig2d, conv::Conv2d, pool::MaxPool2d},
    tensor::Tensor,
};
use fcos_burn_model::backbone::norm::Norm;

use crate::{
    error::OnnxError,
    graph::{Attribute, Graph, Value},
};

/// Layers and operations on maps `[batch, channels, height, width]`.
impl Graph {
    /// A convolution.
    ///
    /// # Errors
    ///
    /// If the layer is padded by [`PaddingConfig2d::Same`], or its weights cannot be stored.
    pub fn conv(&mut self, layer: &Conv2d, input: &Value) -> Result<Value, OnnxError> {
        let weight = self.weights("weight", Some(layer.weight.id), layer.weight.val())?;
        let bias = match &layer.bias {
            Some(bias) => Some(self.parameter("bias", Some(bias.id), bias.val())?),
            None => None,
        };
        self.conv_node(layer, input, &weight, bias.as_ref())
    }

    /// A convolution and a normalization. Batch normalization is folded into the weights of the
    /// convolution, as in this project's own inference.
    ///
    /// # Errors
    ///
    /// As for [`conv`](Self::conv).
    pub fn conv_norm(
        &mut self,
        layer: &Conv2d,
        norm: &Norm,
        input: &Value,
    ) -> Result<Value, OnnxError> {
        let weight = layer.weight.val();
        let Some([scale, shift]) = norm.scale_and_shift(&weight.device()) else {
            let features = self.conv(layer, input)?;
            return self.norm(norm, &features);
        };
        let shift = match &layer.bias {
            Some(bias) => shift + bias.val() * scale.clone(),
            None => shift,
        };
        let weight = self.weights("weight", None, weight * scale.reshape([-1, 1, 1, 1]))?;
        let bias = self.parameter("bias", None, shift)?;
        self.conv_node(layer, input, &weight, Some(&bias))
    }

    fn conv_node(
        &mut self,
        layer: &Conv2d,
        input: &Value,
        weight: &Value,
        bias: Option<&Value>,
    ) -> Result<Value, OnnxError> {
        let attributes = [
            ("dilations", ints(&layer.dilation)),
            ("group", Attribute::Int(layer.groups as i64)),
            ("kernel_shape", ints(&layer.kernel_size)),
            ("pads", self.pads(&layer.padding)?),
            ("strides", ints(&layer.stride)),
        ];
        let inputs: Vec<&Value> = [input, weight].into_iter().chain(bias).collect();
        Ok(self.node("Conv", &inputs, &attributes))
    }

    fn pads(&self, padding: &PaddingConfig2d) -> Result<Attribute, OnnxError> {
        match *padding {
            PaddingConfig2d::Valid => Ok(ints(&[0; 4])),
            PaddingConfig2d::Explicit(top, left, bottom, right) => {
                Ok(ints(&[top, left, bottom, right]))
            }
            PaddingConfig2d::Same => Err(self.error("it is padded by `Same`, not explicitly")),
        }
    }

    /// A normalization layer of a backbone, as in inference.
    ///
    /// # Errors
    ///
    /// If its parameters cannot be read.
    pub fn norm(&mut self, layer: &Norm, input: &Value) -> Result<Value, OnnxError> {
        match layer {
            Norm::Batch(norm) => self.batch_norm(norm, input),
            Norm::Group(norm) => self.group_norm(norm, input),
            _ => Err(self.error("its normalization has no ONNX form")),
        }
    }

    /// A batch normalization by the running statistics, as in inference.
    ///
    /// # Errors
    ///
    /// If its parameters cannot be read.
    pub fn batch_norm(&mut self, layer: &BatchNorm, input: &Value) -> Result<Value, OnnxError> {
        let scale = self.parameter("scale", Some(layer.gamma.id), layer.gamma.val())?;
        let shift = self.parameter("shift", Some(layer.beta.id), layer.beta.val())?;
        let mean = self.parameter("mean", None, layer.running_mean.value())?;
        let variance = self.parameter("variance", None, layer.running_var.value())?;
        let epsilon = Attribute::Float(layer.epsilon as f32);
        let inputs = [input, &scale, &shift, &mean, &variance];
        Ok(self.node("BatchNormalization", &inputs, &[("epsilon", epsilon)]))
    }

    /// A group normalization.
    ///
    /// # Errors
    ///
    /// If its parameters cannot be read.
    pub fn group_norm(&mut self, layer: &GroupNorm, input: &Value) -> Result<Value, OnnxError> {
        // `GroupNormalization` with a scale per channel needs opset 21, which fewer runtimes know.
        let groups = layer.num_groups;
        let grouped = self.integers(&[3], &[0, groups as i64, -1]);
        let rows = self.node("Reshape", &[input, &grouped], &[]);
        let ones = self.floats(&[groups], &vec![1.0; groups]);
        let zeros = self.floats(&[groups], &vec![0.0; groups]);
        let epsilon = Attribute::Float(layer.epsilon as f32);
        let inputs = [&rows, &ones, &zeros];
        let rows = self.node("InstanceNormalization", &inputs, &[("epsilon", epsilon)]);
        let shape = self.node("Shape", &[input], &[]);
        let mut output = self.node("Reshape", &[&rows, &shape], &[]);
        for (name, operator, parameter) in [
            ("scale", "Mul", &layer.gamma),
            ("shift", "Add", &layer.beta),
        ] {
            if let Some(parameter) = parameter {
                let values: Tensor<3> = parameter.val().reshape([-1, 1, 1]);
                let values = self.parameter(name, Some(parameter.id), values)?;
                output = self.node(operator, &[&output, &values], &[]);
            }
        }
        Ok(output)
    }

    /// A maximum pooling.
    ///
    /// # Errors
    ///
    /// If the layer is padded by [`PaddingConfig2d::Same`].
    pub fn max_pool(&mut self, layer: &MaxPool2d, input: &Value) -> Result<Value, OnnxError> {
        let attributes = [
            ("ceil_mode", Attribute::Int(layer.ceil_mode.into())),
            ("dilations", ints(&layer.dilation)),
            ("kernel_shape", ints(&layer.kernel_size)),
            ("pads", self.pads(&layer.padding)?),
            ("strides", ints(&layer.stride)),
        ];
        Ok(self.node("MaxPool", &[input], &attributes))
    }

    /// `max(input, 0)`.
    pub fn relu(&mut self, input: &Value) -> Value {
        self.node("Relu", &[input], &[])
    }

    /// `1 / (1 + exp(-input))`.
    pub fn sigmoid(&mut self, input: &Value) -> Value {
        self.node("Sigmoid", &[input], &[])
    }

    /// The sum of two values, one of which may be broadcast.
    pub fn add(&mut self, a: &Value, b: &Value) -> Value {
        self.node("Add", &[a, b], &[])
    }

    /// The product of two values, one of which may be broadcast.
    pub fn mul(&mut self, a: &Value, b: &Value) -> Value {
        self.node("Mul", &[a, b], &[])
    }

    /// Concatenates values along an axis.
    pub fn concat(&mut self, values: &[Value], axis: i64) -> Value {
        let values: Vec<&Value> = values.iter().collect();
        self.node("Concat", &values, &[("axis", Attribute::Int(axis))])
    }

    /// `input` in the height and width of `like`, by the nearest neighbor to the upper left.
    pub fn resize_like(&mut self, input: &Value, like: &Value) -> Value {
        let own = self.lengths(input, 0, 2);
        let others = self.lengths(like, 2, 4);
        let sizes = self.concat(&[own, others], 0);
        let absent = Value::absent();
        let attributes = [
            (
                "coordinate_transformation_mode",
                Attribute::Text("asymmetric"),
            ),
            ("mode", Attribute::Text("nearest")),
            ("nearest_mode", Attribute::Text("floor")),
        ];
        self.node("Resize", &[input, &absent, &absent, &sizes], &attributes)
    }

    /// The lengths of the axes from `start` up to `end`, excluded, as a list of integers.
    pub fn lengths(&mut self, input: &Value, start: i64, end: i64) -> Value {
        let attributes = [
            ("end", Attribute::Int(end)),
            ("start", Attribute::Int(start)),
        ];
        self.node("Shape", &[input], &attributes)
    }
}

fn ints(values: &[usize]) -> Attribute {
    Attribute::Ints(values.iter().map(|&value| value as i64).collect())
}
