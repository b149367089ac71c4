//! The output files of a command: each has a place of its own, where it replaces no input.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::ErrorKind,
    path::{Component, Path, PathBuf},
};

use fcos_burn::{
    data::{DataFolder, ImageListing},
    detect::DetectorFile,
    model::file::{is_standard_output, is_stream},
    train::{RunFolder, config::DataSource},
};

use crate::{Error, terminal::print};

/// The outputs of a command, and the flags that chose them. They are checked before the work starts, so that it is neither
/// lost nor costs an input. Places are compared after resolving links and `..`.
#[derive(Clone, Debug, Default)]
pub struct Outputs {
    outputs: Vec<Output>,
    /// The folder of the run whose files outputs of this kind may replace, without links.
    run: Option<PathBuf>,
}

#[derive(Clone, Debug)]
struct Output {
    flag: &'static str,
    /// As it was given.
    path: PathBuf,
    /// Without links and `..`.
    place: PathBuf,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A file. It may replace the file with this name that its run has written.
    File(Option<&'static str>),
    /// A folder for pictures.
    Pictures,
    /// A folder for files and folders of files.
    Tree,
}

impl Outputs {
    /// Adds a file, if the flag was given.
    #[must_use]
    pub fn with_file(self, flag: &'static str, path: Option<PathBuf>) -> Self {
        self.with(flag, path, Kind::File(None))
    }

    /// Lets files replace those of the same kind of this run, which is its folder or its weights.
    #[must_use]
    pub fn of_run(self, run: &Path) -> Self {
        let folder = match run.is_dir() {
            true => run.to_owned(),
            false => folder_of(run),
        };
        Self {
            run: Some(place(&folder)),
            ..self
        }
    }

    /// Adds a file of the kind that runs write as `name`. It may replace this one in the folder of the
    /// [run](Self::of_run).
    #[must_use]
    pub fn with_file_of_run(
        self,
        flag: &'static str,
        path: Option<PathBuf>,
        name: &'static str,
    ) -> Self {
        self.with(flag, path, Kind::File(Some(name)))
    }

    /// Adds a folder for pictures.
    #[must_use]
    pub fn with_pictures(self, flag: &'static str, path: Option<PathBuf>) -> Self {
        self.with(flag, path, Kind::Pictures)
    }

    /// Adds a folder for files and folders of files.
    #[must_use]
    pub fn with_tree(self, flag: &'static str, path: Option<PathBuf>) -> Self {
        self.with(flag, path, Kind::Tree)
    }

    fn with(mut self, flag: &'static str, path: Option<PathBuf>, kind: Kind) -> Self {
        // What is written to a pipe or a device replaces nothing.
        if let Some(path) = path.filter(|path| !is_stream(path)) {
            self.outputs.push(Output {
                flag,
                place: place(&path),
                path,
                kind,
            });
        }
        self
    }

    /// Fails if two outputs have one place, if a folder is in the place of a file or a file in that of a folder, or if an
    /// output would replace a file of a run.
    ///
    /// # Errors
    ///
    /// Names the path and the flag.
    pub fn check(&self) -> Result<(), Error> {
        for (index, output) in self.outputs.iter().enumerate() {
            let (path, flag) = (output.path.clone(), output.flag);
            let is_folder = path.is_dir() || ends_with_separator(&path);
            match output.kind {
                Kind::File(_) if is_folder => return Err(Error::OutputIsFolder { path, flag }),
                Kind::Pictures | Kind::Tree if path.is_file() => {
                    return Err(Error::OutputIsFile { path, flag });
                }
                _ => {}
            }
            for other in &self.outputs[index + 1..] {
                if output.is_in_the_way_of(other) || other.is_in_the_way_of(output) {
                    let other = other.flag;
                    return Err(Error::SameOutput { path, flag, other });
                }
            }
            let mut above = output.place.ancestors().skip(1);
            if let Some(folder) = above.find(|folder| is_run(folder)) {
                output.keep_run(folder, self.run.as_deref())?;
            }
        }
        Ok(())
    }

    /// Fails if an output would replace one of these files.
    ///
    /// # Errors
    ///
    /// Names the file and the flag.
    pub fn keep<'a>(&self, files: impl IntoIterator<Item = &'a Path>) -> Result<(), Error> {
        let places: BTreeSet<PathBuf> = files.into_iter().map(place).collect();
        for output in &self.outputs {
            if places.contains(&output.place) {
                return Err(output.replaces("an input of this command"));
            }
        }
        Ok(())
    }

