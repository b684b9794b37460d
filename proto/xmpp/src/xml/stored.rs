//! A body as a row keeps it: where the children are, then the bytes. So reading a row needs no
//! second look at the XML.

use std::sync::Arc;

use bytes::Bytes;
use smallvec::SmallVec;

use super::Body;
use super::body::{ChildAt, Damaged, Inner, NsAt};
use crate::limits::ReadLimits;

const CONTENT: u32 = 0;
const AT: u32 = 1;
const APART: u32 = 2;

impl Body {
    /// Appends this body with its index, for [`decode`](Body::decode). The caller keeps the length.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let Some(inner) = self.inner() else { return put(out, 0) };
        put(out, inner.children.len() as u32);
        let mut before = inner.start;
        for child in &inner.children {
            put(out, child.start - before);
            put(out, child.end - child.start);
            put(out, child.name - child.start);
            put(out, child.name_end - child.name);
            match &child.ns {
                NsAt::Content => put(out, CONTENT),
                NsAt::At(from, to) => {
                    put(out, AT);
                    put(out, from - child.start);
                    put(out, to - from);
                }
                NsAt::Apart(text) => {
                    put(out, APART);
                    put(out, text.len() as u32);
                    out.extend_from_slice(text.as_bytes());
                }
            }
            before = child.end;
        }
        out.extend_from_slice(self.as_bytes());
    }

    /// The body that [`encode`](Body::encode) wrote. The bytes are shared, not copied.
    ///
    /// # Errors
    /// If the index does not fit the bytes. That the bytes are XML is trusted.
    pub fn decode(row: Bytes) -> Result<Body, Damaged> {
        let mut rest: &[u8] = &row;
        let count = take(&mut rest)?;
        if count > ReadLimits::OWN.elements {
            return Err(Damaged);
        }
        let mut children: SmallVec<[ChildAt; 4]> = SmallVec::new();
        let mut before = 0;
        for _ in 0..count {
            let child = take_child(&mut rest, before)?;
            before = child.end;
            children.push(child);
        }
        let index = row.len() - rest.len();
        let end = u32::try_from(rest.len()).map_err(|_| Damaged)?;
        if before > end {
            return Err(Damaged);
        }
        Ok(Body::of(Arc::new(Inner { buf: row.slice(index..), start: 0, end, children })))
    }
}

fn take_child(rest: &mut &[u8], before: u32) -> Result<ChildAt, Damaged> {
    let start = add(before, take(rest)?)?;
    let end = add(start, take(rest)?)?;
    let name = add(start, take(rest)?)?;
    let name_end = add(name, take(rest)?)?;
    let ns = match take(rest)? {
        CONTENT => NsAt::Content,
        AT => {
            let from = add(start, take(rest)?)?;
            let to = add(from, take(rest)?)?;
            if to > end {
                return Err(Damaged);
            }
            NsAt::At(from, to)
        }
        APART => {
            let len = take(rest)? as usize;
            let (text, tail) = rest.split_at_checked(len).ok_or(Damaged)?;
            *rest = tail;
            NsAt::Apart(std::str::from_utf8(text).map_err(|_| Damaged)?.into())
        }
        _ => return Err(Damaged),
    };
    if name_end > end { Err(Damaged) } else { Ok(ChildAt { start, end, name, name_end, ns }) }
}

fn add(a: u32, b: u32) -> Result<u32, Damaged> {
    a.checked_add(b).ok_or(Damaged)
}

/// Seven bits a byte, the lowest first.
fn put(out: &mut Vec<u8>, mut number: u32) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

#[inline]
fn take(rest: &mut &[u8]) -> Result<u32, Damaged> {
    // Most numbers are one byte.
    match *rest {
        [byte @ ..0x80, tail @ ..] => {
            *rest = tail;
            Ok(u32::from(*byte))
        }
        _ => take_long(rest),
    }
}

fn take_long(rest: &mut &[u8]) -> Result<u32, Damaged> {
    let mut number = 0u32;
    for shift in [0, 7, 14, 21, 28] {
        let (b, tail) = rest.split_first().ok_or(Damaged)?;
        *rest = tail;
        number |= u32::from(b & 0x7F).checked_shl(shift).unwrap_or(0);
        if b & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err(Damaged)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(body: &Body) -> Vec<u8> {
        let mut out = Vec::new();
        body.encode(&mut out);
        out
    }

    #[test]
    fn a_body_comes_back_as_it_was() {
        for xml in [
            "",
            "text only",
            "<body>hi</body>",
            " <body/>a<x xmlns='urn:x'><y/></x><p:z xmlns:p='a&amp;b'/> b",
        ] {
            let body = Body::parse(xml.as_bytes()).unwrap();
            let back = Body::decode(encoded(&body).into()).unwrap();
            assert_eq!(back, body);
            let names = |b: &Body| -> Vec<(String, String)> {
                b.children().map(|c| (c.name().into(), c.ns().into())).collect()
            };
            assert_eq!(names(&back), names(&body));
            let bytes = |b: &Body| -> Vec<Bytes> { b.children().map(|c| c.to_bytes()).collect() };
            assert_eq!(bytes(&back), bytes(&body));
        }
    }

    #[test]
    fn damaged_rows_are_refused_or_harmless() {
        let body = Body::parse(b"<a/><x xmlns='urn:x'>y</x><p:z xmlns:p='a&amp;b'/>").unwrap();
        let row = encoded(&body);
        assert_eq!(Body::decode(Bytes::new()), Err(Damaged));
        assert_eq!(Body::decode(Bytes::from_static(b"\x01\x00\x05\x00\x00\x00<a/>")), Err(Damaged));
        for at in 0..row.len() {
            for with in [0, 1, 0x7F, 0x80, 0xFF] {
                let mut row = row.clone();
                row[at] = with;
                if let Ok(body) = Body::decode(row.into()) {
                    for child in body.children() {
                        let _ = (child.name(), child.ns(), child.as_bytes(), child.attr("x"));
                        let _ = (child.to_bytes(), child.tree());
                    }
                    let _ = (body.text(), body.without(|_| true));
                }
            }
        }
    }
}
