//! The scanner: one pass over one stream header, first-level element, or content.
//!
//! It is a machine over bytes that can stop anywhere. What it has seen is in `out`, or between the
//! cursor's `mark` and `pos` and will be copied there in one piece; positions count bytes of `out`.
//! So nothing is read twice, and what is right is copied as it is. Rewritten are: line ends and
//! white space in attribute values (as XML 1.0 §2.11 and §3.3.3 read them), CDATA (as text), and
//! start tags that need declarations to stand alone. In the start tag of a header or first-level
//! element, which is not forwarded as it is, references are resolved in place.

mod prolog;
mod scope;
mod tags;
mod text;

use bytes::Bytes;
use smallvec::SmallVec;

use super::XmlError;
use super::body::{ChildAt, Inner, NsAt};
use super::element::{AttrAt, Element};
use super::error::{Fault, Limit, Restricted};
use super::root::Root;
use super::{StreamHeader, chars};
use crate::limits::ReadLimits;

/// Where in the grammar the scanner stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    /// No element is begun.
    #[default]
    Idle,
    /// At the first byte of a stream, or inside its byte order mark.
    Start,
    /// Before the start tag of the stream.
    Prolog,
    /// After `<?` at the start of a stream.
    Declaration,
    /// In character data.
    Text,
    /// After `<`.
    Angle,
    /// After `<!`.
    Bang,
    /// After `<![`.
    CdataStart,
    /// In CDATA.
    Cdata,
    /// After `&`; what it is part of is in `back`.
    Reference,
    /// In the name of a start tag.
    Name,
    /// In a start tag, between attributes.
    Tag,
    /// In the name of an attribute.
    AttrName,
    /// After the name of an attribute, before `=`.
    AttrEquals,
    /// After `=`, before the quote.
    AttrQuote,
    /// In the value of an attribute.
    AttrValue,
    /// After the `/` of an empty element.
    Slash,
    /// In the name of an end tag.
    EndName,
    /// After the name of an end tag, before `>`.
    EndSpace,
    /// In the end tag of the stream.
    StreamEnd,
    /// The same, after the name.
    StreamEndSpace,
}

/// What is being scanned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Kind {
    /// A stream header.
    Header,
    /// A first-level element, or the end tag of the stream.
    #[default]
    Element,
    /// The content of an element, without its tags.
    Content,
}

/// What a run completed.
#[derive(Debug)]
pub(super) enum Step {
    /// A stream header is complete; the flag says that it was an empty element.
    Header(StreamHeader, Root, bool),
    /// A first-level element is complete.
    Element(Element),
    /// The end tag of the stream is complete.
    Close,
}

/// Input, how far it was read, and what it is judged by.
pub(super) struct Cursor<'a> {
    pub(super) input: &'a [u8],
    /// The next byte to read.
    pub(super) pos: usize,
    /// The first byte that is not yet in `out`.
    mark: usize,
    root: &'a Root,
    limits: &'a ReadLimits,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(input: &'a [u8], root: &'a Root, limits: &'a ReadLimits) -> Cursor<'a> {
        Cursor { input, pos: 0, mark: 0, root, limits }
    }

    fn rest(&self) -> &'a [u8] {
        self.input.get(self.pos..).unwrap_or_default()
    }

    fn peek(&self) -> Option<u8> {
        self.input.get(self.pos).copied()
    }

    /// Takes bytes out of what will be copied.
    fn skip(&mut self, bytes: usize) {
        self.pos += bytes;
        self.mark = self.pos;
    }
}

/// A name in `out`.
#[derive(Debug, Clone, Copy, Default)]
struct NameAt {
    start: u32,
    end: u32,
    /// Where its colon is; 0 if it has none, which no colon can be at.
    colon: u32,
}

impl NameAt {
    fn local(self) -> (u32, u32) {
        (if self.colon == 0 { self.start } else { self.colon + 1 }, self.end)
    }
}

