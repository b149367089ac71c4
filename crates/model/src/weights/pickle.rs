//! Protection from PyTorch files that exhaust the memory.
//!
//! A `.pth` file is a pickle: a program for a stack machine that builds the saved object.
//! Instructions of one or two bytes copy values of any size, so that a file of kilobytes can
//! expand to gigabytes. Burn's reader runs the program and copies these values before any
//! limit can be applied to the result. [`check`] runs the program beforehand, computing only
//! how much memory each value takes, and refuses files that take far more than their
//! length. It also refuses what PyTorch does not write, or has not for long: compressed
//! archives, which may expand to any size, and the TAR files of its first versions.

use std::{
    collections::HashMap,
    fs::File,
    io::{BufRead, BufReader, Error, ErrorKind, Read, Result, Seek, SeekFrom},
};

use zip::{CompressionMethod, ZipArchive};

/// The most bytes of memory that each of a file's pickles may take, in addition to
/// [`MAX_MEMORY_PER_BYTE`]. The data of tensors is not in the pickles: even the state of a
/// whole training takes a small part of this.
const MAX_MEMORY: u64 = 512 << 20;

/// The most bytes of memory that each of a file's pickles may take per byte of the file.
const MAX_MEMORY_PER_BYTE: u64 = 16;

/// The same limit for each of the pickles that precede the tensors in a file that is not an
/// archive: magic number, protocol version and system information.
const MAX_HEADER_MEMORY: u64 = 64 << 10;

/// The memory of a value, without its contents.
const VALUE: u64 = 128;

/// Number of pickles that precede the tensors in a file that is not an archive.
const HEADER_PICKLES: usize = 3;

/// Number of pickles after them: the object with its tensors, and the keys of their
/// storages.
const PICKLES: usize = 2;

/// The most entries of an archive, which has one per tensor and a few others.
const MAX_ENTRIES: usize = 100_000;

/// The longest line in bytes. Lines hold numbers and names.
const MAX_LINE: u64 = 1 << 20;

/// Checks that a PyTorch file can be read with an amount of memory in proportion to its
/// length.
///
/// # Errors
///
/// Fails if it cannot, if the file is malformed, or if its format is not supported.
pub(super) fn check(mut file: File) -> Result<()> {
    let budget = file.metadata()?.len().saturating_mul(MAX_MEMORY_PER_BYTE);
    let budget = budget.saturating_add(MAX_MEMORY);
    let mut head = Vec::new();
    (&mut file).take(262).read_to_end(&mut head)?;
    file.seek(SeekFrom::Start(0))?;
    if head.starts_with(b"PK") {
        check_archive(BufReader::new(file), budget)
    } else if head.ends_with(b"ustar") {
        Err(refused("files of PyTorch before 0.1.10 are not supported"))
    } else {
        let mut file = BufReader::new(file);
        let header = [MAX_HEADER_MEMORY; HEADER_PICKLES].into_iter();
        let mut budgets = header.chain([budget; PICKLES]);
        budgets.try_for_each(|budget| check_pickle(&mut file, budget))
    }
    .map_err(|error| match error.kind() {
        ErrorKind::UnexpectedEof => refused("the file ends before its tensors begin"),
        _ => error,
    })
}

/// Checks an archive. PyTorch does not compress; a compressed entry could expand to any
/// size.
fn check_archive(file: BufReader<File>, budget: u64) -> Result<()> {
    let mut archive = ZipArchive::new(file)?;
    if archive.len() > MAX_ENTRIES {
        return Err(refused("the archive has too many entries"));
    }
    let mut pickles = Vec::new();
    for index in 0..archive.len() {
        let entry = archive.by_index_raw(index)?;
        if entry.compression() != CompressionMethod::Stored {
            return Err(refused("the archive is compressed, but PyTorch's are not"));
        }
        if entry.name()?.ends_with("data.pkl") {
            pickles.push(index);
        }
    }
    match pickles[..] {
        [pickle] => check_pickle(&mut BufReader::new(archive.by_index(pickle)?), budget),
        _ => Err(refused("the archive does not have exactly one data.pkl")),
    }
}

fn check_pickle(pickle: &mut impl BufRead, budget: u64) -> Result<()> {
    Machine::new(budget).run(pickle)
}

fn refused(cause: &str) -> Error {
    Error::new(ErrorKind::InvalidData, cause)
}

