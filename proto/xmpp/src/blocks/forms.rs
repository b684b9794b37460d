//! XEP-0004 2.13: Data Forms, with FORM_TYPE of XEP-0068. Left out: `<reported/>` and `<item/>`
//! (tables of results), and media.

use std::fmt;

use crate::error::{Condition, StanzaError};
use crate::ns;
use crate::xml::{Node, Writer};

/// The field that says what the others mean (XEP-0068 §3).
pub const FORM_TYPE: &str = "FORM_TYPE";

/// What a form is for (§3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FormKind {
    /// To be filled in.
    #[default]
    Form,
    /// Filled in.
    Submit,
    /// Not to be filled in after all.
    Cancel,
    /// Data that is given.
    Result,
}

/// How a field is shown and what it may hold (§3.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FieldKind {
    /// Yes or no.
    Boolean,
    /// Text to read.
    Fixed,
    /// Not shown.
    Hidden,
    /// Addresses.
    JidMulti,
    /// One address.
    JidSingle,
    /// Some of the options.
    ListMulti,
    /// One of the options.
    ListSingle,
    /// Lines of text.
    TextMulti,
    /// A password.
    TextPrivate,
    /// One line of text; what a field is that says nothing.
    #[default]
    TextSingle,
}

const KINDS: [(FieldKind, &str); 10] = [
    (FieldKind::Boolean, "boolean"),
    (FieldKind::Fixed, "fixed"),
    (FieldKind::Hidden, "hidden"),
    (FieldKind::JidMulti, "jid-multi"),
    (FieldKind::JidSingle, "jid-single"),
    (FieldKind::ListMulti, "list-multi"),
    (FieldKind::ListSingle, "list-single"),
    (FieldKind::TextMulti, "text-multi"),
    (FieldKind::TextPrivate, "text-private"),
    (FieldKind::TextSingle, "text-single"),
];

impl FieldKind {
    /// The value of the attribute `type`.
    pub fn name(self) -> &'static str {
        KINDS.iter().find(|(kind, _)| *kind == self).map_or("text-single", |(_, name)| name)
    }

    /// The kind of that name. Unknown ones are `text-single` (§3.3).
    pub fn from_name(name: &str) -> FieldKind {
        KINDS.iter().find(|(_, known)| *known == name).map(|(kind, _)| *kind).unwrap_or_default()
    }
}

const FORM_KINDS: [(FormKind, &str); 4] = [
    (FormKind::Form, "form"),
    (FormKind::Submit, "submit"),
    (FormKind::Cancel, "cancel"),
    (FormKind::Result, "result"),
];

impl FormKind {
    /// The value of the attribute `type`.
    pub fn name(self) -> &'static str {
        FORM_KINDS.iter().find(|(kind, _)| *kind == self).map_or("form", |(_, name)| name)
    }

    /// The kind of that name.
    pub fn from_name(name: &str) -> Option<FormKind> {
        FORM_KINDS.iter().find(|(_, known)| *known == name).map(|(kind, _)| *kind)
    }
}

/// One field.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Field {
    /// Its name; empty for `fixed` ones that have none.
    pub var: String,
    /// Its kind. In a submitted form it may be missing, and is `text-single` then.
    pub kind: FieldKind,
    /// What people read.
    pub label: Option<String>,
    /// Whether it must be filled in.
    pub required: bool,
    /// Its values.
    pub values: Vec<String>,
    /// What may be chosen: label, and value.
    pub options: Vec<(Option<String>, String)>,
}

/// A form.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Form {
    /// What it is for.
    pub kind: FormKind,
    /// Its title.
    pub title: Option<String>,
    /// What to do with it.
    pub instructions: Option<String>,
    /// Its fields, in order. Names are unique.
    pub fields: Vec<Field>,
}

/// Why an element is no form. All of them are `bad-request`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FormError {
    /// It is not `<x xmlns='jabber:x:data'/>`.
    NotAForm,
    /// Its type is missing or unknown.
    Kind,
    /// A field has no name and is not `fixed`.
    Nameless,
    /// Two fields have one name (§3.2).
    Twice,
    /// A value that the field cannot have.
    Value,
}

impl fmt::Display for FormError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FormError::NotAForm => "not a data form",
            FormError::Kind => "the form has no known type",
            FormError::Nameless => "a field has no name",
            FormError::Twice => "two fields have the same name",
            FormError::Value => "a field has a value that it cannot have",
        })
    }
}

impl std::error::Error for FormError {}

