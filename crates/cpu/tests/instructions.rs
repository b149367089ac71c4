//! The choice of vector instructions, which holds for a whole process: a file with one test.

#![allow(clippy::unwrap_used)]

use burn::tensor::{Device, Tensor, ops::ConvOptions};
use fcos_burn_cpu::{InstructionsError, conv2d, instructions, set_instructions};

#[test]
fn instructions_are_chosen_before_the_first_operation() {
    let unknown = set_instructions("mmx").unwrap_err();
    let InstructionsError::Unsupported { name, supported } = unknown else {
        panic!("{unknown}");
    };
    assert_eq!((name.as_str(), supported[0]), ("mmx", "scalar"));

    set_instructions("scalar").unwrap();
    let device = Device::flex();
    let ones = |shape: [usize; 4]| Tensor::<4>::ones(shape, &device);
    let options = ConvOptions::new([1, 1], [0, 0], [1, 1], 1);
    let output = conv2d(ones([1, 2, 3, 3]), ones([1, 2, 3, 3]), None, options);
    assert_eq!(output.into_scalar::<f32>(), 18.0);
    assert_eq!(instructions(), "scalar");

    set_instructions("scalar").unwrap();
    for other in &supported[1..] {
        let error = set_instructions(other).unwrap_err();
        assert_eq!(error, InstructionsError::InUse("scalar"));
    }
}
