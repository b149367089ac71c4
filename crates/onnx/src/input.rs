//! From an image to the input of the network.

use fcos_burn_data::Normalization;

use crate::graph::{Attribute, Graph, Value};

/// Writes the normalization of RGB bytes.
pub(crate) fn normalized(graph: &mut Graph, normalization: Normalization, rgb: &Value) -> Value {
    let channels = normalization.channels();
    let sources = channels.map(|channel| channel.source as i64);
    let ordered = match sources {
        [0, 1, 2] => rgb.clone(),
        sources => {
            let sources = graph.integers(&[3], &sources);
            graph.node("Gather", &[rgb, &sources], &[("axis", Attribute::Int(1))])
        }
    };
    let scales = graph.floats(&[1, 3, 1, 1], &channels.map(|channel| channel.scale));
    let offsets = graph.floats(&[1, 3, 1, 1], &channels.map(|channel| channel.offset));
    let scaled = graph.mul(&ordered, &scales);
    graph.add(&scaled, &offsets)
}

/// Writes the padding with zeros, on the right and at the bottom, to a multiple of `multiple`
/// pixels. `size` is that of the images if it is fixed.
pub(crate) fn padded(
    graph: &mut Graph,
    multiple: usize,
    size: Option<[usize; 2]>,
    images: &Value,
) -> Value {
    let pads = match size.map(|size| size.map(|side| padding(side, multiple))) {
        Some([0, 0]) => return images.clone(),
        _ if multiple == 1 => return images.clone(),
        Some([bottom, right]) => graph.integers(&[8], &[0, 0, 0, 0, 0, 0, bottom, right]),
        None => {
            let multiple = graph.integers(&[1], &[multiple as i64]);
            let size = graph.lengths(images, 2, 4);
            let beyond = graph.node("Mod", &[&size, &multiple], &[]);
            let missing = graph.node("Sub", &[&multiple, &beyond], &[]);
            let missing = graph.node("Mod", &[&missing, &multiple], &[]);
            let none = graph.integers(&[6], &[0; 6]);
            graph.concat(&[none, missing], 0)
        }
    };
    graph.node("Pad", &[images, &pads], &[])
}

fn padding(side: usize, multiple: usize) -> i64 {
    (side.next_multiple_of(multiple) - side) as i64
}
