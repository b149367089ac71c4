//! A graph that is being written, node by node.

use std::collections::{HashMap, HashSet};

use burn::{
    module::ParamId,
    tensor::{DType, Tensor, TensorData},
};

use crate::{
    config::WeightFormat,
    error::OnnxError,
    proto::{
        AttributeMessage, AttributeType, Dimension, DimensionMessage, ElementType, GraphMessage,
        Node, Shape, TensorMessage, TensorType, ValueInfo, ValueType,
    },
};

/// A tensor in a [`Graph`]: an input, a constant, or the output of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value(String);

impl Value {
    /// An omitted optional input.
    pub fn absent() -> Self {
        Self(String::new())
    }

    /// Its name in the file.
    pub fn name(&self) -> &str {
        &self.0
    }
}

/// An attribute of a node.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Attribute {
    /// An integer.
    Int(i64),
    /// A list of integers.
    Ints(Vec<i64>),
    /// A number.
    Float(f32),
    /// A string.
    Text(&'static str),
    /// A one-element tensor.
    Scalar(f32),
}

/// An ONNX graph of opset [`Graph::OPSET`] that is being written.
///
/// Its methods add nodes and return their outputs. Names of nodes and weights are built from the
/// names given to [`within`](Self::within). The same calls always give the same file.
#[derive(Debug)]
pub struct Graph {
    message: GraphMessage,
    weights: WeightFormat,
    scopes: Vec<String>,
    names: HashSet<String>,
    integers: HashMap<(Vec<usize>, Vec<i64>), Value>,
    floats: HashMap<(Vec<usize>, Vec<u32>), Value>,
    parameters: HashMap<ParamId, Value>,
}

impl Graph {
    /// The version of ONNX's operators.
    pub const OPSET: i64 = 17;

    pub(crate) fn new(name: &str, weights: WeightFormat) -> Self {
        Self {
            message: GraphMessage {
                name: name.to_owned(),
                ..GraphMessage::default()
            },
            weights,
            scopes: Vec::new(),
            names: HashSet::new(),
            integers: HashMap::new(),
            floats: HashMap::new(),
            parameters: HashMap::new(),
        }
    }

    pub(crate) fn into_message(self) -> GraphMessage {
        self.message
    }

    /// Writes a part of the network, whose nodes and weights have `name` in their names.
    pub fn within<T>(&mut self, name: &str, write: impl FnOnce(&mut Self) -> T) -> T {
        self.scopes.push(name.to_owned());
        let written = write(self);
        self.scopes.pop();
        written
    }

    /// The names of the parts that are being written, such as `backbone.stages.0.blocks.1`.
    pub fn path(&self) -> String {
        self.scopes.join(".")
    }

    /// Adds a node with one output.
    pub fn node(
        &mut self,
        operator: &str,
        inputs: &[&Value],
        attributes: &[(&str, Attribute)],
    ) -> Value {
        let [output] = self.node_with_outputs(operator, inputs, attributes);
        output
    }

    /// Adds a node with `N` outputs.
    pub fn node_with_outputs<const N: usize>(
        &mut self,
        operator: &str,
        inputs: &[&Value],
        attributes: &[(&str, Attribute)],
    ) -> [Value; N] {
        let name = self.unique(operator);
        // Some runtimes keep nodes and values in one namespace: their names must differ.
        let outputs = std::array::from_fn(|index| Value(format!("{name}_{index}")));
        self.push(name, operator, inputs, &outputs, attributes);
        outputs
    }

    fn push(
        &mut self,
        name: String,
        operator: &str,
        inputs: &[&Value],
        outputs: &[Value],
        attributes: &[(&str, Attribute)],
    ) {
        self.message.node.push(Node {
            input: inputs.iter().map(|value| value.0.clone()).collect(),
            output: outputs.iter().map(|value| value.0.clone()).collect(),
            name,
            op_type: operator.to_owned(),
            attribute: attributes
                .iter()
                .map(|(name, value)| attribute(name, value))
                .collect(),
        });
    }

