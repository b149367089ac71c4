//! Backbones as nodes.

use fcos_burn_model::backbone::{
    Backbone,
    resnet::{Block, ConvNorm, ResNet},
};

use crate::{
    error::OnnxError,
    graph::{Graph, Value},
};

/// A backbone that can be exported.
///
/// A backbone of your own implements it beside [`Backbone`]:
///
/// ```
/// # use burn::{module::Module, nn::conv::Conv2d, tensor::{Tensor, activation::relu}};
/// # use fcos_burn_model::{backbone::Backbone, mixed_precision::convolve};
/// use fcos_burn_onnx::{Graph, OnnxBackbone, OnnxError, Value};
///
/// # #[derive(Module, Debug)]
/// # struct Strided {
/// #     convs: Vec<Conv2d>,
/// # }
/// impl Backbone for Strided {
///     fn forward(&self, images: Tensor<4>) -> Vec<Tensor<4>> {
///         let mut features = images;
///         let mut maps = Vec::new();
///         for conv in &self.convs {
///             features = relu(convolve(conv, features));
///             maps.push(features.clone());
///         }
///         maps.split_off(2)
///     }
/// }
///
/// impl OnnxBackbone for Strided {
///     fn write(&self, graph: &mut Graph, images: &Value) -> Result<Vec<Value>, OnnxError> {
///         let mut features = images.clone();
///         let mut maps = Vec::new();
///         for (index, conv) in self.convs.iter().enumerate() {
///             features = graph.within(&format!("convs.{index}"), |graph| {
///                 let features = graph.conv(conv, &features)?;
///                 Ok::<_, OnnxError>(graph.relu(&features))
///             })?;
///             maps.push(features.clone());
///         }
///         Ok(maps.split_off(2))
///     }
/// }
/// ```
pub trait OnnxBackbone: Backbone {
    /// Writes the nodes of [`Backbone::forward`] in inference, and returns the feature maps.
    ///
    /// The maps are those of [`Backbone::forward`], in number and order, for images of any height
    /// and width.
    ///
    /// # Errors
    ///
    /// Names the layer that cannot be exported (see [`Graph::error`]).
    fn write(&self, graph: &mut Graph, images: &Value) -> Result<Vec<Value>, OnnxError>;
}

impl OnnxBackbone for ResNet {
    fn write(&self, graph: &mut Graph, images: &Value) -> Result<Vec<Value>, OnnxError> {
        let mut features = graph.within("stem", |graph| {
            let features = conv_norm(graph, self.stem(), images)?;
            let features = graph.relu(&features);
            graph.max_pool(self.pool(), &features)
        })?;
        let mut maps = Vec::new();
        for (stage, blocks) in self.stages().into_iter().enumerate() {
            for (index, layers) in blocks.iter().enumerate() {
                let name = format!("stages.{stage}.blocks.{index}");
                features = graph.within(&name, |graph| block(graph, layers, &features))?;
            }
            maps.push(features.clone());
        }
        Ok(maps.split_off(1))
    }
}

fn block(graph: &mut Graph, block: &Block, input: &Value) -> Result<Value, OnnxError> {
    let shortcut = match block.shortcut() {
        Some(projection) => {
            graph.within("shortcut", |graph| conv_norm(graph, projection, input))?
        }
        None => input.clone(),
    };
    let mut features = input.clone();
    for (index, layer) in block.convs().iter().enumerate() {
        features = graph.within(&format!("convs.{index}"), |graph| {
            let features = conv_norm(graph, layer, &features)?;
            Ok::<_, OnnxError>(match index + 1 < block.convs().len() {
                true => graph.relu(&features),
                false => features,
            })
        })?;
    }
    let sum = graph.add(&features, &shortcut);
    Ok(graph.relu(&sum))
}

fn conv_norm(graph: &mut Graph, layer: &ConvNorm, input: &Value) -> Result<Value, OnnxError> {
    graph.conv_norm(layer.conv(), layer.norm(), input)
}
