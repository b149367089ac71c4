//! The page is valid HTML, escapes text from the data set, and is shown by a browser.
#![allow(clippy::unwrap_used)]

mod sets;

use std::{collections::HashSet, io::Write, path::Path, process::Command};

use fcos_burn_data::{
    DetectionDataset,
    shapes::{ShapesConfig, ShapesSplit},
    transforms::Resize,
};
use fcos_burn_inspect::{Inspection, InspectionOptions, Purpose, Splits};
use html5ever::{parse_document, tendril::TendrilSink};
use markup5ever_rcdom::{Handle, NodeData, RcDom};

use sets::{boxed, dataset, record};

const HOSTILE: &str = "<script>document.title='owned'</script>\"'&amp;\u{0}\u{7}";

fn options() -> InspectionOptions {
    InspectionOptions::new(Resize::Fixed {
        width: 160,
        height: 120,
    })
    .with_pictures(3)
}

fn shapes() -> Splits {
    let config = ShapesConfig::default()
        .with_train_images(20)
        .with_val_images(5);
    let split = |split| DetectionDataset::shapes(&config, split).unwrap();
    Splits::new("shapes")
        .with_split(Purpose::Training, "train", split(ShapesSplit::Train))
        .with_split(Purpose::Validation, "val", split(ShapesSplit::Val))
}

/// A data set with hostile names in all places, and a box to drop.
fn hostile() -> Splits {
    let objects = vec![
        boxed(0, [1.0, 1.0, 30.0, 30.0]),
        boxed(1, [3.0, 3.0, 3.0, 9.0]),
    ];
    let images = vec![
        record(1, HOSTILE, (40, 40), objects),
        record(2, "b", (30, 20), Vec::new()),
    ];
    Splits::new(HOSTILE).with_split(
        Purpose::Training,
        HOSTILE,
        dataset(&[HOSTILE, "dog"], images),
    )
}

/// Saves the page to a folder and reads it back.
fn saved(splits: &Splits, folder: &Path) -> String {
    let inspection = Inspection::of(splits, &options());
    let path = inspection.save(splits, folder).unwrap();
    assert_eq!(path, folder.join("index.html"));
    std::fs::read_to_string(path).unwrap()
}

fn elements(node: &Handle, found: &mut Vec<(String, Vec<(String, String)>)>) {
    if let NodeData::Element { name, attrs, .. } = &node.data {
        let attributes = attrs.borrow();
        let attributes = attributes
            .iter()
            .map(|of| (of.name.local.to_string(), of.value.to_string()));
        found.push((name.local.to_string(), attributes.collect()));
    }
    for child in node.children.borrow().iter() {
        elements(child, found);
    }
}

#[test]
fn the_page_is_valid_and_self_contained() {
    let folder = tempfile::tempdir().unwrap();
    for (index, splits) in [shapes(), hostile(), Splits::new("none")]
        .iter()
        .enumerate()
    {
        let html = saved(splits, &folder.path().join(index.to_string()));
        let document = parse_document(RcDom::default(), Default::default()).one(html.as_str());
        assert!(document.errors.borrow().is_empty(), "{:?}", document.errors);
        let mut found = Vec::new();
        elements(&document.document, &mut found);
        assert!(found.iter().all(|(name, _)| name != "script"), "{found:?}");
        let ids: HashSet<&str> = (found.iter().flat_map(|(_, attributes)| attributes))
            .filter(|(name, _)| name == "id")
            .map(|(_, id)| id.as_str())
            .collect();
        let mut addresses = HashSet::new();
        for (_, attributes) in &found {
            for (name, value) in attributes {
                assert!(!name.starts_with("on"), "{name}");
                let address = matches!(name.as_str(), "src" | "href" | "srcset" | "data");
                if let Some(id) = value.strip_prefix('#').filter(|_| address) {
                    assert!(ids.contains(id), "{id}");
                } else if address {
                    assert!(value.starts_with("data:image/jpeg;base64,"), "{value}");
                    assert!(addresses.insert(value), "embedded twice: {value}");
                }
            }
        }
        let count = |name: &str| found.iter().filter(|(found, _)| found == name).count();
        match index {
            // Some pictures appear in several sheets.
            0 => assert!(
                count("use") >= 9 && count("image") < count("use"),
                "{} {}",
                count("use"),
                count("image")
            ),
            1 => assert!(count("use") >= 3),
            _ => assert_eq!((count("image"), count("svg")), (0, 0)),
        }
    }
}

#[test]
fn pictures_are_jpeg_files_of_bounded_size() {
    use base64::{Engine, engine::general_purpose::STANDARD};

    let folder = tempfile::tempdir().unwrap();
    let wide = vec![record(
        1,
        "wide",
        (1500, 30),
        vec![boxed(0, [1.0, 1.0, 30.0, 30.0])],
    )];
    let splits = Splits::new("wide").with_split(Purpose::Training, "train", dataset(&["a"], wide));
    let html = saved(&splits, folder.path());
    let mut pictures = 0;
    for part in html.split("data:image/jpeg;base64,").skip(1) {
        let encoded = part.split('"').next().unwrap();
        let picture = image::load_from_memory(&STANDARD.decode(encoded).unwrap()).unwrap();
        assert_eq!((picture.width(), picture.height()), (400, 8));
        pictures += 1;
    }
    assert!(pictures >= 1);
}

#[test]
fn statistics_are_written_as_json() {
    let folder = tempfile::tempdir().unwrap();
    saved(&hostile(), folder.path());
    let json = std::fs::read_to_string(folder.path().join("inspection.json")).unwrap();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["splits"][0]["images"], 2);
    assert_eq!(json["classes"][0]["name"], HOSTILE);
    assert_eq!(json["findings"][0]["finding"], "degenerate boxes dropped");
    assert_eq!(json["findings"][0]["pictures"][0]["image"], 0);
    assert_eq!(json["levels"]["levels"][0]["name"], "P3");
}

#[test]
fn errors_of_writing_name_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let splits = Splits::new("none");
    let error = Inspection::of(&splits, &options())
        .save(&splits, &file)
        .unwrap_err();
    assert!(
        error.to_string().starts_with(&file.display().to_string()),
        "{error}"
    );
}

#[test]
fn a_browser_shows_the_page() {
    let browsers = ["chromium", "chromium-browser", "google-chrome"];
    let runs = |name: &&str| Command::new(name).arg("--version").output().is_ok();
    let Some(browser) = browsers.into_iter().find(runs) else {
        // Written directly to stderr: the test harness captures printed output of passing tests.
        let missing = browsers.join(", ");
        writeln!(std::io::stderr(), "skipped: none of {missing} is installed").unwrap();
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    for (name, splits, text) in [
        ("shapes", shapes(), "Most objects"),
        ("hostile", hostile(), "Dropped or repaired"),
    ] {
        let page = folder.path().join(name);
        saved(&splits, &page);
        let dom = Command::new(browser)
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-background-networking",
                "--dump-dom",
            ])
            .arg(format!(
                "--user-data-dir={}",
                folder.path().join("profile").display()
            ))
            .arg(format!("file://{}", page.join("index.html").display()))
            .output()
            .unwrap();
        let dom = String::from_utf8_lossy(&dom.stdout).into_owned();
        assert!(dom.contains(text), "{dom}");
        assert!(dom.contains("<title>Inspection of ") && !dom.contains("<title>owned"));
    }
}