/// An attribute in `out`.
#[derive(Debug, Clone, Copy, Default)]
struct RawAttr {
    name: NameAt,
    value: u32,
    value_end: u32,
    /// Whether the value has references that are not resolved.
    escaped: bool,
    /// Whether it declares a namespace; known when the tag ends.
    declares: bool,
    /// See [`scope::key`]; 0 if it is still to be made.
    key: u64,
}

/// A namespace declaration in scope.
#[derive(Debug, Clone, Copy)]
struct Binding {
    /// The prefix in `out`; empty for the default namespace.
    prefix: (u32, u32),
    ns: BoundTo,
}

/// A namespace name.
#[derive(Debug, Clone, Copy)]
enum BoundTo {
    /// Where it is in `out`.
    At(u32, u32),
    /// Its index in `apart`: it is written with references.
    Apart(u32),
}

/// An open element.
#[derive(Debug, Clone, Copy)]
struct Frame {
    name: u32,
    name_end: u32,
    /// What was in scope around it.
    bindings: u32,
    default: u32,
}

/// The start tag of a first-level element.
#[derive(Debug)]
struct Head {
    name: (u32, u32),
    ns: NsAt,
    attrs: SmallVec<[AttrAt; 6]>,
    /// Where the content begins.
    body: u32,
    /// Whether the default namespace around the content is the content namespace.
    plain: bool,
}

/// References are at most this long: `#x10FFFF` with room for zeros. Longer ones are refused.
const REFERENCE_BYTES: usize = 16;

/// A buffer begins at the size of the input at hand, at most this: most stanzas fit.
const FIRST_BYTES: usize = 512;

/// Pieces up to this long are worth [`Scan::read_plain`].
const PLAIN_BYTES: usize = 64;

/// The scanner. Between elements it is dropped, or kept only while more input is at hand.
#[derive(Debug, Default)]
pub(super) struct Scan {
    state: State,
    kind: Kind,
    /// What a reference is part of.
    back: State,
    quote: u8,
    /// Closing brackets just before in CDATA, at most 2.
    brackets: u8,
    /// Bytes at the end of `out` that begin a character.
    partial: u8,
    /// Whether the last byte was a carriage return, so that a line feed belongs to it.
    skip_lf: bool,
    /// Whether the next character must be able to begin a name.
    name_start: bool,
    /// Whether white space parts the next attribute from what is before it.
    spaced: bool,
    /// Whether an XML declaration may come.
    declaration: bool,
    /// Whether white space may come before it.
    restarted: bool,
    /// Bytes of a name or word that have been matched.
    matched: u32,
    reference: SmallVec<[u8; REFERENCE_BYTES]>,
    /// Input bytes used.
    used: u32,
    elements: u32,
    /// Where the `<` of the current tag is.
    tag: u32,
    name: NameAt,
    attrs: SmallVec<[RawAttr; 8]>,
    /// Whether an attribute of the tag that declares nothing has a prefix.
    prefixed: bool,
    /// The declarations in scope; those below `outer` are of the first-level element.
    bindings: SmallVec<[Binding; 6]>,
    outer: u32,
    /// Namespace names that are written with references.
    apart: Vec<Box<str>>,
    /// One more than the index of the default namespace in `bindings`; 0 if it is that of the
    /// stream.
    default: u32,
    stack: SmallVec<[Frame; 8]>,
    head: Option<Head>,
    child: Option<ChildAt>,
    children: SmallVec<[ChildAt; 4]>,
    done: Option<Step>,
    out: Vec<u8>,
}

impl Scan {
    /// Whether nothing is begun.
    pub(super) fn is_idle(&self) -> bool {
        self.state == State::Idle
    }

    /// Begins a header or element; `at_hand` is how much input there is.
    pub(super) fn begin(&mut self, kind: Kind, restarted: bool, at_hand: usize) {
        self.kind = kind;
        self.state = match kind {
            Kind::Header => State::Start,
            Kind::Element => State::Prolog,
            Kind::Content => State::Text,
        };
        self.declaration = kind == Kind::Header;
        self.restarted = restarted;
        self.out.reserve_exact(at_hand.clamp(64, FIRST_BYTES));
    }

