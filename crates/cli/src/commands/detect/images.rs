//! The images of files: still images, and the frames of animations.

use std::{iter::once, path::PathBuf, sync::Arc};

use fcos_burn::{
    data::{Animation, Loader, LoaderError, RgbImage, read_image},
    detect::Error,
};

/// Where an image comes from.
#[derive(Clone, Copy)]
pub struct Place {
    /// The index of the file.
    pub file: usize,
    /// The number of the frame, from 1, if the file is an animation.
    pub frame: Option<u64>,
}

/// A file that has been opened.
enum Opened<T> {
    Still(T),
    Animation,
}

/// An iterator over images, or over the errors of files that cannot be read.
type Images<T> = Box<dyn Iterator<Item = Result<(Place, T), Error>>>;

/// What `prepare` makes of each image, in order. Still images are read and prepared in `threads` other threads, or in
/// this one if it is 0. The frames of an animation are read in this one: each needs those before it.
pub fn images<T, P>(files: &Arc<[PathBuf]>, threads: usize, prepare: P) -> Result<Images<T>, Error>
where
    T: Send + 'static,
    P: Fn(RgbImage) -> Result<T, Error> + Send + Sync + 'static,
{
    let prepare = Arc::new(prepare);
    let loader = {
        let (files, prepare) = (Arc::clone(files), Arc::clone(&prepare));
        Loader::new(files.len(), threads, move |index| {
            let path = &files[index];
            Ok(match Animation::open(path)?.is_animated() {
                true => Opened::Animation,
                false => Opened::Still(prepare(read_image(path)?)?),
            })
        })
    };
    let loader = loader.map_err(|error| Error::Workers(error.to_string()))?;
    let files = Arc::clone(files);
    let of_file = move |(file, opened): (usize, Result<Opened<T>, LoaderError<Error>>)| {
        let still = |image| Box::new(once(image)) as Images<T>;
        match opened {
            Ok(Opened::Still(image)) => still(Ok((Place { file, frame: None }, image))),
            Ok(Opened::Animation) => match Animation::open(&files[file]) {
                Ok(animation) => {
                    let prepare = Arc::clone(&prepare);
                    Box::new(animation.zip(1..).map(move |(picture, number)| {
                        let frame = Some(number);
                        let image = picture?.image;
                        Ok((Place { file, frame }, prepare(image)?))
                    }))
                }
                Err(error) => still(Err(error.into())),
            },
            Err(LoaderError::Failed { source, .. }) => still(Err(source)),
            Err(panicked) => still(Err(Error::Workers(panicked.to_string()))),
        }
    };
    Ok(Box::new(loader.enumerate().flat_map(of_file)))
}
