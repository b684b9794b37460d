//! XEP-0059 1.0: Result Set Management: which page is asked for, and what is said about the page
//! given.

use std::fmt;

use crate::error::{Condition, StanzaError};
use crate::ns;
use crate::xml::{Node, Writer};

/// Which page of a result set is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Page {
    /// The first one.
    #[default]
    First,
    /// The last one: `<before/>` (§2.5).
    Last,
    /// What follows this item (§2.2).
    After(String),
    /// What precedes this item, nearest to it (§2.3).
    Before(String),
    /// From this position on, the first item being 0 (§2.6).
    Index(u32),
}

/// What `<set/>` asks for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SetRequest {
    /// The most items wanted; 0 asks for the count alone (§2.7). The server has a limit of its own.
    pub max: Option<u32>,
    /// Which page.
    pub page: Page,
}

/// What is wrong with a request. All of them are `bad-request`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RsmError {
    /// `<max/>` or `<index/>` is no number.
    Number,
    /// More than one of `<after/>`, `<before/>` and `<index/>`.
    TwoPages,
}

impl fmt::Display for RsmError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RsmError::Number => "max and index are numbers",
            RsmError::TwoPages => "only one of after, before and index",
        })
    }
}

impl std::error::Error for RsmError {}

impl From<RsmError> for StanzaError {
    fn from(_: RsmError) -> StanzaError {
        StanzaError::new(Condition::BadRequest)
    }
}

impl SetRequest {
    /// Reads `<set/>` out of the element that asks. Without one: the first page, as long as the
    /// server likes.
    ///
    /// # Errors
    /// See [`RsmError`].
    pub fn of(query: Node<'_>) -> Result<SetRequest, RsmError> {
        match query.child("set", ns::RSM) {
            Some(set) => SetRequest::parse(set),
            None => Ok(SetRequest::default()),
        }
    }

    /// Reads a `<set/>`.
    ///
    /// # Errors
    /// See [`RsmError`].
    pub fn parse(set: Node<'_>) -> Result<SetRequest, RsmError> {
        let text = |name| set.child_text(name, ns::RSM);
        let max = text("max").map(|text| number(&text)).transpose()?;
        let page = match (text("after"), text("before"), text("index")) {
            (None, None, None) => Page::First,
            // COMPAT: clients write an empty `<after/>` for the first page.
            (Some(after), None, None) if after.is_empty() => Page::First,
            (Some(after), None, None) => Page::After(after),
            (None, Some(before), None) if before.is_empty() => Page::Last,
            (None, Some(before), None) => Page::Before(before),
            (None, None, Some(index)) => Page::Index(number(&index)?),
            _ => return Err(RsmError::TwoPages),
        };
        Ok(SetRequest { max, page })
    }
}

/// Digits only; more than can be held is as much as can be.
fn number(text: &str) -> Result<u32, RsmError> {
    let text = text.trim_matches([' ', '\t', '\n', '\r']);
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(RsmError::Number);
    }
    Ok(text.parse().unwrap_or(u32::MAX))
}

/// What is said about a page.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SetResult<'a> {
    /// The ids of the first and last item of the page; none if it is empty (§2.1).
    pub ends: Option<(&'a str, &'a str)>,
    /// The position of the first item in the whole set, if known.
    pub index: Option<u64>,
    /// How many items the whole set has, if known.
    pub count: Option<u64>,
}

impl SetResult<'_> {
    /// Writes `<set/>`.
    pub fn write(&self, out: &mut Writer) {
        out.start_ns("set", ns::RSM);
        if let Some((first, last)) = self.ends {
            let index = self.index.map(|index| index.to_string());
            out.start("first").attr_opt("index", index.as_deref()).text(first).end();
            out.leaf("last", last);
        }
        if let Some(count) = self.count {
            out.leaf("count", &count.to_string());
        }
        out.end();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::xml::Tree;

    fn request(inner: &str) -> Result<SetRequest, RsmError> {
        let xml =
            format!("<query><set xmlns='http://jabber.org/protocol/rsm'>{inner}</set></query>");
        SetRequest::of(Tree::parse(xml.as_bytes()).unwrap().root())
    }

    #[test]
    fn pages() {
        for (inner, max, page) in [
            ("", None, Page::First),
            ("<max>10</max>", Some(10), Page::First),
            ("<max>0</max>", Some(0), Page::First),
            ("<max> 10\n</max><after>a&amp;b</after>", Some(10), Page::After("a&b".into())),
            ("<after/>", None, Page::First),
            ("<before/><max>1</max>", Some(1), Page::Last),
            ("<before>x</before>", None, Page::Before("x".into())),
            ("<index>371</index>", None, Page::Index(371)),
            ("<max>99999999999999999999</max>", Some(u32::MAX), Page::First),
            ("<max xmlns='other'>x</max>", None, Page::First),
        ] {
            assert_eq!(request(inner), Ok(SetRequest { max, page }), "{inner}");
        }
        for (inner, error) in [
            ("<max/>", RsmError::Number),
            ("<max>-1</max>", RsmError::Number),
            ("<max>+1</max>", RsmError::Number),
            ("<max>1.5</max>", RsmError::Number),
            ("<max>١</max>", RsmError::Number),
            ("<index>x</index>", RsmError::Number),
            ("<after>a</after><before>b</before>", RsmError::TwoPages),
            ("<after/><before/>", RsmError::TwoPages),
            ("<index>1</index><after>a</after>", RsmError::TwoPages),
        ] {
            assert_eq!(request(inner), Err(error), "{inner}");
        }
        let none = Tree::parse(b"<query><max>x</max></query>").unwrap();
        assert_eq!(SetRequest::of(none.root()), Ok(SetRequest::default()));
    }

    #[test]
    fn results() {
        let written = |result: SetResult<'_>| {
            let mut out = Writer::new();
            result.write(&mut out);
            String::from_utf8(out.finish().to_vec()).unwrap()
        };
        assert_eq!(
            written(SetResult { ends: Some(("a<", "b")), index: Some(0), count: Some(800) }),
            "<set xmlns='http://jabber.org/protocol/rsm'><first index='0'>a&lt;</first>\
             <last>b</last><count>800</count></set>"
        );
        assert_eq!(
            written(SetResult { count: Some(0), ..SetResult::default() }),
            "<set xmlns='http://jabber.org/protocol/rsm'><count>0</count></set>"
        );
        assert_eq!(
            written(SetResult { ends: Some(("a", "a")), ..SetResult::default() }),
            "<set xmlns='http://jabber.org/protocol/rsm'><first>a</first><last>a</last></set>"
        );
    }

    proptest! {
        #[test]
        fn any_set_is_a_request_or_an_error(
            names in proptest::collection::vec("max|after|before|index|count|first", 0..5),
            text in "[0-9a-z +-]{0,12}",
        ) {
            let inner: String = names.iter().map(|n| format!("<{n}>{text}</{n}>")).collect();
            let _ = request(&inner);
        }
    }
}