/// The most bytes of an index and a dot in a tensor's name.
const INDEX: u64 = 21;

/// How many copies of a tensor's name the reader makes.
const COPIES_OF_NAMES: u64 = 3;

/// The size of a value on the stack.
#[derive(Clone, Copy, Debug, Default)]
struct Value {
    /// Its memory in bytes, including all its contents.
    memory: u64,
    /// Number of call results in it, which are mostly tensors.
    tensors: u64,
    /// Length in bytes of the longest path of keys and indices from it to one of them. The
    /// reader joins them into the tensor's name.
    path: u64,
    /// Its index in the memo.
    memo: Option<u32>,
}

impl Value {
    fn leaf(memory: u64) -> Self {
        Self {
            memory: VALUE.saturating_add(memory),
            ..Self::default()
        }
    }

    /// This value, with `other` among its contents.
    fn with(self, other: Self) -> Self {
        Self {
            memory: self.memory.saturating_add(other.memory),
            tensors: self.tensors.saturating_add(other.tensors),
            path: self.path.max(other.path),
            memo: self.memo,
        }
    }

    /// This value, with `value` among its contents at some index.
    fn with_indexed(self, value: Self) -> Self {
        self.with(value.named(INDEX))
    }

    /// This value, with `value` among its contents under `key`.
    fn with_item(self, key: Self, value: Self) -> Self {
        let name = key.memory.saturating_sub(VALUE).saturating_add(INDEX);
        self.with(key).with(value.named(name))
    }

    /// This value under a key of that many bytes.
    fn named(self, bytes: u64) -> Self {
        let path = match self.tensors {
            0 => 0,
            _ => self.path.saturating_add(bytes),
        };
        Self { path, ..self }
    }

    /// Memory of the full names of all tensors in it.
    fn names(&self) -> u64 {
        self.tensors
            .saturating_mul(self.path)
            .saturating_mul(COPIES_OF_NAMES)
    }
}

/// The stack machine of Python's `pickle` (see `pickletools`), on sizes.
struct Machine {
    stack: Vec<Value>,
    /// Heights of the stack at the marks, the innermost last.
    marks: Vec<usize>,
    memo: HashMap<u32, Value>,
    /// Memory of all values and copies so far, including those that were dropped since.
    spent: u64,
    /// The most memory that they may take.
    budget: u64,
}

impl Machine {
    fn new(budget: u64) -> Self {
        Self {
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
            spent: 0,
            budget,
        }
    }

