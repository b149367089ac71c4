//! Saving the statistics.

use std::fs;
use std::path::{Path, PathBuf};

use fcos_burn_model::file::write_whole;

use crate::{InspectError, inspection::Inspection, page, splits::Splits};

impl Inspection {
    /// Writes two files to `folder`, which is created: the statistics as `inspection.json`, and `index.html`, a
    /// self-contained page with charts and images. `splits` must be the inspected splits, since the images on the page
    /// are decoded here. An image that cannot be read is replaced by the cause. Returns the path of the page.
    ///
    /// # Errors
    ///
    /// [`InspectError`], which names the file that cannot be written.
    pub fn save(&self, splits: &Splits, folder: &Path) -> Result<PathBuf, InspectError> {
        fs::create_dir_all(folder).map_err(InspectError::io(folder))?;
        let path = folder.join("inspection.json");
        let mut json = serde_json::to_vec_pretty(self).map_err(|source| InspectError::Json {
            path: path.clone(),
            source,
        })?;
        json.push(b'\n');
        write_whole(&path, &json).map_err(InspectError::io(&path))?;
        let path = folder.join("index.html");
        let html = page::html(self, splits);
        write_whole(&path, html.as_bytes()).map_err(InspectError::io(&path))?;
        Ok(path)
    }
}
