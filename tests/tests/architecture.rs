//! The rules of `ARCHITECTURE.md` that a program can check: which crates may depend on which, no
//! cycles between the modules of a crate, and which foreign types may appear in a public API.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use syn::{
    Attribute, Fields, FnArg, ImplItem, Item, ReturnType, Signature, TraitItem, UseTree,
    Visibility, visit::Visit,
};

/// The crates of the workspace, each with the crates that it may depend on. Dependencies point
/// down.
const MAY_USE: [(&str, &[&str]); 17] = [
    ("crates/cli", &["fcos-burn", "pretrained"]),
    (
        "crates/fcos-burn",
        &[
            "boxes", "data", "detect", "eval", "inspect", "loss", "model", "onnx", "plot",
            "report", "train",
        ],
    ),
    (
        "crates/inspect",
        &["boxes", "data", "eval", "model", "page", "plot"],
    ),
    (
        "crates/train",
        &[
            "boxes", "builtin", "cpu", "data", "detect", "eval", "loss", "model", "plot", "report",
        ],
    ),
    ("crates/onnx", &["data", "detect", "model"]),
    ("crates/detect", &["boxes", "cpu", "data", "model", "plot"]),
    ("crates/report", &["boxes", "data", "eval", "page", "plot"]),
    ("crates/model", &["boxes", "cpu", "loss"]),
    ("crates/eval", &["boxes", "data"]),
    ("crates/data", &["boxes"]),
    ("crates/boxes", &[]),
    ("crates/builtin", &[]),
    ("crates/cpu", &[]),
    ("crates/loss", &["cpu"]),
    ("crates/page", &["plot"]),
    ("crates/plot", &[]),
    ("crates/pretrained", &[]),
];

/// The foreign crates whose types may appear in the public API of each crate.
const MAY_SHOW: [(&str, &[&str]); 16] = [
    ("crates/fcos-burn", &[]),
    ("crates/train", &["burn", "serde", "serde_json"]),
    ("crates/onnx", &["burn", "serde_json"]),
    ("crates/detect", &["burn", "image", "serde", "serde_json"]),
    ("crates/inspect", &["serde", "serde_json"]),
    ("crates/report", &["serde", "serde_json"]),
    ("crates/model", &["burn", "serde"]),
    ("crates/eval", &["serde"]),
    (
        "crates/data",
        &["hotcoco", "image", "rand", "serde", "serde_json"],
    ),
    ("crates/boxes", &["serde"]),
    ("crates/builtin", &[]),
    ("crates/cpu", &["burn"]),
    ("crates/loss", &["burn", "serde"]),
    ("crates/page", &["image", "maud", "serde", "serde_json"]),
    ("crates/plot", &["image"]),
    ("crates/pretrained", &[]),
];

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}

/// The names in a table of `Cargo.toml`, such as `dependencies`.
fn keys(manifest: &toml::Table, table: &str) -> BTreeSet<String> {
    let table = manifest.get(table).and_then(toml::Value::as_table);
    table
        .map(|table| table.keys().cloned().collect())
        .unwrap_or_default()
}

fn manifest(folder: &str) -> toml::Table {
    let text = fs::read_to_string(workspace().join(folder).join("Cargo.toml")).unwrap();
    text.parse().unwrap()
}

#[test]
fn dependencies_point_down() {
    let folders: BTreeSet<String> = fs::read_dir(workspace().join("crates"))
        .unwrap()
        .map(|entry| format!("crates/{}", entry.unwrap().file_name().to_str().unwrap()))
        .collect();
    let listed = MAY_USE.map(|(folder, _)| folder.to_owned());
    assert_eq!(
        folders,
        listed.into_iter().collect(),
        "the rules must list every crate"
    );
    for (folder, allowed) in MAY_USE {
        let found = keys(&manifest(folder), "dependencies");
        let found = found.iter().filter(|name| name.starts_with("fcos-burn"));
        for name in found {
            let short = name.strip_prefix("fcos-burn-").unwrap_or(name);
            assert!(
                allowed.contains(&short),
                "{folder} must not depend on {name}"
            );
        }
    }
}

