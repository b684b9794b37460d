//! What is asked of the archive (XEP-0313 §4): reading `<query/>`.

use xmpp::blocks::forms::{FORM_TYPE, Field, FieldKind, Form, FormError, FormKind};
use xmpp::blocks::rsm::{Page, SetRequest};
use xmpp::blocks::{datetime, ids};
use xmpp::error::{Condition, StanzaError};
use xmpp::jid::Jid;
use xmpp::ns;
use xmpp::xml::{Node, Writer};

use crate::limits::{IDS_MAX, PAGE_DEFAULT, PAGE_MAX};

/// One request for a page.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Query {
    /// What the client calls it.
    pub(super) queryid: Option<String>,
    /// From this id on.
    pub(super) from: u64,
    /// Below this id.
    pub(super) below: u64,
    /// Only messages with this contact.
    pub(super) with: Option<Jid>,
    /// Only these messages.
    pub(super) ids: Option<Vec<u64>>,
    /// What must be in the archive, because the request names it.
    pub(super) named: Vec<u64>,
    /// Most messages on the page.
    pub(super) max: u32,
    /// The page is the last one of those that match, not the first.
    pub(super) backwards: bool,
    /// The page is sent newest first (§4.3.4).
    pub(super) flipped: bool,
}

impl Query {
    /// Reads a request.
    pub(super) fn read(query: Node<'_>) -> Result<Query, StanzaError> {
        let set = SetRequest::of(query)?;
        let max = set.max.unwrap_or(PAGE_DEFAULT).min(PAGE_MAX);
        let mut read = Query {
            queryid: query.attr("queryid").map(str::to_owned),
            from: 0,
            below: u64::MAX,
            with: None,
            ids: None,
            named: Vec::new(),
            max,
            backwards: false,
            flipped: query.child("flip-page", ns::MAM).is_some(),
        };
        if let Some(form) = query.child("x", ns::DATA_FORMS) {
            read.filter(&Form::parse(form)?)?;
        }
        match set.page {
            Page::First => {}
            Page::Last => read.backwards = true,
            Page::After(id) => read.after(&id)?,
            Page::Before(id) => {
                read.backwards = true;
                read.before(&id)?;
            }
            // XEP-0059 §2.6: who does not know positions says so.
            Page::Index(_) => return Err(refusal(Condition::FeatureNotImplemented)),
        }
        Ok(read)
    }

    /// §4.1: the fields of the form.
    fn filter(&mut self, form: &Form) -> Result<(), StanzaError> {
        if form.kind != FormKind::Submit || form.form_type() != Some(ns::MAM) {
            return Err(refusal(Condition::BadRequest));
        }
        for field in &form.fields {
            let value = field.values.first().map(String::as_str);
            match (field.var.as_str(), value) {
                (FORM_TYPE, _) => {}
                ("with", Some(with)) => self.with = Some(Jid::parse(with).map_err(|_| bad())?),
                ("start", Some(start)) => self.from = self.from.max(time(start)?),
                ("end", Some(end)) => self.below = self.below.min(time(end)?.saturating_add(1)),
                ("after-id", Some(id)) => self.after(id)?,
                ("before-id", Some(id)) => self.before(id)?,
                ("ids", _) => self.only(field)?,
                ("include-groupchat", _) => {
                    // Messages of rooms are not archived, wanted or not (§4.1.4).
                    form.flag("include-groupchat")?;
                }
                ("with" | "start" | "end" | "after-id" | "before-id", None) => {}
                // §4.1.5: a filter that is not understood would let through what is not wanted.
                _ => return Err(refusal(Condition::FeatureNotImplemented)),
            }
        }
        Ok(())
    }

    fn after(&mut self, id: &str) -> Result<(), StanzaError> {
        let id = self.name(id)?;
        self.from = self.from.max(id.saturating_add(1));
        Ok(())
    }

    fn before(&mut self, id: &str) -> Result<(), StanzaError> {
        let id = self.name(id)?;
        self.below = self.below.min(id);
        Ok(())
    }

    fn only(&mut self, field: &Field) -> Result<(), StanzaError> {
        if field.values.len() > IDS_MAX {
            return Err(refusal(Condition::PolicyViolation));
        }
        let ids = field.values.iter().map(|id| known(id)).collect::<Result<Vec<_>, _>>()?;
        self.ids = Some(ids);
        Ok(())
    }

    fn name(&mut self, id: &str) -> Result<u64, StanzaError> {
        let id = known(id)?;
        self.named.push(id);
        Ok(id)
    }
}

/// The id of a message. One that we cannot have given is not in the archive.
fn known(id: &str) -> Result<u64, StanzaError> {
    ids::parse(id).ok_or_else(|| refusal(Condition::ItemNotFound))
}