    /// Makes ready for the next element; what it held is kept for it, but for the buffer.
    fn finish(&mut self) {
        self.state = State::Idle;
        self.used = 0;
        self.elements = 0;
        self.default = 0;
        self.outer = 0;
        self.bindings.clear();
        self.stack.clear();
        self.apart.clear();
        self.out.clear();
    }

    /// Reads until something is complete or the input is used up, within the limit on bytes.
    pub(super) fn read(&mut self, cur: &mut Cursor<'_>) -> Result<Option<Step>, XmlError> {
        let (allowed, limit) = match self.kind {
            Kind::Header => (cur.limits.header_bytes, Limit::HeaderBytes),
            _ => (cur.limits.element_bytes, Limit::ElementBytes),
        };
        let whole = cur.input;
        let window = whole.len().min(allowed.saturating_sub(self.used) as usize);
        cur.input = whole.get(..window).unwrap_or_default();
        self.run(cur)?;
        self.used += cur.pos as u32;
        if self.done.is_some() {
            self.finish();
            return Ok(self.done.take());
        }
        if window < whole.len() { Err(limit.into()) } else { Ok(None) }
    }

    /// Takes all of a short input if it is nothing but more ASCII of the same attribute value or
    /// text, which is what most pieces of something large are. False: nothing was taken, and
    /// [`Scan::read`] is to judge it. It saves the way there, which costs more than such a piece.
    #[inline]
    pub(super) fn read_plain(&mut self, input: &[u8], limits: &ReadLimits) -> bool {
        let left = limits.element_bytes.saturating_sub(self.used) as usize;
        let cut = self.partial > 0 || self.skip_lf;
        if cut || self.kind == Kind::Header || input.len() > left.min(PLAIN_BYTES) {
            return false;
        }
        let plain = match self.state {
            State::AttrValue => chars::is_plain_value(input, self.quote),
            State::Text => chars::is_plain_text(input),
            _ => false,
        };
        if plain {
            // A copy of a known length is two moves, one of any length is a call.
            let (words, tail) = input.as_chunks::<16>();
            words.iter().for_each(|word| self.out.extend_from_slice(word));
            self.out.extend_from_slice(tail);
            self.used += input.len() as u32;
        }
        plain
    }

    fn run(&mut self, cur: &mut Cursor<'_>) -> Result<(), XmlError> {
        while cur.pos < cur.input.len() {
            match self.state {
                State::Text => self.text(cur)?,
                State::Tag => self.in_tag(cur)?,
                State::Angle => self.angle(cur)?,
                State::Name => self.element_name(cur)?,
                State::AttrName => self.attr_name(cur)?,
                State::AttrEquals => self.attr_equals(cur)?,
                State::AttrQuote => self.attr_quote(cur)?,
                State::AttrValue => self.attr_value(cur)?,
                State::Slash => self.slash(cur)?,
                State::EndName => self.end_name(cur)?,
                State::EndSpace => self.end_space(cur)?,
                State::Reference => self.reference(cur)?,
                State::Bang => self.bang(cur)?,
                State::CdataStart => self.cdata_start(cur)?,
                State::Cdata => self.cdata(cur)?,
                State::Start => self.byte_order_mark(cur)?,
                State::Prolog => self.prolog(cur)?,
                State::Declaration => self.xml_declaration(cur)?,
                State::StreamEnd | State::StreamEndSpace => self.stream_end(cur)?,
                State::Idle => return Err(Fault::Syntax.into()),
            }
            if self.done.is_some() {
                return Ok(());
            }
        }
        self.flush(cur);
        Ok(())
    }

