//! Malicious and damaged files may cause an error, but no panic, and they may not take much time or
//! memory. Replays the findings of fuzzing and damages valid files at random.
#![allow(clippy::unwrap_used)]

use std::{
    fs,
    io::Read,
    path::Path,
    time::{Duration, Instant},
};

use burn::{
    store::{ModuleSnapshot, bridge},
    tensor::Device,
};
use fcos_burn_tests::readers::{Kind, Reader, Refusal, tiny};
use rand::{RngExt, SeedableRng, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;
use safetensors::{Dtype, tensor::TensorView};
use zip::ZipArchive;

/// A valid file, or one that fuzzing found.
struct Sample {
    name: String,
    bytes: Vec<u8>,
    valid: bool,
}

/// The short inputs of the minimized fuzzing corpus.
const CORPUS: &str = "corpus.zip";

/// No file may take longer, even with debug assertions on a busy machine.
const TIME_LIMIT: Duration = Duration::from_secs(5);

fn samples(kind: Kind) -> Vec<Sample> {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let mut samples = Vec::new();
    let mut add = |path: &Path, valid: bool| {
        samples.push(Sample {
            name: path.file_name().unwrap().to_string_lossy().into_owned(),
            bytes: fs::read(path).unwrap(),
            valid,
        });
    };
    let folder = fixtures.join("hostile").join(kind.name());
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy();
        if name != CORPUS {
            add(&path, name.starts_with("valid"));
        }
    }
    if kind == Kind::Weights {
        for name in ["checkpoint.pth", "legacy.pth"] {
            add(&fixtures.join(name), true);
        }
        let dir = tempfile::tempdir().unwrap();
        let device = Device::flex();
        let own = dir.path().join("own.bpk");
        tiny().init(&device).unwrap().save(&own).unwrap();
        add(&own, true);
        let other = dir.path().join("own.safetensors");
        let tensors = tiny().init(&device).unwrap().collect(None, None, true);
        let data = tensors.into_iter().map(|tensor| {
            let (name, data) = (tensor.name.clone(), bridge::into_data(tensor).unwrap());
            (
                name,
                data.shape().as_slice().to_vec(),
                data.as_bytes().to_vec(),
            )
        });
        let data: Vec<_> = data.collect();
        let views = data.iter().map(|(name, shape, bytes)| {
            let view = TensorView::new(Dtype::F32, shape.clone(), bytes);
            (name, view.unwrap())
        });
        safetensors::serialize_to_file(views, None, &other).unwrap();
        add(&other, true);
    }
    // Together they cover most of the code that fuzzing covered.
    let corpus = fs::File::open(folder.join(CORPUS)).unwrap();
    let mut corpus = ZipArchive::new(corpus).unwrap();
    assert!(corpus.len() > 100, "{kind:?}");
    for index in 0..corpus.len() {
        let mut file = corpus.by_index(index).unwrap();
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).unwrap();
        samples.push(Sample {
            name: format!("{CORPUS}/{}", file.name().unwrap()),
            bytes,
            valid: false,
        });
    }
    samples
}

#[test]
fn valid_files_are_accepted_and_no_file_takes_long() {
    for kind in Kind::ALL {
        let reader = Reader::new(kind).unwrap();
        let samples = samples(kind);
        assert!(samples.iter().any(|sample| sample.valid), "{kind:?}");
        for Sample { name, bytes, valid } in samples {
            let started = Instant::now();
            let result = reader.read(&bytes);
            let took = started.elapsed();
            assert!(took < TIME_LIMIT, "{name} took {took:?}");
            assert!(!valid || result.is_ok(), "{name}: {}", result.unwrap_err());
        }
    }
}

#[test]
fn a_megabyte_is_accepted_or_rejected_in_little_time_and_memory() {
    for kind in Kind::ALL {
        let reader = Reader::new(kind).unwrap();
        for (name, bytes) in megabytes(kind) {
            let started = Instant::now();
            let result = reader.read(&bytes);
            let took = started.elapsed();
            eprintln!("{kind:?}: {name}: {took:.2?} {result:?}");
            assert!(took < TIME_LIMIT, "{name} took {took:?}");
        }
    }
    // The peak memory of this process, including its other tests.
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    if let Some(peak) = peak {
        let kib: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
        assert!(kib < 1 << 20, "{kib} KiB");
    }
}

