//! The documents that are made from the modules are not stale.
#![allow(clippy::expect_used, clippy::disallowed_methods)]

use std::path::Path;

#[test]
fn documents_say_what_the_modules_say() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    for (name, wanted) in [("XEPS.md", xeps::docs::markdown()), ("doap.xml", xeps::docs::doap())] {
        let path = docs.join(name);
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(&path, wanted).expect("a writable document");
            continue;
        }
        let found = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            found == wanted,
            "docs/{name} is stale: UPDATE_DOCS=1 cargo test -p xeps --test docs"
        );
    }
}