#[test]
fn every_crate_has_both_licenses() {
    for (folder, _) in MAY_USE {
        for name in ["LICENSE-APACHE", "LICENSE-MIT"] {
            let text = |path: PathBuf| fs::read_to_string(path).unwrap_or_default();
            let own = text(workspace().join(folder).join(name));
            assert!(!own.is_empty(), "{folder} lacks {name}");
            assert_eq!(own, text(workspace().join(name)), "{folder}/{name}");
        }
    }
}

#[test]
fn evaluation_and_plots_do_not_depend_on_burn() {
    for folder in [
        "crates/boxes",
        "crates/builtin",
        "crates/data",
        "crates/eval",
        "crates/page",
        "crates/plot",
        "crates/pretrained",
        "crates/report",
    ] {
        let found = keys(&manifest(folder), "dependencies");
        assert!(!found.contains("burn"), "{folder} must not depend on burn");
    }
    let detect = manifest("crates/detect");
    let burn = detect["dependencies"]["burn"]["features"]
        .as_array()
        .unwrap();
    assert!(burn.iter().all(|feature| feature.as_str() != Some("train")));
}

#[test]
fn no_crate_has_a_module_cycle() {
    for (folder, _) in MAY_USE {
        let cycles = cycles(&workspace().join(folder).join("src"));
        assert!(cycles.is_empty(), "{folder}: {cycles:?}");
    }
}

#[test]
fn planted_module_cycles_are_found() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    write("lib.rs", "mod a; mod b; mod c; pub use c::inner::Thing;");
    write("a.rs", "use crate::b::B; pub struct A(B);");
    write(
        "b.rs",
        "pub struct B; #[cfg(test)] mod tests { use crate::a::A; }",
    );
    write("c/mod.rs", "mod inner; mod outer;");
    write("c/inner.rs", "pub struct Thing;");
    write("c/outer.rs", "use super::inner::Thing;");
    assert_eq!(cycles(folder.path()), Vec::<Vec<String>>::new());
    // Through an item that the root re-exports, through a path in an expression, and within a
    // folder.
    write("b.rs", "use crate::{Thing}; pub struct B(Thing);");
    write(
        "c/inner.rs",
        "pub struct Thing; fn f() { crate::a::g(); super::outer::h(); }",
    );
    let found = cycles(folder.path());
    assert_eq!(found, [vec!["a", "b", "c"], vec!["c::inner", "c::outer"]]);
}

#[test]
fn only_listed_foreign_types_appear_in_public_apis() {
    let mut found = Vec::new();
    for (folder, allowed) in MAY_SHOW {
        let dependencies = keys(&manifest(folder), "dependencies");
        let foreign: BTreeSet<String> = (dependencies.iter())
            .filter(|name| !name.starts_with("fcos-burn"))
            .map(|name| name.replace('-', "_"))
            .collect();
        for (path, shown) in foreign_types(&workspace().join(folder).join("src")) {
            let other = shown.intersection(&foreign);
            let other = other.filter(|name| !allowed.contains(&name.as_str()));
            found.extend(other.map(|name| format!("{}: {name}", path.display())));
        }
    }
    assert!(
        found.is_empty(),
        "types of these crates appear in public items: {found:#?}"
    );
}

#[test]
fn a_planted_foreign_type_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let shown = |text: &str| {
        fs::write(folder.path().join("lib.rs"), text).unwrap();
        let (_, crates) = foreign_types(folder.path()).remove(0);
        crates.contains("rayon")
    };
    assert!(shown("use rayon::Pool; pub fn f(pool: &[Pool]) {}"));
    assert!(shown("pub struct A { pub pool: Option<rayon::Pool> }"));
    assert!(shown(
        "pub struct A; impl A { pub fn f() -> rayon::Pool {} }"
    ));
    assert!(shown("pub enum E { Pool(rayon::Pool) }"));
    assert!(shown("pub use rayon::Pool;"));
    assert!(!shown(
        "use rayon::Pool; struct A(Pool); fn f(pool: Pool) {}"
    ));
    assert!(!shown("pub struct A { pool: rayon::Pool }"));
    assert!(!shown("mod rayon; pub use rayon::Pool;"));
}

