//! The incremental reader of one XML stream.

use super::chars;
use super::element::Item;
use super::error::{Fault, XmlError};
use super::root::Root;
use super::scan::{Cursor, Kind, Scan, Step};
use crate::limits::ReadLimits;

/// Reads one XML stream from pieces that may be cut anywhere.
///
/// A reader between elements owns no buffer. What it lets through is checked in full, see
/// [`crate::xml`].
#[derive(Debug)]
pub struct Reader {
    limits: ReadLimits,
    phase: Phase,
    root: Root,
    scan: Option<Box<Scan>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Before the stream header; the flag says that a stream on this connection was before it.
    Header(bool),
    Open,
    /// The header was an empty element: its end is to be told.
    Ending,
    Ended,
    Failed(XmlError),
}

impl Reader {
    /// A reader of a stream: header, first-level elements, end tag (RFC 6120 §4).
    pub fn new(limits: ReadLimits) -> Reader {
        Reader { limits, phase: Phase::Header(false), root: Root::None, scan: None }
    }

    /// A reader of elements that each stand alone, without a header around them (RFC 7395 §3.3).
    pub fn framed(limits: ReadLimits) -> Reader {
        Reader { limits, phase: Phase::Open, root: Root::None, scan: None }
    }

    /// Sets what the next element may be; one that is begun is judged by it from here on.
    pub fn set_limits(&mut self, limits: ReadLimits) {
        self.limits = limits;
    }

    /// Begins a new stream (RFC 6120 §4.3.3): nothing that was read before has any effect on it.
    /// A framed reader becomes one that awaits a header.
    pub fn reset(&mut self) {
        *self = Reader { phase: Phase::Header(true), ..Reader::new(self.limits) };
    }

    /// Whether nothing is begun: the stream is between elements, or before its header.
    pub fn is_at_rest(&self) -> bool {
        self.scan.as_ref().is_none_or(|scan| scan.is_idle())
    }

    /// Reads from the front of `input` until one item is complete, and takes from `input` what it
    /// used. Call it again with what is left. `None`: everything is used and more is wanted.
    ///
    /// # Errors
    /// What RFC 6120 §11 or the limits refuse. Every later call repeats it.
    #[inline]
    pub fn read(&mut self, input: &mut &[u8]) -> Result<Option<Item>, XmlError> {
        if let Some(scan) = &mut self.scan
            && scan.read_plain(input, &self.limits)
        {
            *input = &[];
            return Ok(None);
        }
        self.read_any(input)
    }

    fn read_any(&mut self, input: &mut &[u8]) -> Result<Option<Item>, XmlError> {
        let result = self.advance(input);
        if let Err(error) = result {
            self.scan = None;
            self.phase = Phase::Failed(error);
        }
        result
    }

    fn advance(&mut self, input: &mut &[u8]) -> Result<Option<Item>, XmlError> {
        let kind = match self.phase {
            Phase::Header(_) => Kind::Header,
            Phase::Open => Kind::Element,
            Phase::Ending => {
                self.phase = Phase::Ended;
                return Ok(Some(Item::Close));
            }
            Phase::Ended => {
                take(input, chars::space_run(input));
                return if input.is_empty() { Ok(None) } else { Err(Fault::AfterEnd.into()) };
            }
            Phase::Failed(error) => return Err(error),
        };
        let idle = self.is_at_rest();
        if idle && kind == Kind::Element {
            take(input, chars::space_run(input));
        }
        if input.is_empty() {
            if idle {
                self.scan = None;
            }
            return Ok(None);
        }
        let scan = self.scan.get_or_insert_default();
        if idle {
            scan.begin(kind, self.phase == Phase::Header(true), input.len());
        }
        let mut cur = Cursor::new(input, &self.root, &self.limits);
        let step = scan.read(&mut cur)?;
        let used = cur.pos;
        take(input, used);
        Ok(step.map(|step| self.after(step, input.is_empty())))
    }

    fn after(&mut self, step: Step, used_up: bool) -> Item {
        let item = match step {
            Step::Element(element) => Item::Element(element),
            Step::Header(header, root, empty) => {
                self.root = root;
                self.phase = if empty { Phase::Ending } else { Phase::Open };
                Item::Open(header)
            }
            Step::Close => {
                self.phase = Phase::Ended;
                Item::Close
            }
        };
        if used_up || self.phase == Phase::Ended {
            self.scan = None;
        }
        item
    }
}

fn take(input: &mut &[u8], bytes: usize) {
    *input = input.get(bytes..).unwrap_or_default();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xml::chars::LOOKED_AT;

    /// How many bytes are compared in reading some input in pieces of one length.
    fn looked_at(xml: &str, piece: usize) -> usize {
        let limits = ReadLimits { element_bytes: 1 << 19, ..ReadLimits::AFTER_AUTH };
        let mut reader = Reader::framed(limits);
        LOOKED_AT.set(0);
        let mut items = 0;
        for mut piece in xml.as_bytes().chunks(piece) {
            while let Ok(Some(_)) = reader.read(&mut piece) {
                items += 1;
            }
        }
        assert_eq!(items, 1);
        LOOKED_AT.get()
    }

    /// Security case 6. What is at the ends of an attribute is looked at by other ways, and where a
    /// piece is not plain it is looked at once more, but never what came before it.
    #[test]
    fn nothing_large_is_looked_at_again() {
        const BYTES: usize = 256 * 1024;
        for xml in [
            format!("<a b='{}'/>", "x".repeat(BYTES)),
            format!("<a b=\"{}\"/>", "x".repeat(BYTES)),
            format!("<a>{}</a>", "x".repeat(BYTES)),
        ] {
            for piece in [1, 7, 16, 31, 64, 100, 4096, xml.len()] {
                let seen = looked_at(&xml, piece);
                assert!((BYTES - 64..BYTES + 64).contains(&seen), "{seen} in pieces of {piece}");
            }
        }
        let odd = format!("<a>{}</a>", "text &amp; текст\r\n".repeat(BYTES / 24));
        for piece in [1, 7, 16, 31, 64, 100, 4096, odd.len()] {
            let seen = looked_at(&odd, piece);
            assert!(seen < 3 * odd.len(), "{seen} of {} in pieces of {piece}", odd.len());
        }
    }
}