impl From<FormError> for StanzaError {
    fn from(_: FormError) -> StanzaError {
        StanzaError::new(Condition::BadRequest)
    }
}

impl Form {
    /// A form of this kind and FORM_TYPE.
    pub fn new(kind: FormKind, form_type: &str) -> Form {
        let field = Field {
            var: FORM_TYPE.to_owned(),
            kind: FieldKind::Hidden,
            values: vec![form_type.to_owned()],
            ..Field::default()
        };
        Form { kind, fields: vec![field], ..Form::default() }
    }

    /// The same form with one field more.
    #[must_use]
    pub fn with(mut self, var: &str, kind: FieldKind, values: &[&str]) -> Form {
        self.fields.push(Field {
            var: var.to_owned(),
            kind,
            values: values.iter().map(|value| (*value).to_owned()).collect(),
            ..Field::default()
        });
        self
    }

    /// Reads a form.
    ///
    /// # Errors
    /// See [`FormError`].
    pub fn parse(x: Node<'_>) -> Result<Form, FormError> {
        if !x.is("x", ns::DATA_FORMS) {
            return Err(FormError::NotAForm);
        }
        let kind = x.attr("type").and_then(FormKind::from_name).ok_or(FormError::Kind)?;
        let fields = x.children().filter(|child| child.is("field", ns::DATA_FORMS));
        let fields = fields.map(Field::parse).collect::<Result<Vec<_>, _>>()?;
        let mut names: Vec<&str> =
            fields.iter().map(|field| field.var.as_str()).filter(|var| !var.is_empty()).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        if names.len() < count {
            return Err(FormError::Twice);
        }
        let text = |name| x.child_text(name, ns::DATA_FORMS);
        Ok(Form { kind, title: text("title"), instructions: text("instructions"), fields })
    }

    /// Writes it.
    pub fn write(&self, out: &mut Writer) {
        out.start_ns("x", ns::DATA_FORMS).attr("type", self.kind.name());
        for (name, text) in [("title", &self.title), ("instructions", &self.instructions)] {
            if let Some(text) = text {
                out.leaf(name, text);
            }
        }
        for field in &self.fields {
            field.write(out, self.kind);
        }
        out.end();
    }

    /// The field of that name.
    pub fn field(&self, var: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.var == var)
    }

    /// What the fields mean: the one value of FORM_TYPE.
    pub fn form_type(&self) -> Option<&str> {
        self.value(FORM_TYPE)
    }

    /// The first value of a field.
    pub fn value(&self, var: &str) -> Option<&str> {
        self.field(var)?.values.first().map(String::as_str)
    }

    /// All values of a field.
    pub fn values(&self, var: &str) -> &[String] {
        self.field(var).map_or(&[], |field| &field.values)
    }

    /// The value of a boolean field, if it is there (§3.3: `0`, `1`, `false`, `true`).
    ///
    /// # Errors
    /// [`FormError::Value`] for anything else.
    pub fn flag(&self, var: &str) -> Result<Option<bool>, FormError> {
        match self.value(var) {
            None => Ok(None),
            Some("1" | "true") => Ok(Some(true)),
            Some("0" | "false") => Ok(Some(false)),
            Some(_) => Err(FormError::Value),
        }
    }
}

impl Field {
    fn parse(node: Node<'_>) -> Result<Field, FormError> {
        let kind = node.attr("type").map(FieldKind::from_name).unwrap_or_default();
        let var = node.attr("var").unwrap_or_default().to_owned();
        if var.is_empty() && kind != FieldKind::Fixed {
            return Err(FormError::Nameless);
        }
        let mut field = Field { var, kind, ..Field::default() };
        field.label = node.attr("label").map(str::to_owned);
        for child in node.children().filter(|child| child.ns() == ns::DATA_FORMS) {
            match child.name() {
                "value" => field.values.push(child.text()),
                "required" => field.required = true,
                "option" => {
                    let value = child.child_text("value", ns::DATA_FORMS).unwrap_or_default();
                    field.options.push((child.attr("label").map(str::to_owned), value));
                }
                _ => {}
            }
        }
        Ok(field)
    }