    fn run(mut self, pickle: &mut impl BufRead) -> Result<()> {
        loop {
            match byte(pickle)? {
                b'.' => break,
                // Protocol version and frame length.
                0x80 => drop(byte(pickle)?),
                0x95 => skip(pickle, 8)?,
                // Constants and empty containers.
                b'N' | 0x88 | 0x89 | b')' | b']' | b'}' | 0x8f => self.push(Value::leaf(0))?,
                // Numbers.
                b'K' => self.push_fixed(pickle, 1)?,
                b'M' => self.push_fixed(pickle, 2)?,
                b'J' => self.push_fixed(pickle, 4)?,
                b'G' => self.push_fixed(pickle, 8)?,
                // Numbers and strings as lines.
                b'I' | b'L' | b'F' | b'V' | b'P' => {
                    let length = line(pickle)?.len();
                    self.push(Value::leaf(length as u64))?;
                }
                b'c' => {
                    let length = line(pickle)?.len() + line(pickle)?.len();
                    self.push(Value::leaf(length as u64))?;
                }
                // Integers, strings and bytes, preceded by their length.
                0x8a | 0x8c | b'U' | b'C' => self.push_counted(pickle, 1)?,
                0x8b | b'X' | b'T' | b'B' => self.push_counted(pickle, 4)?,
                0x8d | 0x8e | 0x96 => self.push_counted(pickle, 8)?,
                // Containers built from the stack.
                b'(' => self.marks.push(self.stack.len()),
                b't' | b'l' | 0x91 => {
                    let items = self.pop_to_mark()?;
                    let all = items.into_iter().fold(Value::leaf(0), Value::with_indexed);
                    self.replace(VALUE, all)?;
                }
                b'd' => {
                    let items = self.pop_to_mark()?;
                    self.replace(VALUE, with_items(Value::leaf(0), &items))?;
                }
                0x85 => self.combine(1)?,
                0x86 => self.combine(2)?,
                0x87 => self.combine(3)?,
                // Insertion into the container below.
                b'a' => {
                    let (item, container) = (self.pop()?, self.pop()?);
                    self.replace(0, container.with_indexed(item))?;
                }
                b'e' | 0x90 => {
                    let items = self.pop_to_mark()?;
                    let container = self.pop()?;
                    self.replace(0, items.into_iter().fold(container, Value::with_indexed))?;
                }
                b's' => {
                    let (value, key) = (self.pop()?, self.pop()?);
                    let container = self.pop()?;
                    self.replace(0, container.with_item(key, value))?;
                }
                b'u' => {
                    let items = self.pop_to_mark()?;
                    let container = self.pop()?;
                    self.replace(0, with_items(container, &items))?;
                }
                // The stack.
                b'0' => {
                    if self.mark_is_on_top() {
                        self.marks.pop();
                    } else {
                        self.pop()?;
                    }
                }
                b'1' => drop(self.pop_to_mark()?),
                b'2' => {
                    let top = self.pop()?;
                    self.stack.push(top);
                    self.push(top)?;
                }
                // The memo.
                b'h' => self.recall(length(pickle, 1)?)?,
                b'j' => self.recall(length(pickle, 4)?)?,
                b'g' => self.recall(line_index(pickle)?)?,
                b'q' => self.remember(length(pickle, 1)?)?,
                b'r' => self.remember(length(pickle, 4)?)?,
                b'p' => self.remember(line_index(pickle)?)?,
                0x94 => self.remember(self.memo.len() as u64)?,
                // Classes by name, persistent ids, calls.
                0x93 => self.combine(2)?,
                b'Q' => self.combine(1)?,
                b'R' => {
                    self.combine(2)?;
                    if let Some(result) = self.stack.last_mut() {
                        result.tensors = result.tensors.saturating_add(1);
                    }
                }
                0x81 => self.combine(2)?,
                0x92 => self.combine(3)?,
                // An object in the memo gets the state, too.
                b'b' => {
                    let (state, object) = (self.pop()?, self.pop()?);
                    self.stack.push(object.with(state));
                    if let Some(index) = object.memo {
                        self.remember(index.into())?;
                    }
                    if let Some(built) = self.stack.last_mut() {
                        built.memo = None;
                    }
                }
                other => {
                    let cause = format!("the pickle has the unknown opcode {other:#04x}");
                    return Err(Error::new(ErrorKind::InvalidData, cause));
                }
            }
        }
        let root = self.pop()?;
        self.spend(root.names())
    }

    fn spend(&mut self, memory: u64) -> Result<()> {
        self.spent = self.spent.saturating_add(memory);
        if self.spent > self.budget {
            return Err(refused("reading the pickle would take too much memory"));
        }
        Ok(())
    }

    /// Pushes a new value or a copy.
    fn push(&mut self, value: Value) -> Result<()> {
        self.spend(value.memory)?;
        self.stack.push(value);
        Ok(())
    }

    /// Pushes a value made of others that were on the stack, which takes `memory` more than
    /// they do.
    fn replace(&mut self, memory: u64, value: Value) -> Result<()> {
        self.spend(memory)?;
        self.stack.push(value);
        Ok(())
    }

    fn push_fixed(&mut self, pickle: &mut impl BufRead, bytes: u64) -> Result<()> {
        skip(pickle, bytes)?;
        self.push(Value::leaf(0))
    }

    fn push_counted(&mut self, pickle: &mut impl BufRead, bytes: usize) -> Result<()> {
        let bytes = length(pickle, bytes)?;
        self.push(Value::leaf(bytes))?;
        skip(pickle, bytes)
    }

    /// Replaces the topmost values by one that contains them.
    fn combine(&mut self, values: usize) -> Result<()> {
        let mut all = Value::leaf(0);
        for _ in 0..values {
            all = all.with_indexed(self.pop()?);
        }
        self.replace(VALUE, all)
    }

    fn mark_is_on_top(&self) -> bool {
        self.marks.last() == Some(&self.stack.len())
    }

