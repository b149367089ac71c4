//! The Markdown pages and the committed results.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    fs,
    path::{Path, PathBuf},
};

/// A clone downloads all committed results.
const MOST_BYTES_OF_RESULTS: u64 = 3_000_000;

/// Folders that hold no pages of the project.
const SKIPPED: [&str; 4] = ["target", "runs", "results", "node_modules"];

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// All files below `folder`, without hidden folders.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            let is_output = folder == workspace() && SKIPPED.contains(&name.as_str());
            if !name.starts_with('.') && !is_output && name != "node_modules" {
                found.extend(files(&path));
            }
        } else {
            found.push(path);
        }
    }
    found
}

/// The targets of the inline links of a page that are files, without the part after `#`.
fn linked_files(page: &str) -> Vec<&str> {
    let mut in_code = false;
    let prose = page.lines().filter(move |line| {
        let fence = line.trim_start().starts_with("```");
        in_code ^= fence;
        !in_code && !fence
    });
    let targets = prose.flat_map(|line| {
        line.split("](")
            .skip(1)
            .filter_map(|rest| Some(rest.split_once(')')?.0))
    });
    targets
        .filter(|target| !target.contains("://"))
        .filter_map(|target| target.split('#').next().filter(|file| !file.is_empty()))
        .collect()
}

#[test]
fn links_are_found_outside_code() {
    let page =
        "see [a](b/c.md#part) and [d](https://e.org)\n```rust\nx[i](y)\n```\n[f](#g) ![h](i.png)";
    assert_eq!(linked_files(page), ["b/c.md", "i.png"]);
}

#[test]
fn links_between_pages_resolve() {
    let pages = files(&workspace()).into_iter();
    let pages: Vec<PathBuf> = pages
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .collect();
    assert!(pages.len() > 30, "only {} pages", pages.len());
    let broken: Vec<String> = (pages.iter())
        .flat_map(|path| {
            let page = fs::read_to_string(path).unwrap();
            let folder = path.parent().unwrap().to_owned();
            let broken = linked_files(&page).into_iter();
            let broken = broken.filter(|target| !folder.join(target).exists());
            broken
                .map(|target| format!("{}: {target}", path.display()))
                .collect::<Vec<_>>()
        })
        .collect();
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn committed_results_are_small() {
    let bytes: u64 = files(&workspace().join("docs/results"))
        .iter()
        .map(|path| path.metadata().unwrap().len())
        .sum();
    assert!(bytes < MOST_BYTES_OF_RESULTS, "{bytes} bytes");
}