/// A module of a crate that has its own file.
struct Module {
    path: Vec<String>,
    file: PathBuf,
    syntax: syn::File,
}

/// All modules of a crate that have their own file.
fn modules(src: &Path) -> Vec<Module> {
    let mut modules = Vec::new();
    let mut folders = vec![src.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let file = entry.unwrap().path();
            if file.is_dir() {
                folders.push(file);
                continue;
            }
            if file.extension().is_none_or(|extension| extension != "rs") {
                continue;
            }
            let relative = file.strip_prefix(src).unwrap().with_extension("");
            let mut path: Vec<String> = relative
                .iter()
                .map(|part| part.to_str().unwrap().to_owned())
                .collect();
            if matches!(
                path.last().map(String::as_str),
                Some("mod" | "lib" | "main")
            ) {
                path.pop();
            }
            let syntax = syn::parse_file(&fs::read_to_string(&file).unwrap()).unwrap();
            modules.push(Module { path, file, syntax });
        }
    }
    modules.sort_by(|a, b| a.path.cmp(&b.path));
    modules
}

fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let list = attribute.meta.require_list();
        attribute.path().is_ident("cfg") && list.is_ok_and(|list| list.tokens.to_string() == "test")
    })
}

/// The paths that a module mentions, except in its tests.
#[derive(Default)]
struct Mentions(Vec<Vec<String>>);