    /// Checks bytes that are the content of an element and nothing else.
    pub(super) fn content(bytes: &[u8]) -> Result<Inner, XmlError> {
        let mut scan = Scan::default();
        scan.begin(Kind::Content, false, 0);
        scan.out.reserve_exact(bytes.len());
        scan.stack.push(Frame { name: 0, name_end: 0, bindings: 0, default: 0 });
        let mut cur = Cursor::new(bytes, &Root::Bare, &ReadLimits::OWN);
        scan.read(&mut cur)?;
        if scan.state != State::Text || scan.stack.len() != 1 || scan.partial != 0 {
            return Err(Fault::Syntax.into());
        }
        let end = scan.out.len() as u32;
        Ok(Inner { buf: Bytes::from(scan.out), start: 0, end, children: scan.children })
    }

    /// The position in `out` that the next byte of input has or will have.
    fn at(&self, cur: &Cursor<'_>) -> u32 {
        (self.out.len() + cur.pos - cur.mark) as u32
    }

    /// Copies what was read.
    fn flush(&mut self, cur: &mut Cursor<'_>) {
        self.out.extend_from_slice(cur.input.get(cur.mark..cur.pos).unwrap_or_default());
        cur.mark = cur.pos;
    }

    /// Copies what was read, then other bytes instead of the next ones of the input.
    fn rewrite(&mut self, cur: &mut Cursor<'_>, bytes: usize, with: &[u8]) {
        self.flush(cur);
        self.out.extend_from_slice(with);
        cur.skip(bytes);
    }

    fn slice(&self, (from, to): (u32, u32)) -> &[u8] {
        self.out.get(from as usize..to as usize).unwrap_or_default()
    }

    /// Whether the current start tag is that of the header or first-level element.
    fn in_head(&self) -> bool {
        self.stack.is_empty()
    }

    /// Reads a character beyond ASCII. `None`: the input ends inside it.
    #[cold]
    fn wide(&mut self, cur: &mut Cursor<'_>) -> Result<Option<u32>, XmlError> {
        let before = usize::from(self.partial);
        let mut room = [0; 4];
        let kept = self.out.len().checked_sub(before).and_then(|from| self.out.get(from..));
        let bytes = kept.unwrap_or_default().iter().chain(cur.rest());
        let len = room.iter_mut().zip(bytes).map(|(to, from)| *to = *from).count();
        match chars::decode(room.get(..len).unwrap_or_default()) {
            chars::Decoded::Char(c, bytes) => {
                cur.pos += usize::from(bytes) - before;
                self.partial = 0;
                Ok(Some(c))
            }
            chars::Decoded::Partial => {
                cur.pos = cur.input.len();
                self.partial = len as u8;
                Ok(None)
            }
            chars::Decoded::Bad => Err(Fault::Character.into()),
        }
    }

    /// Completes what the last input cut: a character, or a line end. False: it is still cut.
    #[inline]
    fn resume(&mut self, cur: &mut Cursor<'_>) -> Result<bool, XmlError> {
        if self.partial > 0 && self.wide(cur)?.is_none() {
            return Ok(false);
        }
        if self.skip_lf {
            self.skip_lf = false;
            if cur.peek() == Some(b'\n') {
                self.rewrite(cur, 1, b"");
            }
        }
        Ok(true)
    }

    /// A carriage return, alone or before a line feed, is one line end (XML 1.0 §2.11).
    fn line_end(&mut self, cur: &mut Cursor<'_>, with: &[u8]) {
        self.rewrite(cur, 1, with);
        match cur.peek() {
            Some(b'\n') => cur.skip(1),
            Some(_) => {}
            None => self.skip_lf = true,
        }
    }

    /// After `<`.
    fn angle(&mut self, cur: &mut Cursor<'_>) -> Result<(), XmlError> {
        match cur.peek() {
            None => Ok(()),
            Some(b'/') => self.end_tag(cur),
            Some(b'!') => {
                cur.pos += 1;
                self.state = State::Bang;
                Ok(())
            }
            Some(b'?') if self.declaration => self.begin_declaration(cur),
            Some(b'?') => Err(Restricted::ProcessingInstruction.into()),
            Some(_) => self.begin_element(cur),
        }
    }
}
