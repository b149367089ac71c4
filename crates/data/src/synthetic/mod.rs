//! A generated detection data set for pretraining: many classes of forms and materials on many kinds of ground.
//!
//! A detector that is trained on it first needs fewer real images. The set follows what is known to make generated
//! images useful for that: contours and fractals as classes (Kataoka et al., "Pre-training without Natural Images", 2020,
//! and "Replacing Labeled Real-image Datasets with Auto-generated Contours", 2022), dead leaves and spectra of natural
//! images (Baradad et al., "Learning to See by Looking at Noise", 2021), and objects pasted on grounds that they have
//! nothing to do with (Dwibedi et al., "Cut, Paste and Learn", 2017).
//!
//! A class is a form and a material, both with parameters drawn from the index of the class, and with variation from
//! object to object. Forms are blobs, polygons, rings, threads, fractals, glyphs, nested contours, parts joined together,
//! cells with a nucleus, clusters, circuits, meshes, ragged patches and arrays. Materials are flat, striped, checked or
//! noisy, translucent, with soft edges, or differ from the ground only in texture. Images are scenes like those of photographs,
//! worked surfaces, microscope slides, circuit boards and plain grounds, in gray, tinted or vivid colors, with light and
//! shadow, occlusion, clutter, blur, noise and compression.
//!
//! As in [`shapes`](crate::shapes), nothing is stored, only operations that IEEE 754 rounds exactly are used, so the same
//! configuration gives the same bytes on every machine, and boxes enclose the visible part of an object. A translucent
//! object hides nothing.

mod camera;
mod canvas;
mod class;
mod compression;
mod config;
mod curve;
mod dataset;
mod figure;
mod form;
mod ground;
mod layout;
mod mask;
mod material;
mod paint;
mod palette;
mod picture;
mod texture;

pub use crate::drawing::Split as SyntheticSplit;
pub use config::SyntheticConfig;