impl<'ast> Visit<'ast> for Mentions {
    fn visit_item(&mut self, item: &'ast Item) {
        match item {
            Item::Mod(module) if is_test(&module.attrs) => {}
            Item::Use(item) if is_test(&item.attrs) => {}
            _ => syn::visit::visit_item(self, item),
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        for (path, _) in leaves(&item.tree) {
            self.0.push(path);
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.0
            .push(path.segments.iter().map(|s| s.ident.to_string()).collect());
        syn::visit::visit_path(self, path);
    }
}

/// The full paths of a `use`, each with the name that it gets.
fn leaves(tree: &UseTree) -> Vec<(Vec<String>, String)> {
    let prefixed = |name: &syn::Ident, rest: Vec<(Vec<String>, String)>| {
        rest.into_iter()
            .map(|(mut path, alias)| {
                path.insert(0, name.to_string());
                (path, alias)
            })
            .collect()
    };
    match tree {
        UseTree::Path(path) => prefixed(&path.ident, leaves(&path.tree)),
        UseTree::Name(name) if name.ident == "self" => vec![(Vec::new(), "self".to_owned())],
        UseTree::Name(name) => vec![(vec![name.ident.to_string()], name.ident.to_string())],
        UseTree::Rename(rename) => {
            vec![(vec![rename.ident.to_string()], rename.rename.to_string())]
        }
        UseTree::Glob(_) => vec![(Vec::new(), "*".to_owned())],
        UseTree::Group(group) => group.items.iter().flat_map(leaves).collect(),
    }
}

/// Resolves a `path` in a module, relative to the root of the crate. `None` for a path that does
/// not start with `crate`, `super` or `self`.
fn absolute(module: &[String], path: &[String]) -> Option<Vec<String>> {
    let first = path.first()?.as_str();
    match first {
        "crate" => Some(path[1..].to_vec()),
        "self" => Some([module, &path[1..]].concat()),
        "super" => {
            let above = module.len().checked_sub(1)?;
            let rest = absolute(&module[..above], &path[1..]);
            Some(rest.unwrap_or_else(|| [&module[..above], &path[1..]].concat()))
        }
        _ => None,
    }
}

/// The names that the modules of a crate import or re-export, each with its original path.
fn re_exports(modules: &[Module]) -> BTreeMap<Vec<String>, Vec<String>> {
    let mut found = BTreeMap::new();
    for module in modules {
        for item in &module.syntax.items {
            let Item::Use(item) = item else { continue };
            for (path, alias) in leaves(&item.tree) {
                let target = absolute(&module.path, &path).or_else(|| {
                    let child = [&module.path[..], &path[..1]].concat();
                    let is_child = modules.iter().any(|other| other.path == child);
                    is_child.then(|| [&module.path[..], &path].concat())
                });
                if let Some(target) = target {
                    found.insert([&module.path[..], &[alias]].concat(), target);
                }
            }
        }
    }
    found
}

/// The cycles between modules of the same folder, as lists of module paths.
fn cycles(src: &Path) -> Vec<Vec<String>> {
    let modules = modules(src);
    let re_exports = re_exports(&modules);
    let paths: BTreeSet<&Vec<String>> = modules.iter().map(|module| &module.path).collect();
    // Edges between the children of each folder.
    let mut edges = BTreeMap::<Vec<String>, BTreeSet<(String, String)>>::new();
    for module in &modules {
        let mut mentions = Mentions::default();
        mentions.visit_file(&module.syntax);
        for mention in mentions.0 {
            let Some(mut target) = absolute(&module.path, &mention) else {
                continue;
            };
            // Follow a re-exported name to its module, whose name may be re-exported in turn.
            for _ in 0..8 {
                let Some((length, to)) = (1..=target.len())
                    .rev()
                    .find_map(|length| Some((length, re_exports.get(&target[..length])?)))
                else {
                    break;
                };
                target = [&to[..], &target[length..]].concat();
            }
            let deepest = (0..=target.len())
                .rev()
                .find(|&l| paths.contains(&target[..l].to_vec()));
            let target = &target[..deepest.unwrap_or(0)];
            let common = module
                .path
                .iter()
                .zip(target)
                .take_while(|(a, b)| a == b)
                .count();
            if let (Some(from), Some(to)) = (module.path.get(common), target.get(common)) {
                let folder = module.path[..common].to_vec();
                edges
                    .entry(folder)
                    .or_default()
                    .insert((from.clone(), to.clone()));
            }
        }
    }
    let mut found = Vec::new();
    for (folder, edges) in edges {
        let reach = |from: &String| {
            let mut seen = BTreeSet::new();
            let mut open = vec![from.clone()];
            while let Some(module) = open.pop() {
                let next = edges.iter().filter(|(a, _)| *a == module);
                open.extend(
                    next.map(|(_, b)| b.clone())
                        .filter(|b| seen.insert(b.clone())),
                );
            }
            seen
        };
        let names: BTreeSet<&String> = edges.iter().flat_map(|(a, b)| [a, b]).collect();
        let mut cycles = BTreeSet::new();
        for name in names {
            let forward = reach(name);
            if forward.contains(name) {
                let cycle = forward.iter().filter(|other| reach(other).contains(name));
                let full = cycle.map(|name| {
                    [&folder[..], std::slice::from_ref(name)]
                        .concat()
                        .join("::")
                });
                cycles.insert(full.collect::<Vec<String>>());
            }
        }
        found.extend(cycles);
    }
    found
}

/// The foreign crates whose types appear in the public items of each file.
fn foreign_types(src: &Path) -> Vec<(PathBuf, BTreeSet<String>)> {
    let modules = modules(src);
    let open = open_modules(&modules);
    let modules = modules
        .into_iter()
        .filter(|module| open.contains(&module.path));
    let modules = modules.map(|module| {
        let mut names = BTreeMap::new();
        for item in &module.syntax.items {
            if let Item::Use(item) = item {
                for (path, alias) in leaves(&item.tree) {
                    names.extend(path.first().map(|root| (alias, root.clone())));
                }
            }
        }
        let private = module.syntax.items.iter().filter_map(|item| {
            let (visibility, name) = match item {
                Item::Struct(item) => (&item.vis, &item.ident),
                Item::Enum(item) => (&item.vis, &item.ident),
                _ => return None,
            };
            (!matches!(visibility, Visibility::Public(_))).then(|| name.to_string())
        });
        let children = module.syntax.items.iter().filter_map(|item| match item {
            Item::Mod(child) => Some(child.ident.to_string()),
            _ => None,
        });
        let mut shown = Shown {
            names,
            private: private.collect(),
            children: children.collect(),
            crates: BTreeSet::new(),
        };
        for item in &module.syntax.items {
            shown.item(item);
        }
        (module.file, shown.crates)
    });
    modules.collect()
}

/// The paths of the modules that are public, or of whose items some are re-exported.
fn open_modules(modules: &[Module]) -> BTreeSet<Vec<String>> {
    let mut open = BTreeSet::from([Vec::new()]);
    for module in modules {
        for item in &module.syntax.items {
            match item {
                Item::Mod(child) if matches!(child.vis, Visibility::Public(_)) => {
                    open.insert([&module.path[..], &[child.ident.to_string()]].concat());
                }
                Item::Use(item) if matches!(item.vis, Visibility::Public(_)) => {
                    for (path, _) in leaves(&item.tree) {
                        let relative = [&module.path[..], &path].concat();
                        let target = absolute(&module.path, &path).unwrap_or(relative);
                        let parents = (0..target.len()).map(|length| target[..length].to_vec());
                        open.extend(parents);
                    }
                }
                _ => {}
            }
        }
    }
    open
}

/// Collects the crates of the types in public signatures.
struct Shown {
    /// The crate, or first path segment, of each name in scope.
    names: BTreeMap<String, String>,
    /// The types of the module that are not public, whose methods do not count.
    private: BTreeSet<String>,
    /// The child modules, which hide crates of the same name.
    children: BTreeSet<String>,
    crates: BTreeSet<String>,
}

impl Shown {
    fn item(&mut self, item: &Item) {
        let public = |visibility: &Visibility| matches!(visibility, Visibility::Public(_));
        match item {
            Item::Fn(item) if public(&item.vis) => self.signature(&item.sig),
            Item::Struct(item) if public(&item.vis) => self.fields(&item.fields, true),
            Item::Enum(item) if public(&item.vis) => {
                for variant in &item.variants {
                    self.fields(&variant.fields, false);
                }
            }
            Item::Type(item) if public(&item.vis) => self.visit_type(&item.ty),
            Item::Use(item) if public(&item.vis) => {
                let roots = leaves(&item.tree).into_iter();
                let roots = roots.filter_map(|(path, _)| path.into_iter().next());
                let foreign = roots.filter(|root| !self.children.contains(root));
                self.crates.extend(foreign);
            }
            Item::Trait(item) if public(&item.vis) => {
                for bound in &item.supertraits {
                    self.visit_type_param_bound(bound);
                }
                for item in &item.items {
                    if let TraitItem::Fn(function) = item {
                        self.signature(&function.sig);
                    }
                }
            }
            Item::Impl(item) if item.trait_.is_none() && !self.is_private(&item.self_ty) => {
                for item in &item.items {
                    if let ImplItem::Fn(function) = item
                        && public(&function.vis)
                    {
                        self.signature(&function.sig);
                    }
                }
            }
            _ => {}
        }
    }

    fn is_private(&self, of: &syn::Type) -> bool {
        let syn::Type::Path(of) = of else {
            return false;
        };
        let name = of
            .path
            .segments
            .last()
            .map(|segment| segment.ident.to_string());
        name.is_some_and(|name| self.private.contains(&name))
    }

    fn signature(&mut self, signature: &Signature) {
        for input in &signature.inputs {
            if let FnArg::Typed(input) = input {
                self.visit_type(&input.ty);
            }
        }
        if let ReturnType::Type(_, output) = &signature.output {
            self.visit_type(output);
        }
    }

    fn fields(&mut self, fields: &Fields, only_public: bool) {
        for field in fields {
            if !only_public || matches!(field.vis, Visibility::Public(_)) {
                self.visit_type(&field.ty);
            }
        }
    }
}

impl<'ast> Visit<'ast> for Shown {
    fn visit_path(&mut self, path: &'ast syn::Path) {
        let first = path.segments[0].ident.to_string();
        let root = self.names.get(&first).cloned();
        // A path that starts with a crate name needs no `use`.
        let root = root.or_else(|| (path.segments.len() > 1).then_some(first));
        self.crates.extend(root);
        syn::visit::visit_path(self, path);
    }
}