/// About a megabyte of `piece(0)`, `piece(1)`, … between `head` and `tail`.
fn filled(head: &str, piece: impl Fn(usize) -> String, tail: &str) -> String {
    let mut text = head.to_owned();
    for index in 0.. {
        if text.len() + tail.len() > 1_000_000 {
            break;
        }
        text.push_str(&piece(index));
    }
    text + tail
}

/// Files of about a megabyte that try to make a reader spend time or memory.
fn megabytes(kind: Kind) -> Vec<(&'static str, Vec<u8>)> {
    let files = match kind {
        Kind::Coco => {
            let image = r#"{"id":1,"file_name":"a.png","width":40,"height":30}"#;
            let list = |index: usize, item: String| match index {
                0 => item,
                _ => format!(",{item}"),
            };
            let pairs = |index: usize| {
                // Serves as a category and as an object of it. Each list ignores the other's
                // fields.
                let id = index + 1;
                list(
                    index,
                    format!(
                        r#"{{"id":{id},"name":"a","image_id":1,"category_id":{id},"bbox":[1,1,9,9]}}"#
                    ),
                )
            };
            let half = filled("", pairs, "");
            let half = &half[..half[..450_000].rfind(",{").unwrap()];
            vec![
                (
                    "images",
                    filled(
                        r#"{"categories":[{"id":1,"name":"a"}],"annotations":[],"images":["#,
                        |index| {
                            list(
                                index,
                                image.replace(r#""id":1"#, &format!(r#""id":{index}"#)),
                            )
                        },
                        "]}",
                    ),
                ),
                (
                    "images that are missing",
                    filled(
                        r#"{"categories":[{"id":1,"name":"a"}],"annotations":[],"images":["#,
                        |index| {
                            let missing = image.replace("a.png", &format!("{index}.png"));
                            list(
                                index,
                                missing.replace(r#""id":1"#, &format!(r#""id":{index}"#)),
                            )
                        },
                        "]}",
                    ),
                ),
                (
                    "objects",
                    filled(
                        &format!(
                            r#"{{"images":[{image}],"categories":[{{"id":1,"name":"a"}}],"annotations":["#
                        ),
                        |index| {
                            list(
                                index,
                                r#"{"image_id":1,"category_id":1,"bbox":[1,1,9,9]}"#.to_owned(),
                            )
                        },
                        "]}",
                    ),
                ),
                (
                    "categories",
                    filled(
                        &format!(r#"{{"images":[{image}],"annotations":[],"categories":["#),
                        |index| list(index, format!(r#"{{"id":{index},"name":"a"}}"#)),
                        "]}",
                    ),
                ),
                (
                    "categories with an object each",
                    format!(
                        r#"{{"images":[{image}],"annotations":[{half}],"categories":[{half}]}}"#
                    ),
                ),
                ("nesting", filled(r#"{"info":"#, |_| "[".to_owned(), "")),
                (
                    "a name",
                    filled(
                        r#"{"images":[{"id":1,"file_name":""#,
                        |_| "a/".to_owned(),
                        r#""}]}"#,
                    ),
                ),
                (
                    "a number",
                    filled(r#"{"images":[{"id":"#, |_| "1".to_owned(), "}]}"),
                ),
            ]
        }
        Kind::Voc => {
            let corners =
                "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox>";
            vec![
                (
                    "objects",
                    filled(
                        "<annotation>",
                        |index| format!("<object><name>{index}</name>{corners}</object>\n"),
                        "</annotation>",
                    ),
                ),
                ("nesting", filled("<annotation>", |_| "<a>".to_owned(), "")),
                (
                    "elements",
                    filled("<annotation>", |_| "<a/>".to_owned(), "</annotation>"),
                ),
                (
                    "attributes",
                    filled("<annotation", |index| format!(" a{index}=''"), "/>"),
                ),
                (
                    "namespaces",
                    filled(
                        "<annotation",
                        |index| format!(" xmlns:a{index}='b{index}'"),
                        "/>",
                    ),
                ),
                (
                    "nested namespaces",
                    filled(
                        "<annotation>",
                        |index| format!("<a xmlns:a{index}='b{index}'>"),
                        "",
                    ),
                ),
                (
                    "comments",
                    filled("<annotation>", |_| "<!---->".to_owned(), "</annotation>"),
                ),
                (
                    "references",
                    filled(
                        "<annotation><filename>",
                        |_| "&lt;".to_owned(),
                        "</filename></annotation>",
                    ),
                ),
            ]
        }
        Kind::Yolo => {
            let yaml = "names: [a]\0";
            let classes = format!("names: [{}]\0", "a,".repeat(8000));
            vec![
                (
                    "objects",
                    filled(yaml, |_| "0 .5 .5 .1 .1\n".to_owned(), ""),
                ),
                (
                    "classes with an object each",
                    filled(
                        &classes,
                        |index| format!("{} .5 .5 .1 .1\n", index % 8000),
                        "",
                    ),
                ),
                (
                    "a polygon",
                    filled(&format!("{yaml}0"), |_| " .5".to_owned(), ""),
                ),
                ("classes", filled("names: [", |_| "a,".to_owned(), "]\0")),
                ("nesting", filled("names: ", |_| "[".to_owned(), "\0")),
                (
                    "a mapping",
                    filled("names:\n", |index| format!(" {index}: a\n"), "\0"),
                ),
                (
                    "splits",
                    filled("names: [a]\ntrain: [", |_| "a,".to_owned(), "]\0"),
                ),
                (
                    "aliases",
                    filled(
                        "a0: &a0 [b]\n",
                        |index| format!("a{0}: &a{0} [*a{index},*a{index}]\n", index + 1),
                        "names: [a]\n\0",
                    ),
                ),
            ]
        }
        Kind::DataYaml => vec![
            (
                "splits",
                filled("names: [a]\n", |index| format!("{index}: images\n"), ""),
            ),
            (
                "places",
                filled("names: [a]\ntrain: [", |_| "images,".to_owned(), "]"),
            ),
            ("nesting", filled("names: ", |_| "[".to_owned(), "")),
        ],
        Kind::Darknet => {
            let data = "names = obj.names\ntrain = train.txt\n";
            vec![
                (
                    "splits",
                    filled(
                        data,
                        |index| format!("{index} = train.txt\n"),
                        "\0a\0images/a.png",
                    ),
                ),
                (
                    "classes",
                    filled(&format!("{data}\0"), |_| "a\n".to_owned(), "\0images/a.png"),
                ),
                (
                    "images",
                    filled(&format!("{data}\0a\0"), |_| "images/a.png\n".to_owned(), ""),
                ),
                (
                    "images of another machine",
                    filled(
                        &format!("{data}\0a\0"),
                        |index| format!("C:\\data\\{index}\\a.png\n"),
                        "",
                    ),
                ),
            ]
        }
        Kind::Csv => {
            let header = "filename,xmin,ymin,xmax,ymax,class\n";
            vec![
                (
                    "objects",
                    filled(
                        "",
                        |index| format!("a.png,1,{index},9,{},a\n", index + 9),
                        "",
                    ),
                ),
                (
                    "classes with an object each",
                    filled(header, |index| format!("a.png,1,1,9,9,{index}\n"), ""),
                ),
                (
                    "classes",
                    filled(
                        "a.png,1,1,9,9,a\n\0",
                        |index| format!("{index},{index}\n"),
                        "",
                    ),
                ),
                (
                    "images that are missing",
                    filled(header, |index| format!("{index}/b.png,,,,,\n"), ""),
                ),
                (
                    "columns",
                    filled("filename,xmin,ymin", |_| ",a".to_owned(), "\n"),
                ),
                (
                    "a quoted field",
                    filled(&format!("{header}\""), |_| "\n".to_owned(), ""),
                ),
                ("quotes", filled("", |_| "\"".to_owned(), "")),
            ]
        }
        Kind::CreateMl => {
            let annotation = r#"{"label":"a","coordinates":{"x":5,"y":5,"width":4,"height":4}}"#;
            vec![
                (
                    "objects",
                    filled(
                        r#"[{"image":"a.png","annotations":["#,
                        |_| format!("{annotation},"),
                        &format!("{annotation}]}}]"),
                    ),
                ),
                (
                    "images",
                    filled(
                        "[",
                        |index| format!(r#"{{"image":"{index}.png","annotations":[]}},"#),
                        &format!(r#"{{"image":"a.png","annotations":[{annotation}]}}]"#),
                    ),
                ),
                (
                    "nesting",
                    filled(
                        r#"[{"image":"a.png","annotations":"#,
                        |_| "[".to_owned(),
                        "",
                    ),
                ),
            ]
        }
        Kind::Weights => return weights(),
        Kind::Configuration => vec![
            ("nesting", filled("", |_| "{\"model\":".to_owned(), "")),
            (
                "a name",
                filled("{\"data\":{\"train_split\":\"", |_| "a".to_owned(), "\"}}"),
            ),
            (
                "transforms",
                filled(
                    "{\"input\":{\"augmentation\":[{\"horizontal_flip\":{\"probability\":0.5}}",
                    |_| ",{\"horizontal_flip\":{\"probability\":0.5}}".to_owned(),
                    "]}}",
                ),
            ),
            (
                "devices",
                filled("{\"devices\":[\"cpu\"", |_| ",\"cpu\"".to_owned(), "]}"),
            ),
            (
                "unknown fields",
                filled("{\"a\":1", |index| format!(",\"{index}\":1"), "}"),
            ),
        ],
    };
    let bytes = |(name, text): (&'static str, String)| (name, text.into_bytes());
    files.into_iter().map(bytes).collect()
}

/// The same for each format of weights.
fn weights() -> Vec<(&'static str, Vec<u8>)> {
    let safetensors = |header: String| {
        let length = (header.len() as u64).to_le_bytes();
        [length.as_slice(), header.as_bytes()].concat()
    };
    let burnpack = |metadata: &[u8]| {
        let length = (metadata.len() as u32).to_le_bytes();
        [b"NRUB\x01\0".as_slice(), &length, metadata].concat()
    };
    let tensor = |index: usize| {
        format!(r#""head.{index}":{{"dtype":"F32","shape":[0],"data_offsets":[0,0]}},"#)
    };
    vec![
        (
            "tensors",
            safetensors(filled("{", tensor, r#""__metadata__":{}}"#)),
        ),
        (
            "metadata",
            safetensors(filled(
                r#"{"__metadata__":{"a":"b""#,
                |index| format!(r#","{index}":"""#),
                "}}",
            )),
        ),
        (
            "nesting",
            safetensors(filled("{\"a\":", |_| "[".to_owned(), "")),
        ),
        // Nested CBOR arrays of one item each.
        ("nested metadata", burnpack(&[0x81; 1_000_000])),
        // A CBOR text of indefinite length that consists of empty texts.
        (
            "texts",
            burnpack(&[[0x7f].as_slice(), &[0x60; 1_000_000]].concat()),
        ),
        // A pickle that doubles its contents again and again.
        (
            "copies",
            [b"\x80\x02]".as_slice(), &b"2\x86".repeat(500_000)].concat(),
        ),
        (
            "constants",
            [b"\x80\x02".as_slice(), &b"N".repeat(1_000_000)].concat(),
        ),
    ]
}

#[test]
fn damaged_files_are_accepted_or_rejected_quickly() {
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    for kind in Kind::ALL {
        let reader = Reader::new(kind).unwrap();
        let (mut all, mut rejected) = (0, 0);
        for sample in samples(kind).into_iter().filter(|sample| sample.valid) {
            for _ in 0..200 {
                let damaged = damage(sample.bytes.clone(), &mut rng);
                let started = Instant::now();
                let result = reader.read(&damaged);
                let took = started.elapsed();
                assert!(took < TIME_LIMIT, "{} took {took:?}", sample.name);
                // Only the file may be at fault, not the machine.
                assert!(
                    !matches!(result, Err(Refusal::Device(_) | Refusal::Io(_))),
                    "{}: {result:?}",
                    sample.name
                );
                all += 1;
                rejected += usize::from(result.is_err());
            }
        }
        assert!(rejected > all / 10, "{kind:?}: {rejected} of {all}");
    }
}

/// Flips a bit, truncates, deletes, repeats or inserts bytes in one to three places. Half of the
/// places are near the start, where most formats have their header.
fn damage(mut bytes: Vec<u8>, rng: &mut ChaCha8Rng) -> Vec<u8> {
    const VALUES: [&[u8]; 10] = [
        b"\0",
        b"\xff\xff\xff\xff\xff\xff\xff\x7f",
        b"-1",
        b"1e308",
        b"99999999999999999999",
        b"{",
        b"]",
        b"<",
        b"nan",
        b"../",
    ];
    for _ in 0..rng.random_range(1..4) {
        let reach = match rng.random_bool(0.5) {
            true => bytes.len().min(4096),
            false => bytes.len(),
        };
        if reach == 0 {
            break;
        }
        let at = rng.random_range(0..reach);
        let end = (at + rng.random_range(1..64)).min(bytes.len());
        match rng.random_range(0..5) {
            0 => bytes[at] ^= 1 << rng.random_range(0..8),
            1 => bytes.truncate(at),
            2 => drop(bytes.drain(at..end)),
            3 => {
                let again = bytes[at..end].to_vec();
                bytes.splice(at..at, again);
            }
            _ => {
                let value = VALUES.choose(rng).unwrap().to_vec();
                bytes.splice(at..at, value);
            }
        }
    }
    bytes
}
