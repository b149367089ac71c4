#![doc = include_str!("../README.md")]

mod boxes;
mod classes;
mod crowding;
mod distribution;
mod duplicates;
mod error;
mod findings;
mod inspection;
mod levels;
mod options;
mod overlap;
mod page;
mod picture;
mod saving;
mod sheets;
mod splits;
mod suggestion;
mod table;
mod wording;

pub use boxes::{BoxSizes, ImageSizes, SizeCount};
pub use classes::{ClassConcerns, ClassCount};
pub use crowding::Crowding;
pub use distribution::{Bin, Distribution};
pub use error::InspectError;
pub use findings::FindingCount;
pub use inspection::{Inspection, SplitCounts};
pub use levels::{LevelCount, Levels};
pub use options::InspectionOptions;
pub use picture::Picture;
pub use sheets::Sheet;
pub use splits::{Purpose, Split, Splits, UnreadSplit};
pub use suggestion::SuggestedSize;
