//! XEP-0334 0.4.0: Message Processing Hints, as far as a message is asked for them.

use crate::ns;

/// The hints that a message carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Hints {
    /// `<no-permanent-store/>`: not for an archive; offline storage is fine.
    pub no_permanent_store: bool,
    /// `<no-store/>`: neither archive nor offline storage.
    pub no_store: bool,
    /// `<no-copy/>`: only for the resource that it is addressed to.
    pub no_copy: bool,
    /// `<store/>`: to be stored although it would not be otherwise.
    pub store: bool,
}

impl Hints {
    /// Reads the hints out of the children of a message, given as (name, namespace). Unknown ones
    /// are passed over.
    pub fn of<'a>(children: impl IntoIterator<Item = (&'a str, &'a str)>) -> Hints {
        let mut hints = Hints::default();
        for (name, _) in children.into_iter().filter(|(_, ns)| *ns == ns::HINTS) {
            match name {
                "no-permanent-store" => hints.no_permanent_store = true,
                "no-store" => hints.no_store = true,
                "no-copy" => hints.no_copy = true,
                "store" => hints.store = true,
                _ => {}
            }
        }
        hints
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_elements_of_its_namespace_count() {
        let of = |names: &[(&'static str, &'static str)]| Hints::of(names.iter().copied());
        assert_eq!(of(&[("body", ns::CLIENT), ("store", ns::CLIENT)]), Hints::default());
        assert_eq!(of(&[("newer", ns::HINTS)]), Hints::default());
        for (name, want) in [
            ("no-permanent-store", Hints { no_permanent_store: true, ..Hints::default() }),
            ("no-store", Hints { no_store: true, ..Hints::default() }),
            ("no-copy", Hints { no_copy: true, ..Hints::default() }),
            ("store", Hints { store: true, ..Hints::default() }),
        ] {
            assert_eq!(of(&[("body", ns::CLIENT), (name, ns::HINTS)]), want);
        }
    }
}