fn time(text: &str) -> Result<u64, StanzaError> {
    datetime::parse(text).map_err(|_| bad())
}

fn bad() -> StanzaError {
    FormError::Value.into()
}

pub(super) fn refusal(condition: Condition) -> StanzaError {
    StanzaError::new(condition)
}

/// §4.1.5: the fields that are understood. The list of ids is open, which a form says with
/// XEP-0122.
pub(super) fn write_form(out: &mut Writer) {
    let form = Form::new(FormKind::Form, ns::MAM)
        .with("with", FieldKind::JidSingle, &[])
        .with("start", FieldKind::TextSingle, &[])
        .with("end", FieldKind::TextSingle, &[])
        .with("before-id", FieldKind::TextSingle, &[])
        .with("after-id", FieldKind::TextSingle, &[])
        .with("include-groupchat", FieldKind::Boolean, &[]);
    out.start_ns("query", ns::MAM).start_ns("x", ns::DATA_FORMS).attr("type", "form");
    for field in &form.fields {
        out.start("field").attr("var", &field.var).attr("type", field.kind.name());
        for value in &field.values {
            out.leaf("value", value);
        }
        out.end();
    }
    out.start("field").attr("var", "ids").attr("type", FieldKind::ListMulti.name());
    out.start_ns("validate", ns::DATA_VALIDATE).attr("datatype", "xs:string");
    out.start("open").end().end().end().end().end();
}

#[cfg(test)]
mod tests {
    use super::*;
    use xmpp::xml::Tree;

    fn read(fields: &str, rest: &str) -> Result<Query, Condition> {
        let xml = format!(
            "<query xmlns='urn:xmpp:mam:2' queryid='q'><x xmlns='jabber:x:data' type='submit'>\
             <field var='FORM_TYPE' type='hidden'><value>urn:xmpp:mam:2</value></field>{fields}</x>\
             {rest}</query>"
        );
        let tree = Tree::parse(xml.as_bytes()).expect("XML");
        Query::read(tree.root()).map_err(|error| error.condition)
    }

    fn field(name: &str, value: &str) -> String {
        format!("<field var='{name}'><value>{value}</value></field>")
    }

    fn set(inner: &str) -> String {
        format!("<set xmlns='http://jabber.org/protocol/rsm'>{inner}</set>")
    }

    #[test]
    fn every_filter_narrows() {
        let (low, high) = (ids::format(1_000_005), ids::format(1_999_999));
        let fields = [
            field("start", "1970-01-01T00:00:01Z"),
            field("end", "1970-01-01T00:00:02Z"),
            field("with", "Alice@A/x"),
            field("after-id", &low),
            field("include-groupchat", "0"),
        ];
        let query = read(&fields.concat(), &format!("<flip-page/>{}", set("<before/>"))).unwrap();
        assert_eq!((query.from, query.below), (1_000_006, 2_000_001));
        assert_eq!(query.with, Some(Jid::parse("alice@a/x").unwrap()));
        assert_eq!((query.named, query.max), (vec![1_000_005], 50));
        assert!(query.backwards && query.flipped);
        let query =
            read(&field("before-id", &high), &set(&format!("<max>1000</max><after>{low}</after>")))
                .unwrap();
        assert_eq!((query.from, query.below, query.max), (1_000_006, 1_999_999, 100));
        assert_eq!(query.named, [1_999_999, 1_000_005]);
        assert!(!query.backwards && !query.flipped);
        let both = format!("<value>{low}</value><value>{high}</value>");
        let query = read(&format!("<field var='ids'>{both}</field>"), "").unwrap();
        assert_eq!(query.ids, Some(vec![1_000_005, 1_999_999]));
    }

    #[test]
    fn what_is_refused() {
        let many = format!("<value>{}</value>", ids::format(7)).repeat(IDS_MAX + 1);
        for (fields, rest, condition) in [
            (field("start", "yesterday"), String::new(), Condition::BadRequest),
            (field("with", "@"), String::new(), Condition::BadRequest),
            (field("include-groupchat", "maybe"), String::new(), Condition::BadRequest),
            (field("text", "x"), String::new(), Condition::FeatureNotImplemented),
            (field("after-id", "x"), String::new(), Condition::ItemNotFound),
            (field("ids", "x"), String::new(), Condition::ItemNotFound),
            (format!("<field var='ids'>{many}</field>"), String::new(), Condition::PolicyViolation),
            (String::new(), set("<after>x</after>"), Condition::ItemNotFound),
            (String::new(), set("<index>3</index>"), Condition::FeatureNotImplemented),
            (String::new(), set("<max>x</max>"), Condition::BadRequest),
        ] {
            assert_eq!(read(&fields, &rest).map_err(Some), Err(Some(condition)), "{fields} {rest}");
        }
    }
}