    fn pop(&mut self) -> Result<Value> {
        if self.mark_is_on_top() {
            return Err(refused("the pickle has a mark in place of a value"));
        }
        self.stack
            .pop()
            .ok_or_else(|| refused("the pickle takes a value from the empty stack"))
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Value>> {
        let mark = self.marks.pop();
        let mark = mark.ok_or_else(|| refused("the pickle lacks a mark"))?;
        Ok(self.stack.split_off(mark))
    }

    fn recall(&mut self, index: u64) -> Result<()> {
        let known = u32::try_from(index).ok();
        let value = known.and_then(|index| self.memo.get(&index)).copied();
        self.push(value.ok_or_else(|| refused("the pickle reads an empty slot of its memo"))?)
    }

    fn remember(&mut self, index: u64) -> Result<()> {
        let mut value = self.pop()?;
        value.memo = u32::try_from(index).ok();
        self.stack.push(value);
        self.spend(value.memory)?;
        self.memo.extend(value.memo.map(|index| (index, value)));
        Ok(())
    }
}

/// Reads a line, without its end.
fn line(pickle: &mut impl BufRead) -> Result<Vec<u8>> {
    let mut line = Vec::new();
    pickle.take(MAX_LINE).read_until(b'\n', &mut line)?;
    match line.pop() {
        Some(b'\n') => Ok(line),
        _ => Err(ErrorKind::UnexpectedEof.into()),
    }
}

/// Reads an index of the memo from a line.
fn line_index(pickle: &mut impl BufRead) -> Result<u64> {
    let line = line(pickle)?;
    let text = String::from_utf8_lossy(&line);
    text.trim()
        .parse()
        .map_err(|_| refused("the pickle has a malformed index"))
}

/// `container`, with alternating keys and values among its contents.
fn with_items(container: Value, items: &[Value]) -> Value {
    items.chunks(2).fold(container, |container, item| {
        let value = item.get(1).copied().unwrap_or_default();
        container.with_item(item[0], value)
    })
}

fn byte(pickle: &mut impl BufRead) -> Result<u8> {
    Ok(length(pickle, 1)? as u8)
}

/// Reads a little-endian number of that many bytes.
fn length(pickle: &mut impl BufRead, bytes: usize) -> Result<u64> {
    let mut number = [0; 8];
    pickle.read_exact(&mut number[..bytes])?;
    Ok(u64::from_le_bytes(number))
}

fn skip(pickle: &mut impl BufRead, bytes: u64) -> Result<()> {
    match std::io::copy(&mut pickle.take(bytes), &mut std::io::sink())? {
        skipped if skipped == bytes => Ok(()),
        _ => Err(ErrorKind::UnexpectedEof.into()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::io::Write;

    use zip::{ZipWriter, write::SimpleFileOptions};

    use super::*;

    fn cause(result: Result<()>) -> String {
        result.unwrap_err().to_string()
    }

    fn run(pickle: &[u8]) -> Result<()> {
        check_pickle(&mut &*pickle, MAX_MEMORY)
    }

    fn file(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file.seek(SeekFrom::Start(0)).unwrap();
        file
    }

    /// An archive with the entries `names`, all of them `bytes`.
    fn archive(names: &[&str], bytes: &[u8], method: CompressionMethod) -> File {
        let mut archive = ZipWriter::new(tempfile::tempfile().unwrap());
        for name in names {
            let options = SimpleFileOptions::default().compression_method(method);
            archive.start_file(*name, options).unwrap();
            archive.write_all(bytes).unwrap();
        }
        let mut file = archive.finish().unwrap();
        file.seek(SeekFrom::Start(0)).unwrap();
        file
    }

    /// `{"a": 1, "b": [2, 3]}` as protocols 2 and 4 write it.
    const DICTS: [&[u8]; 2] = [
        b"\x80\x02}q\0(X\x01\0\0\0aq\x01K\x01X\x01\0\0\0bq\x02]q\x03(K\x02K\x03eu.",
        b"\x80\x04\x95\x17\0\0\0\0\0\0\0}\x94(\x8c\x01a\x94K\x01\x8c\x01b\x94]\x94(K\x02K\x03eu.",
    ];

    #[test]
    fn ordinary_files_pass() {
        for pickle in DICTS {
            run(pickle).unwrap();
            check(archive(
                &["a/data.pkl", "a/data/0"],
                pickle,
                CompressionMethod::Stored,
            ))
            .unwrap();
            check(file(&pickle.repeat(HEADER_PICKLES + PICKLES))).unwrap();
        }
    }

    /// `torch.save` of `{"model": m, "ema": copy.deepcopy(m), "optimizer": o.state_dict(),
    /// "losses": […]}` for torchvision's FCOS with a ResNet-18, after a step of AdamW. It has
    /// whole modules, not only their tensors.
    const TRAINING: &[u8] = include_bytes!("fixtures/training.pkl");

    #[test]
    fn the_state_of_a_training_takes_a_small_part_of_the_limit() {
        check_pickle(&mut &*TRAINING, MAX_MEMORY / 10).unwrap();
        assert!(check_pickle(&mut &*TRAINING, MAX_MEMORY / 1000).is_err());
    }

    #[test]
    fn pickles_before_the_tensors_have_a_lower_limit() {
        let [pickle, _] = DICTS;
        let long = [
            b"B".as_slice(),
            &100_000_u32.to_le_bytes(),
            &[0xff; 100_000],
            b".",
        ]
        .concat();
        let version = [pickle, &long, &pickle.repeat(3)].concat();
        assert!(cause(check(file(&version))).contains("too much memory"));
        let root = [&pickle.repeat(3), long.as_slice(), pickle].concat();
        check(file(&root)).unwrap();
    }

    /// Files of at most a megabyte that would expand to gigabytes.
    #[test]
    fn bombs_are_refused() {
        let long = "a".repeat(500_000);
        let length = (long.len() as u32).to_le_bytes();
        let string = [b"X".as_slice(), &length, long.as_bytes()].concat();
        let recalled = b"h\0".repeat(200_000);
        let bombs: [Vec<u8>; 6] = [
            // A class with a long name, copied from the memo again and again.
            [b"c", long.as_bytes(), b"\nb\nq\0", &recalled].concat(),
            // The same with a dictionary that has a long key.
            [b"}".as_slice(), &string, b"Nsq\0", &recalled].concat(),
            // A tuple that is doubled again and again.
            [b")".as_slice(), &b"2\x86".repeat(100)].concat(),
            // A list that is stored in the memo after each item.
            [b"]".as_slice(), &b"Naq\0".repeat(200_000)].concat(),
            // Tensors deep in nested lists, whose indices become parts of all names.
            [
                b"}X\0\0\0\0".as_slice(),
                &[b"(".as_slice(), &[b'N'; 100]].concat().repeat(990),
                b"))Rq\0",
                &b"h\0".repeat(220_000),
                &b"t".repeat(990),
                b"s.",
            ]
            .concat(),
            // Tensors under a long key, which becomes a part of all their names.
            [
                b"}".as_slice(),
                &string,
                b"](",
                &b"))R".repeat(100_000),
                b"es.",
            ]
            .concat(),
        ];
        for (index, bomb) in bombs.iter().enumerate() {
            assert!(bomb.len() <= 1 << 20, "{index}");
            let cause = cause(run(bomb));
            assert!(cause.contains("too much memory"), "{index}: {cause}");
        }
        // Nothing but constants.
        assert!(cause(run(&b"N".repeat(10 << 20))).contains("too much memory"));
    }

    #[test]
    fn archives_that_pytorch_does_not_write_are_refused() {
        let [pickle, _] = DICTS;
        let packed = archive(&["data.pkl"], pickle, CompressionMethod::Deflated);
        assert!(cause(check(packed)).contains("compressed"));
        for names in [&["a/data.pkl", "b/data.pkl"][..], &["data/0"]] {
            let other = archive(names, pickle, CompressionMethod::Stored);
            assert!(cause(check(other)).contains("exactly one data.pkl"));
        }
        let mut old = vec![0x80; 512];
        old[257..262].copy_from_slice(b"ustar");
        assert!(cause(check(file(&old))).contains("before 0.1.10"));
    }

    #[test]
    fn malformed_pickles_are_refused() {
        for (pickle, expected) in [
            (b"".as_slice(), "failed to fill"),
            (b"0", "empty stack"),
            (b"(a", "a mark in place"),
            (b"t", "lacks a mark"),
            (b"h\0", "empty slot"),
            (b"g1x\n", "malformed index"),
            (b"Ione", "end of file"),
            (b"X\xff\xff\0\0a", "end of file"),
            (b"X\xff\xff\xff\xffa", "too much memory"),
            (b"~", "opcode 0x7e"),
        ] {
            let cause = cause(run(pickle));
            assert!(cause.contains(expected), "{cause}");
        }
        let cause = cause(check(file(DICTS[0])));
        assert!(cause.contains("before its tensors begin"), "{cause}");
    }
}