    /// Fails if an output would replace a file of the run in this folder.
    ///
    /// # Errors
    ///
    /// Names the file and the flag.
    pub fn keep_run(&self, folder: &Path) -> Result<(), Error> {
        let folder = place(folder);
        self.outputs
            .iter()
            .try_for_each(|output| output.keep_run(&folder, self.run.as_deref()))
    }

    /// Fails if an output would replace the weights, or a file of their run.
    ///
    /// # Errors
    ///
    /// Names the file and the flag.
    pub fn keep_weights(&self, file: &DetectorFile) -> Result<(), Error> {
        let config = file.run_config.as_deref();
        self.keep([file.weights.as_path()].into_iter().chain(config))?;
        config.map_or(Ok(()), |config| self.keep_run(&folder_of(config)))
    }

    /// Fails if an output would replace a file of the data: one that describes it, an image, or one in its folder that may
    /// have annotations. Files of runs in this folder are none.
    ///
    /// # Errors
    ///
    /// Names the file and the flag.
    pub fn keep_data(&self, source: &DataSource) -> Result<(), Error> {
        let folders = match source {
            DataSource::Folder(path) if path.is_file() => {
                self.keep([path.as_path()])?;
                vec![folder_of(path)]
            }
            DataSource::Folder(path) => vec![path.clone()],
            DataSource::Coco {
                train_images,
                train_annotations,
                val_images,
                val_annotations,
            } => {
                self.keep([train_annotations.as_path(), val_annotations.as_path()])?;
                vec![train_images.clone(), val_images.clone()]
            }
            _ => return Ok(()),
        };
        let folders: Vec<PathBuf> = folders.iter().map(|folder| place(folder)).collect();
        // A run in the folder of the data is not part of it; data may also be in the folder of a run.
        let is_in_data = |output: &&Output| {
            let holds = |folder: &PathBuf| {
                let mut below = output.place.ancestors().take_while(|path| path != folder);
                output.place.starts_with(folder) && !below.any(is_run)
            };
            folders.iter().any(holds)
        };
        match (self.outputs.iter().filter(is_in_data)).find(|output| may_be_of_data(&output.place))
        {
            Some(output) => Err(output.replaces("a file of the data")),
            None => Ok(()),
        }
    }