    fn write(&self, out: &mut Writer, form: FormKind) {
        let var = Some(self.var.as_str()).filter(|var| !var.is_empty());
        // Whoever submits need not say the kind (§3.3), but for FORM_TYPE it is customary.
        let is_plain = form == FormKind::Submit && self.kind == FieldKind::TextSingle;
        out.start("field")
            .attr_opt("var", var)
            .attr_opt("type", (!is_plain).then(|| self.kind.name()))
            .attr_opt("label", self.label.as_deref());
        if self.required {
            out.start("required").end();
        }
        for value in &self.values {
            out.leaf("value", value);
        }
        for (label, value) in &self.options {
            out.start("option").attr_opt("label", label.as_deref()).leaf("value", value).end();
        }
        out.end();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::xml::Tree;

    fn parse(xml: &str) -> Result<Form, FormError> {
        Form::parse(Tree::parse(xml.as_bytes()).unwrap().root())
    }

    fn written(form: &Form) -> String {
        let mut out = Writer::new();
        form.write(&mut out);
        String::from_utf8(out.finish().to_vec()).unwrap()
    }

    #[test]
    fn a_submitted_form() {
        let form = parse(
            "<x xmlns='jabber:x:data' type='submit'>\
             <field var='FORM_TYPE' type='hidden'><value>urn:xmpp:mam:2</value></field>\
             <field var='with'><value>juliet@capulet.lit</value></field>\
             <field var='ids'><value>a</value><value>b &amp; c</value></field>\
             <field var='all'><value>true</value></field><field var='none'/>\
             <field xmlns='other'/></x>",
        )
        .unwrap();
        assert_eq!((form.kind, form.form_type()), (FormKind::Submit, Some("urn:xmpp:mam:2")));
        assert_eq!(form.value("with"), Some("juliet@capulet.lit"));
        assert_eq!(form.values("ids"), ["a", "b & c"]);
        assert_eq!((form.value("none"), form.value("start")), (None, None));
        assert_eq!(form.values("start").len(), 0);
        assert_eq!((form.flag("all"), form.flag("none")), (Ok(Some(true)), Ok(None)));
        assert_eq!(form.flag("with"), Err(FormError::Value));
    }

    #[test]
    fn a_form_to_fill_in() {
        let mut form = Form::new(FormKind::Form, "urn:xmpp:mam:2")
            .with("with", FieldKind::JidSingle, &[])
            .with("n", FieldKind::ListSingle, &["1"]);
        form.title = Some("<Search>".into());
        form.fields[2].label = Some("How many".into());
        form.fields[2].required = true;
        form.fields[2].options = vec![(Some("one".into()), "1".into()), (None, "2".into())];
        let xml = "<x xmlns='jabber:x:data' type='form'><title>&lt;Search&gt;</title>\
                   <field var='FORM_TYPE' type='hidden'><value>urn:xmpp:mam:2</value></field>\
                   <field var='with' type='jid-single'/>\
                   <field var='n' type='list-single' label='How many'><required/><value>1</value>\
                   <option label='one'><value>1</value></option><option><value>2</value></option>\
                   </field></x>";
        assert_eq!(written(&form), xml);
        assert_eq!(parse(xml), Ok(form));
    }

    #[test]
    fn what_is_no_form() {
        for (xml, error) in [
            ("<x type='submit'/>", FormError::NotAForm),
            ("<y xmlns='jabber:x:data' type='submit'/>", FormError::NotAForm),
            ("<x xmlns='jabber:x:data'/>", FormError::Kind),
            ("<x xmlns='jabber:x:data' type='Submit'/>", FormError::Kind),
            ("<x xmlns='jabber:x:data' type='submit'><field/></x>", FormError::Nameless),
            ("<x xmlns='jabber:x:data' type='submit'><field var=''/></x>", FormError::Nameless),
            (
                "<x xmlns='jabber:x:data' type='submit'><field var='a'/><field var='a'/></x>",
                FormError::Twice,
            ),
        ] {
            assert_eq!(parse(xml), Err(error), "{xml}");
        }
        let fixed =
            "<x xmlns='jabber:x:data' type='form'><field type='fixed'/><field type='fixed'/></x>";
        assert_eq!(parse(fixed).unwrap().fields.len(), 2);
        let odd = "<x xmlns='jabber:x:data' type='form'><field var='a' type='newer'/></x>";
        assert_eq!(parse(odd).unwrap().fields[0].kind, FieldKind::TextSingle);
    }

    proptest! {
        #[test]
        fn forms_come_back(
            vars in proptest::collection::btree_set("[a-z<&'é]{1,5}", 0..5),
            value in "[ -~é\n]{0,9}",
            kind in 0..KINDS.len(),
            form in 0..FORM_KINDS.len(),
        ) {
            let mut form = Form { kind: FORM_KINDS[form].0, ..Form::default() };
            for var in &vars {
                form = form.with(var, KINDS[kind].0, &[&value]);
            }
            prop_assert_eq!(parse(&written(&form)), Ok(form));
        }
    }
}