    /// Adds a constant of 32-bit floats, or returns an equal one that the graph has.
    ///
    /// # Panics
    ///
    /// If `shape` does not have as many elements as `values`.
    pub fn floats(&mut self, shape: &[usize], values: &[f32]) -> Value {
        check_length(shape, values.len());
        let bits = values.iter().map(|value| value.to_bits()).collect();
        let key = (shape.to_vec(), bits);
        if let Some(known) = self.floats.get(&key) {
            return known.clone();
        }
        let name = format!("floats.{}", self.floats.len());
        let bytes = values.iter().flat_map(|value| value.to_le_bytes());
        let value = self.constant(name, shape, ElementType::F32, bytes.collect());
        self.floats.insert(key, value.clone());
        value
    }

    /// Adds a constant of 64-bit integers, or returns an equal one that the graph has.
    ///
    /// # Panics
    ///
    /// If `shape` does not have as many elements as `values`.
    pub fn integers(&mut self, shape: &[usize], values: &[i64]) -> Value {
        check_length(shape, values.len());
        let key = (shape.to_vec(), values.to_vec());
        if let Some(known) = self.integers.get(&key) {
            return known.clone();
        }
        let name = format!("integers.{}", self.integers.len());
        let bytes = values.iter().flat_map(|value| value.to_le_bytes());
        let value = self.constant(name, shape, ElementType::I64, bytes.collect());
        self.integers.insert(key, value.clone());
        value
    }

    /// Adds weights of a convolution or another matrix product, in the
    /// [`WeightFormat`](crate::WeightFormat) of the export. With an `id`, the weights are stored
    /// once, however often the layer is applied.
    ///
    /// # Errors
    ///
    /// Names the layer if a weight is out of range of the format, or cannot be read from its
    /// device.
    pub fn weights<const D: usize>(
        &mut self,
        name: &str,
        id: Option<ParamId>,
        tensor: Tensor<D>,
    ) -> Result<Value, OnnxError> {
        if self.weights == WeightFormat::F32 {
            return self.parameter(name, id, tensor);
        }
        self.once(id, |graph| {
            let shape = tensor.dims();
            let data = graph.read(tensor)?.convert_dtype(DType::F16);
            let bytes = data.as_bytes();
            // All bits of the exponent are set in infinities and NaN.
            let overflow = |bits: &[u8; 2]| u16::from_le_bytes(*bits) & 0x7c00 == 0x7c00;
            if bytes.as_chunks().0.iter().any(overflow) {
                return Err(graph.error("a weight is out of the range of 16 bits"));
            }
            let name = graph.unique(name);
            let stored = graph.constant(name, &shape, ElementType::F16, bytes.to_vec());
            let float = Attribute::Int(ElementType::F32 as i64);
            Ok(graph.node("Cast", &[&stored], &[("to", float)]))
        })
    }

    /// Adds a parameter in 32 bits. With an `id`, it is stored once, however often it is used.
    ///
    /// # Errors
    ///
    /// Names the layer if the parameter cannot be read from its device.
    pub fn parameter<const D: usize>(
        &mut self,
        name: &str,
        id: Option<ParamId>,
        tensor: Tensor<D>,
    ) -> Result<Value, OnnxError> {
        self.once(id, |graph| {
            let shape = tensor.dims();
            let data = graph.read(tensor)?;
            let name = graph.unique(name);
            Ok(graph.constant(name, &shape, ElementType::F32, data.as_bytes().to_vec()))
        })
    }

    /// The values of a tensor in 32 bits.
    fn read<const D: usize>(&self, tensor: Tensor<D>) -> Result<TensorData, OnnxError> {
        let data = tensor.try_into_data();
        data.map(|data| data.convert_dtype(DType::F32))
            .map_err(|error| self.error(error))
    }

