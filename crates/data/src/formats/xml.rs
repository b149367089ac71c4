//! The part of XML that annotations use: elements and text, as a tree with line numbers.
//!
//! Annotation files may be untrusted, and tree libraries are not hardened against that: roxmltree (0.21) takes time and
//! memory quadratic in the number of attributes and namespaces, and resolves entities that the document defines.
//! Deserializing with quick-xml and serde needs no tree, but does not give the line number of an element, which reports
//! need. So the tree is built here from quick-xml's events. Attributes are skipped, only predefined entities are
//! resolved, nesting is limited, and time and memory are linear in the length of the file.

use quick_xml::escape::resolve_xml_entity;
use quick_xml::events::{BytesRef, Event};
use quick_xml::reader::Reader;

/// How deep elements may be nested.
const MAX_DEPTH: usize = 64;

/// An element, without its attributes.
#[derive(Debug, Default)]
pub(super) struct Element {
    pub tag: String,
    /// Its line in the file, from 1.
    pub line: usize,
    text: String,
    pub children: Vec<Element>,
}

/// A malformed file.
#[derive(Debug, PartialEq)]
pub(super) struct Fault {
    /// The line, from 1.
    pub line: usize,
    pub cause: String,
}

impl Element {
    /// The root element of a document.
    pub(super) fn parse(document: &str) -> Result<Self, Fault> {
        let mut reader = Reader::from_str(document);
        let mut lines = Lines::new(document);
        // The open elements, innermost last. The first one is the document, which holds the root.
        let mut open = vec![Self::default()];
        loop {
            let line = lines.at(reader.buffer_position());
            let fault = |cause: String| Fault { line, cause };
            let event = reader.read_event();
            match event.map_err(|error| fault(error.to_string()))? {
                Event::Start(start) => {
                    if open.len() > MAX_DEPTH {
                        return Err(fault(format!(
                            "elements are nested more than {MAX_DEPTH} deep"
                        )));
                    }
                    open.push(Self::new(start.name().as_ref(), line));
                }
                Event::Empty(empty) => {
                    let element = Self::new(empty.name().as_ref(), line);
                    add_child(&mut open, element);
                }
                // quick-xml checks that tags match.
                Event::End(_) => {
                    let closed = open.pop().unwrap_or_default();
                    add_child(&mut open, closed);
                }
                Event::Text(text) => add_text(&mut open, &text.xml10_content()),
                Event::CData(text) => add_text(&mut open, &text.xml10_content()),
                Event::GeneralRef(reference) => {
                    add_text(&mut open, &resolve(&reference).map_err(fault)?);
                }
                // Entities that a document type defines are not used.
                Event::DocType(_) | Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
                Event::Eof => {
                    let mut roots = match (open.pop(), open.pop()) {
                        (Some(document), None) => document.children,
                        (unclosed, _) => {
                            let tag = unclosed.unwrap_or_default().tag;
                            return Err(fault(format!("the file ends inside <{tag}>")));
                        }
                    };
                    return match (roots.pop(), roots.pop()) {
                        (Some(root), None) => Ok(root),
                        _ => Err(fault(
                            "the file does not have exactly one root element".into(),
                        )),
                    };
                }
            }
        }
    }

    fn new(tag: &str, line: usize) -> Self {
        Self {
            tag: tag.to_string(),
            line,
            ..Self::default()
        }
    }

    /// The first child element with that tag.
    pub(super) fn child(&self, tag: &str) -> Option<&Self> {
        self.children.iter().find(|child| child.tag == tag)
    }

    /// The trimmed text of this element, without the text of its children.
    pub(super) fn text(&self) -> &str {
        self.text.trim()
    }

    pub(super) fn fault(&self, cause: impl Into<String>) -> Fault {
        Fault {
            line: self.line,
            cause: cause.into(),
        }
    }
}

fn add_child(open: &mut [Element], child: Element) {
    if let Some(parent) = open.last_mut() {
        parent.children.push(child);
    }
}

fn add_text(open: &mut [Element], text: &str) {
    if let Some(element) = open.last_mut() {
        element.text.push_str(text);
    }
}

/// The text of a character reference such as `&#233;` or a predefined entity such as `&amp;`.
fn resolve(reference: &BytesRef) -> Result<String, String> {
    match reference.resolve_char_ref() {
        Ok(Some(character)) => Ok(character.to_string()),
        Ok(None) => {
            let name = reference.as_ref();
            let text = resolve_xml_entity(name).map(str::to_string);
            text.ok_or_else(|| format!("the entity &{name}; is not defined"))
        }
        Err(error) => Err(error.to_string()),
    }
}

/// Line numbers of increasing positions in a text.
struct Lines<'a> {
    text: &'a [u8],
    counted: usize,
    line: usize,
}

impl<'a> Lines<'a> {
    fn new(text: &'a str) -> Self {
        Self {
            text: text.as_bytes(),
            counted: 0,
            line: 1,
        }
    }

    /// The line number of a position, which must not be before the position of the last call.
    fn at(&mut self, position: u64) -> usize {
        let position = usize::try_from(position).unwrap_or(usize::MAX);
        if let Some(new) = self.text.get(self.counted..position) {
            self.line += new.iter().filter(|byte| **byte == b'\n').count();
            self.counted = position;
        }
        self.line
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn elements_have_lines_text_and_children() {
        let document = "<?xml version=\"1.0\"?>\n<!-- c -->\n<a x='1'>\n <b>1 &lt; 2 &#233;</b>\n\n <b/><c\n><![CDATA[<d>]]></c>t</a>\n";
        let root = Element::parse(document).unwrap();
        assert_eq!((root.tag.as_str(), root.line, root.text()), ("a", 3, "t"));
        let children = root.children.iter();
        let children: Vec<_> = children
            .map(|child| (child.tag.as_str(), child.line, child.text()))
            .collect();
        assert_eq!(
            children,
            [("b", 4, "1 < 2 é"), ("b", 6, ""), ("c", 6, "<d>")]
        );
        assert_eq!(root.child("b").unwrap().line, 4);
    }

    #[test]
    fn malformed_documents_are_reported_with_their_line() {
        let deep = "<a>".repeat(100);
        for (document, line, cause) in [
            ("", 1, "exactly one root"),
            ("text", 1, "exactly one root"),
            ("<a/>\n<b/>", 2, "exactly one root"),
            ("<a>\n<b>", 2, "ends inside <b>"),
            ("<a>\n</b>", 2, "b"),
            ("<a>\n&lol;</a>", 2, "&lol; is not defined"),
            (
                "<!DOCTYPE a [<!ENTITY lol 'lol'>]>\n<a>&lol;</a>",
                2,
                "&lol; is not defined",
            ),
            (&deep, 1, "nested more than 64 deep"),
        ] {
            let fault = Element::parse(document).unwrap_err();
            assert_eq!(fault.line, line, "{document}: {fault:?}");
            assert!(fault.cause.contains(cause), "{document}: {fault:?}");
        }
    }
}