    /// Fails if outputs could overwrite images: if an image is in the folder of the pictures, in or below that of the crops
    /// or labels, or is itself the place of a file.
    ///
    /// # Errors
    ///
    /// Names the output and the flag.
    pub fn keep_images<'a>(&self, images: impl IntoIterator<Item = &'a Path>) -> Result<(), Error> {
        // What does not exist has no images.
        let outputs = self.outputs.iter().filter(|output| output.place.exists());
        let outputs: Vec<&Output> = outputs.collect();
        if outputs.is_empty() {
            return Ok(());
        }
        for image in images {
            // A file that cannot be found is reported when it is read.
            let Ok(target) = fs::canonicalize(image) else {
                continue;
            };
            let folder = fs::canonicalize(folder_of(image)).ok();
            // A picture would replace the image by its link, too.
            let folders = [target.parent(), folder.as_deref()];
            for output in &outputs {
                let place = output.place.as_path();
                let holds = match output.kind {
                    Kind::File(_) => target == place,
                    Kind::Pictures => folders.contains(&Some(place)),
                    Kind::Tree => {
                        let mut folders = folders.into_iter().flatten();
                        folders.any(|folder| folder.starts_with(place))
                    }
                };
                if holds {
                    let (path, flag) = (output.place.clone(), output.flag);
                    return Err(Error::OutputIsInput { path, flag });
                }
            }
        }
        Ok(())
    }

    /// The folders of files, other than the pictures of images, that are not empty.
    pub fn occupied(&self) -> impl Iterator<Item = &Path> {
        let trees = (self.outputs.iter()).filter(|output| output.kind == Kind::Tree);
        let is_occupied =
            |folder: &&Path| fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some());
        trees
            .map(|output| output.path.as_path())
            .filter(is_occupied)
    }

    /// Creates the folders of the outputs. Fails if one cannot be created or written, which would otherwise be noticed after
    /// the work.
    ///
    /// # Errors
    ///
    /// Names the folder or file, and the cause.
    pub fn create(&self) -> Result<(), Error> {
        let mut created = BTreeSet::new();
        for output in &self.outputs {
            let folder = match output.kind {
                // A link to a file is followed.
                Kind::File(_) => folder_of(&output.place),
                Kind::Pictures | Kind::Tree => output.place.clone(),
            };
            if created.insert(folder.clone()) {
                create_writable(&folder).map_err(|cause| match output.kind {
                    Kind::File(_) => Error::Unwritable {
                        path: output.path.clone(),
                        cause: Box::new(cause),
                    },
                    Kind::Pictures | Kind::Tree => cause,
                })?;
            }
            // For instance a name that is too long.
            match fs::symlink_metadata(&output.place) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(Error::io(&output.path)(error));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

impl Output {
    /// Whether it is a file where the other output, or a folder of it, has to be.
    fn is_in_the_way_of(&self, other: &Self) -> bool {
        matches!(self.kind, Kind::File(_)) && other.place.starts_with(&self.place)
    }

    /// Fails if it would replace a file of the run in `folder`, which has no links. That of its `own` run may get a new
    /// file of its kind.
    fn keep_run(&self, folder: &Path, own: Option<&Path>) -> Result<(), Error> {
        let Kind::File(of_run) = self.kind else {
            return Ok(());
        };
        let is_own = own == Some(folder);
        let is_allowed = is_own && of_run.is_some_and(|name| self.place == folder.join(name));
        match !is_allowed && is_of_run(&self.place, folder) {
            true => Err(self.replaces("a file of a run")),
            false => Ok(()),
        }
    }

    fn replaces(&self, what: &'static str) -> Error {
        Error::ReplacesInput {
            path: self.path.clone(),
            flag: self.flag,
            what,
        }
    }
}

/// Creates a folder, and fails unless a file can be created in it.
///
/// # Errors
///
/// Names the folder and the cause.
pub fn create_writable(folder: &Path) -> Result<(), Error> {
    fs::create_dir_all(folder).map_err(Error::io(folder))?;
    // Permissions alone do not tell: a file system may be read-only, and root may do everything.
    let probe = folder.join(format!(".fcos-burn-{}.partial", std::process::id()));
    match File::create_new(&probe) {
        Ok(_) => fs::remove_file(&probe).map_err(Error::io(folder)),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(Error::io(folder)(error)),
    }
}

/// A folder that a command is about to create.
#[derive(Debug)]
pub struct NewFolder {
    /// What does not exist yet: the folder, and the folders around it.
    missing: Vec<PathBuf>,
}

impl NewFolder {
    /// Remembers which folders there are.
    pub fn at(folder: &Path) -> Self {
        let missing = folder.ancestors().take_while(|folder| {
            !folder.as_os_str().is_empty() && fs::symlink_metadata(folder).is_err()
        });
        Self {
            missing: missing.map(Path::to_owned).collect(),
        }
    }

    /// Another folder that was just created, in the last one.
    #[must_use]
    pub fn with(mut self, folder: &Path) -> Self {
        self.missing.insert(0, folder.to_owned());
        self
    }

    /// Removes those of the folders that are new and empty.
    pub fn remove_if_empty(&self) {
        for folder in &self.missing {
            // This removes only an empty folder.
            if fs::remove_dir(folder).is_err() {
                return;
            }
        }
    }
}

/// Whether `folder` is that of a run, finished or not.
fn is_run(folder: &Path) -> bool {
    RunFolder::open(folder)
        .is_ok_and(|run| run.model_path().is_file() || run.checkpoints().path().is_dir())
}

/// Whether a run in `folder` writes a file of this name that it, its report or its detector needs.
fn is_of_run(file: &Path, folder: &Path) -> bool {
    // Without a configuration, no run needs them.
    let Ok(run) = RunFolder::open(folder) else {
        return false;
    };
    // Weights from elsewhere need only the configuration beside them.
    if !is_run(folder) {
        return file == run.config_path();
    }
    let files = [
        run.config_path(),
        run.model_path(),
        run.evaluation_path(),
        run.metrics_path(),
        run.metrics_csv_path(),
        run.provenance_path(),
        run.results_path(),
        run.report_path(),
        run.log_path(),
    ];
    let folders = [
        run.checkpoints().path().to_owned(),
        run.failed_step_path(),
        run.tensorboard_path(),
    ];
    files.iter().any(|of_run| file == of_run)
        || folders.iter().any(|folder| file.starts_with(folder))
}

/// Extensions of files, other than images, in which a data set can have annotations, classes or splits. JSON files can be
/// anything, and are looked into.
const OF_DATA: [&str; 8] = ["yaml", "yml", "txt", "xml", "csv", "tsv", "data", "names"];

/// Whether an existing file in the folder of a data set may be part of it.
fn may_be_of_data(file: &Path) -> bool {
    if !file.is_file() {
        return false;
    }
    let extension = file.extension().unwrap_or_default();
    let is_one_of = |known: &str| extension.eq_ignore_ascii_case(known);
    OF_DATA.iter().any(|known| is_one_of(known))
        || !ImageListing::among([file.to_owned()]).images.is_empty()
        // Detections and evaluations of an earlier command can be replaced.
        || is_one_of("json") && DataFolder::open(file).is_ok()
}

/// Prints the paths of files that were written, except those of streams. None if one is standard output, which then has
/// the content of a file.
///
/// # Errors
///
/// Fails if standard output cannot be written.
pub fn print_paths(paths: &[PathBuf]) -> Result<(), Error> {
    if paths.iter().any(|path| is_standard_output(path)) {
        return Ok(());
    }
    let mut files = paths.iter().filter(|path| !is_stream(path));
    files.try_for_each(|path| print(format_args!("{}\n", path.display())))
}

fn ends_with_separator(path: &Path) -> bool {
    let last = path.as_os_str().as_encoded_bytes().last();
    last.is_some_and(|last| std::path::is_separator(char::from(*last)))
}

/// The folder of a file.
fn folder_of(file: &Path) -> PathBuf {
    match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// The path without links and `..`. What does not exist yet has no links.
fn place(path: &Path) -> PathBuf {
    // Fails only without a current folder, where nothing can be compared.
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut above = absolute.ancestors();
    let resolved = above.find_map(|above| Some((above, fs::canonicalize(above).ok()?)));
    let Some((existing, mut place)) = resolved else {
        return absolute;
    };
    let rest = absolute.strip_prefix(existing).unwrap_or(Path::new(""));
    for component in rest.components() {
        match component {
            Component::ParentDir => drop(place.pop()),
            component => place.push(component),
        }
    }
    place
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn file(path: impl Into<PathBuf>) -> Outputs {
        Outputs::default().with_file("--output", Some(path.into()))
    }

    /// Writes empty files, and returns their paths.
    fn write<const N: usize>(dir: &Path, names: [&str; N]) -> [PathBuf; N] {
        names.map(|name| {
            let file = dir.join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(&file, "").unwrap();
            file
        })
    }

    #[test]
    fn outputs_have_places_of_their_own() {
        let dir = tempfile::tempdir().unwrap();
        let [present] = write(dir.path(), ["present.json"]);
        let two = |one: &Path, other: PathBuf| {
            file(one)
                .with_file("--report", Some(other))
                .check()
                .map_err(|error| error.to_string())
        };
        let missing = dir.path().join("new/r.json");
        for (one, other) in [
            (&present, present.clone()),
            (&present, dir.path().join("x/../present.json")),
            (&missing, dir.path().join("new/more/../r.json")),
            (&missing, dir.path().join("new/r.json/in-it.json")),
        ] {
            let error = two(one, other).unwrap_err();
            assert!(error.contains("--output and of --report"), "{error}");
        }
        two(&present, missing.clone()).unwrap();
        #[cfg(unix)]
        {
            let link = dir.path().join("link.json");
            std::os::unix::fs::symlink(&present, &link).unwrap();
            assert!(two(&present, link).is_err());
            // A device can be given twice.
            two(Path::new("/dev/null"), "/dev/null".into()).unwrap();
        }
        // A folder can have many outputs, but not be one of the files.
        let folder = dir.path().join("all");
        let all = Outputs::default()
            .with_pictures("--output", Some(folder.clone()))
            .with_tree("--crops", Some(folder.clone()))
            .with_file("--csv", Some(folder.join("found.csv")));
        all.check().unwrap();
        assert!(all.with_file("--json", Some(folder)).check().is_err());
    }

    #[test]
    fn files_and_folders_do_not_take_each_others_places() {
        let dir = tempfile::tempdir().unwrap();
        let [present] = write(dir.path(), ["present.json"]);
        for folder in [dir.path().to_owned(), dir.path().join("new/")] {
            let error = file(folder).check().unwrap_err().to_string();
            assert!(error.contains("is a folder"), "{error}");
        }
        let pictures = Outputs::default().with_pictures("--output", Some(present.clone()));
        let error = pictures.check().unwrap_err().to_string();
        assert!(error.contains("is a file"), "{error}");
        // A folder cannot be created below a file, nor a file with such a name.
        for impossible in [present.join("r.json"), dir.path().join("a".repeat(300))] {
            let outputs = file(&impossible);
            outputs.check().unwrap();
            assert!(outputs.create().is_err(), "{}", impossible.display());
        }
        let new = dir.path().join("new/deep/r.json");
        file(&new).create().unwrap();
        let folder = new.parent().unwrap();
        assert_eq!(fs::read_dir(folder).unwrap().count(), 0);
    }

    #[test]
    fn files_of_a_run_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let run = dir.path().join("run");
        let files = ["config.json", "model.bpk", "checkpoint/2/model.bpk"];
        write(&run, files);
        for name in files.into_iter().chain(["metrics.json", "results.json"]) {
            let error = file(run.join(name)).check().unwrap_err().to_string();
            assert!(error.contains("a file of a run"), "{error}");
        }
        file(run.join("mine.onnx")).check().unwrap();
        file(run.join("detections/found.json")).check().unwrap();
        let own = |name: &str| {
            let path = Some(run.join(name));
            Outputs::default().with_file_of_run("--output", path, "results.json")
        };
        for of in [&run, &run.join("model.bpk"), &run.join("../run")] {
            own("results.json").of_run(of).check().unwrap();
            assert!(own("evaluation.json").of_run(of).check().is_err());
        }
        // Not that of another run.
        assert!(own("results.json").check().is_err());
        assert!(own("results.json").of_run(dir.path()).check().is_err());
        // Without weights and checkpoints, it is a run only for who says so.
        let copy = dir.path().join("copy");
        write(&copy, ["config.json"]);
        let config = file(copy.join("config.json"));
        config.check().unwrap();
        assert!(config.keep_run(&copy).is_err());
    }

    #[test]
    fn files_of_the_data_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        write(
            &data,
            [
                "data.yaml",
                "images/1.jpg",
                "labels/1.txt",
                "labels.tsv",
                "runs/a/config.json",
                "runs/a/model.bpk",
                "runs/a/classes.txt",
                "report.html",
            ],
        );
        let coco = r#"{
            "images": [{"id": 1, "file_name": "images/1.jpg", "width": 4, "height": 4}],
            "annotations": [],
            "categories": [{"id": 1, "name": "a"}]
        }"#;
        fs::write(data.join("val.json"), coco).unwrap();
        fs::write(data.join("results.json"), "[]\n").unwrap();
        let folder = DataSource::Folder(data.clone());
        let description = DataSource::Folder(data.join("data.yaml"));
        for source in [folder, description] {
            let keep = |name: &str| file(data.join(name)).keep_data(&source);
            for name in [
                "data.yaml",
                "images/1.jpg",
                "labels/1.txt",
                "labels.tsv",
                "images/../val.json",
            ] {
                let error = keep(name).unwrap_err().to_string();
                assert!(error.contains("which --output would replace"), "{error}");
            }
            for name in [
                "new.txt",
                "results.json",
                "report.html",
                "runs/a/classes.txt",
            ] {
                keep(name).unwrap();
            }
        }
        let one_by_one = DataSource::Coco {
            train_images: data.join("images"),
            train_annotations: data.join("val.json"),
            val_images: data.join("images"),
            val_annotations: data.join("val.json"),
        };
        assert!(file(data.join("val.json")).keep_data(&one_by_one).is_err());
        // The data may be in the folder of a run.
        write(dir.path(), ["config.json", "model.bpk"]);
        let error = file(data.join("labels.tsv")).keep_data(&DataSource::Folder(data));
        assert!(error.is_err());
    }
}