    fn once(
        &mut self,
        id: Option<ParamId>,
        add: impl FnOnce(&mut Self) -> Result<Value, OnnxError>,
    ) -> Result<Value, OnnxError> {
        if let Some(known) = id.and_then(|id| self.parameters.get(&id)) {
            return Ok(known.clone());
        }
        let value = add(self)?;
        if let Some(id) = id {
            self.parameters.insert(id, value.clone());
        }
        Ok(value)
    }

    fn constant(
        &mut self,
        name: String,
        shape: &[usize],
        element: ElementType,
        bytes: Vec<u8>,
    ) -> Value {
        self.names.insert(name.clone());
        self.message.initializer.push(TensorMessage {
            dims: shape.iter().map(|&length| length as i64).collect(),
            data_type: Some(element as i32),
            name: name.clone(),
            raw_data: bytes,
        });
        Value(name)
    }

    /// An error about the layer that is being written.
    pub fn error(&self, cause: impl ToString) -> OnnxError {
        OnnxError::Layer {
            layer: self.path(),
            cause: cause.to_string(),
        }
    }

    pub(crate) fn input(&mut self, name: &str, shape: Vec<Dimension>) -> Value {
        self.names.insert(name.to_owned());
        let info = value_info(name, ElementType::F32, shape);
        self.message.input.push(info);
        Value(name.to_owned())
    }

    pub(crate) fn output(
        &mut self,
        name: &str,
        value: &Value,
        element: ElementType,
        shape: Vec<Dimension>,
    ) {
        let output = Value(name.to_owned());
        let node = format!("{name}.Identity");
        self.push(node, "Identity", &[value], &[output], &[]);
        let info = value_info(name, element, shape);
        self.message.output.push(info);
    }

    /// A name that nothing else in the graph has: `name` within the current parts, numbered if
    /// necessary.
    fn unique(&mut self, name: &str) -> String {
        let scopes = self.scopes.iter().map(String::as_str);
        let name = scopes.chain([name]).collect::<Vec<_>>().join(".");
        let numbered = (1..).map(|number| format!("{name}.{number}"));
        let mut candidates = std::iter::once(name.clone()).chain(numbered);
        let free = candidates.find(|candidate| !self.names.contains(candidate));
        let free = free.unwrap_or(name);
        self.names.insert(free.clone());
        free
    }
}

fn check_length(shape: &[usize], length: usize) {
    let elements: usize = shape.iter().product();
    assert_eq!(elements, length, "a constant of shape {shape:?}");
}

fn attribute(name: &str, value: &Attribute) -> AttributeMessage {
    let message = AttributeMessage {
        name: name.to_owned(),
        ..AttributeMessage::default()
    };
    let typed = |r#type: AttributeType| Some(r#type as i32);
    match value {
        Attribute::Int(value) => AttributeMessage {
            i: Some(*value),
            r#type: typed(AttributeType::Int),
            ..message
        },
        Attribute::Ints(values) => AttributeMessage {
            ints: values.clone(),
            r#type: typed(AttributeType::Ints),
            ..message
        },
        Attribute::Float(value) => AttributeMessage {
            f: Some(*value),
            r#type: typed(AttributeType::Float),
            ..message
        },
        Attribute::Text(text) => AttributeMessage {
            s: Some(text.as_bytes().to_vec()),
            r#type: typed(AttributeType::String),
            ..message
        },
        Attribute::Scalar(value) => AttributeMessage {
            t: Some(TensorMessage {
                dims: vec![1],
                data_type: Some(ElementType::F32 as i32),
                name: String::new(),
                raw_data: value.to_le_bytes().to_vec(),
            }),
            r#type: typed(AttributeType::Tensor),
            ..message
        },
    }
}

fn value_info(name: &str, element: ElementType, shape: Vec<Dimension>) -> ValueInfo {
    let dimension = |value| DimensionMessage { value: Some(value) };
    ValueInfo {
        name: name.to_owned(),
        r#type: Some(ValueType {
            tensor: Some(TensorType {
                element: Some(element as i32),
                shape: Some(Shape {
                    dim: shape.into_iter().map(dimension).collect(),
                }),
            }),
        }),
    }
}
