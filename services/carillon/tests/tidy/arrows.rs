//! Which crate may depend on which, and which place may name which third-party crate.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

use super::tree::{Finding, Tree, root};

/// The arrows of `docs/ARCHITECTURE.md`. A new one is a change of the design, with a note in
/// `docs/decisions`.
const ARROWS: [(&str, &[&str]); 11] = [
    ("xmpp", &[]),
    ("kv", &[]),
    ("stream", &["xmpp"]),
    ("peer", &["xmpp", "kv"]),
    ("session", &["xmpp", "kv", "peer"]),
    ("xeps", &["session", "xmpp", "kv"]),
    ("mesh", &["peer"]),
    ("store", &["kv", "peer", "mesh"]),
    ("router", &["session", "peer", "kv"]),
    ("edge", &["stream", "session", "peer", "xmpp"]),
    (
        "carillon",
        &["xmpp", "kv", "stream", "peer", "session", "xeps", "mesh", "store", "router", "edge"],
    ),
];

/// They depend on whatever they measure or break; nothing depends on them.
const TOOLS: [&str; 2] = ["carillon-bench", "chaos"];

/// Crates without IO, clock, thread, lock or randomness: name and folder.
pub(crate) const PURE: [(&str, &str); 6] = [
    ("xmpp", "proto/xmpp"),
    ("stream", "proto/stream"),
    ("peer", "proto/peer"),
    ("kv", "cluster/kv"),
    ("session", "services/session"),
    ("xeps", "services/xeps"),
];

/// Third-party crates that a pure crate may use: they only compute.
const PURE_MAY_USE: [&str; 15] = [
    "bytes",
    "memchr",
    "quick-xml",
    "smallvec",
    "hmac",
    "sha1",
    "sha2",
    "pbkdf2",
    "subtle",
    "idna",
    "precis-profiles",
    "stringprep",
    "base64",
    "hashbrown",
    "siphasher",
];

/// Generators of random numbers that are made for speed. What may not be guessed (ids of sessions
/// and streams, nonces, keys) comes from the system, by `getrandom`, or from aws-lc's, which is
/// seeded by it (security case 46); so no crate has another.
const GENERATORS: [&str; 8] = [
    "rand",
    "rand_core",
    "fastrand",
    "oorandom",
    "nanorand",
    "rand_chacha",
    "rand_xorshift",
    "uuid",
];

/// Third-party crates that only one of our crates may depend on.
const OWNED: [(&str, &str); 7] = [
    ("quinn", "mesh"),
    ("openraft", "mesh"),
    ("foundationdb", "store"),
    ("foundationdb-sys", "store"),
    ("fjall", "store"),
    ("clap", "carillon"),
    ("quick-xml", "xmpp"),
];

/// Readers of XML: one stands behind our own pass over all that comes in, the others only judge it
/// in tests (security case 4).
const XML_READERS: [&str; 10] = [
    "quick-xml",
    "roxmltree",
    "rxml",
    "xml",
    "xml-rs",
    "minidom",
    "libxml",
    "expat-sys",
    "xmlparser",
    "serde-xml-rs",
];

/// Third-party crates that only files under these paths may name.
const NAMED_IN: [(&str, &str); 4] = [
    ("openraft", "cluster/mesh/src/raft"),
    ("quinn", "cluster/mesh/src/link"),
    ("foundationdb", "cluster/store/src/fdb"),
    ("quick_xml", "proto/xmpp/src/xml"),
];

/// What a pure crate's `.clippy.toml` must ban.
const PURE_BANS: [&str; 6] = [
    "std::time::Instant::now",
    "std::time::SystemTime::now",
    "std::thread::spawn",
    "std::sync::Mutex",
    "std::sync::RwLock",
    "std::fs::File",
];

/// One crate of the workspace: its folder and what it depends on, tests excepted.
#[derive(Default)]
pub(crate) struct Package {
    /// Relative to the root.
    pub(crate) folder: String,
    pub(crate) depends_on: BTreeSet<String>,
    /// Whether it takes the workspace's lints.
    pub(crate) lints: bool,
}

/// The workspace's crates by name.
pub(crate) fn workspace() -> BTreeMap<String, Package> {
    let root = root();
    let metadata = metadata(&["--no-deps"]);
    let mut packages = BTreeMap::new();
    for package in metadata["packages"].as_array().expect("packages") {
        let manifest = package["manifest_path"].as_str().expect("a manifest path");
        let folder = std::path::Path::new(manifest).parent().unwrap();
        let depends_on = package["dependencies"].as_array().expect("dependencies").iter();
        let depends_on = depends_on.filter(|d| d["kind"].as_str() != Some("dev"));
        let text = std::fs::read_to_string(manifest).expect("a readable manifest");
        let made = Package {
            folder: folder.strip_prefix(&root).unwrap().to_string_lossy().into_owned(),
            depends_on: depends_on.map(|d| d["name"].as_str().unwrap().to_owned()).collect(),
            lints: text.contains("[lints]\nworkspace = true"),
        };
        packages.insert(package["name"].as_str().expect("a name").to_owned(), made);
    }
    packages
}

/// What `cargo metadata` says of this workspace.
pub(crate) fn metadata(arguments: &[&str]) -> Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked"])
        .args(arguments)
        .current_dir(root())
        .output()
        .expect("cargo runs");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo metadata failed: {error}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn finding(package: &Package, rule: &'static str, what: String) -> Finding {
    Finding { file: format!("{}/Cargo.toml", package.folder), line: 0, rule, what }
}

/// Arrows, the third-party crates behind them, and that every crate takes the shared lints.
pub(crate) fn check(packages: &BTreeMap<String, Package>) -> Vec<Finding> {
    let mut found = Vec::new();
    for (name, package) in packages {
        if !package.lints {
            let what = "take the shared lints: `[lints]`, `workspace = true`".into();
            found.push(finding(package, "lints", what));
        }
        if TOOLS.contains(&name.as_str()) {
            continue;
        }
        let Some((_, allowed)) = ARROWS.iter().find(|a| a.0 == name) else {
            let what = format!("`{name}` is not in the table of arrows");
            found.push(finding(package, "arrow", what));
            continue;
        };
        let pure = PURE.iter().any(|p| p.0 == name);
        for target in &package.depends_on {
            let ours = packages.contains_key(target);
            let owner = OWNED.iter().find(|o| o.0 == target);
            if ours && !allowed.contains(&target.as_str()) {
                let what = format!("{name} → {target} is not an arrow of the design");
                found.push(finding(package, "arrow", what));
            } else if GENERATORS.contains(&target.as_str()) {
                let what = format!("`{target}`: random bits come from the system");
                found.push(finding(package, "third-party", what));
            } else if XML_READERS.contains(&target.as_str()) && owner.is_none_or(|o| o.1 != name) {
                let what = format!("`{target}` reads XML, which is for `xmpp::xml` alone");
                found.push(finding(package, "third-party", what));
            } else if !ours && pure && !PURE_MAY_USE.contains(&target.as_str()) {
                let what = format!("`{name}` is pure and may not use `{target}`");
                found.push(finding(package, "third-party", what));
            } else if let Some((_, owner)) = owner.filter(|o| o.1 != name) {
                let what = format!("only `{owner}` may depend on `{target}`");
                found.push(finding(package, "third-party", what));
            }
        }
    }
    found
}

/// Files that name what only one folder may name.
pub(crate) fn names(tree: &Tree) -> Vec<Finding> {
    let mut found = Vec::new();
    for file in tree.rust() {
        for (name, place) in NAMED_IN.iter().filter(|n| !file.path.starts_with(n.1)) {
            for (index, line) in file.masked.code.iter().enumerate() {
                let used = [format!("{name}::"), format!("use {name}"), format!("crate {name};")];
                if used.iter().any(|u| line.contains(u.as_str())) {
                    let what = format!("only {place} names `{name}`");
                    found.push(file.finding(index + 1, "named-in-one-place", what));
                }
            }
        }
    }
    found
}

/// Every pure crate has the lints that keep it so. Reads the files itself: they begin with a dot.
pub(crate) fn pure_lints(tree: &Tree) -> Vec<Finding> {
    let mut found = Vec::new();
    for (name, folder) in PURE {
        let path = format!("{folder}/.clippy.toml");
        let text = tree.file(&path).map_or("", |f| f.text.as_str());
        for ban in PURE_BANS.iter().filter(|b| !text.contains(&format!("\"{b}\""))) {
            let what = format!("`{name}` is pure: ban {ban}");
            found.push(Finding { file: path.clone(), line: 0, rule: "pure-lints", what });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::tree::rules;
    use super::*;

    fn packages(list: &[(&str, &[&str], bool)]) -> BTreeMap<String, Package> {
        let package = |depends_on: &[&str], lints| Package {
            folder: "x".into(),
            depends_on: depends_on.iter().map(|d| (*d).to_owned()).collect(),
            lints,
        };
        list.iter().map(|(name, on, lints)| ((*name).to_owned(), package(on, *lints))).collect()
    }

    #[test]
    fn wrong_arrows_are_found() {
        let good = packages(&[("xmpp", &["bytes"], true), ("stream", &["xmpp"], true)]);
        assert!(check(&good).is_empty());
        let bad = packages(&[
            ("chaos", &["xmpp", "stream", "tokio"], true),
            ("edge", &["store", "quinn", "roxmltree"], true),
            ("kv", &["quick-xml"], true),
            ("router", &["fastrand"], true),
            ("nave", &[], true),
            ("store", &[], false),
            ("xmpp", &["stream", "tokio"], true),
            ("stream", &[], true),
        ]);
        let found: Vec<_> = check(&bad).iter().map(|f| f.what.clone()).collect();
        assert_eq!(
            found,
            [
                "only `mesh` may depend on `quinn`",
                "`roxmltree` reads XML, which is for `xmpp::xml` alone",
                "edge → store is not an arrow of the design",
                "`quick-xml` reads XML, which is for `xmpp::xml` alone",
                "`nave` is not in the table of arrows",
                "`fastrand`: random bits come from the system",
                "take the shared lints: `[lints]`, `workspace = true`",
                "xmpp → stream is not an arrow of the design",
                "`xmpp` is pure and may not use `tokio`",
            ]
        );
    }

    /// What one crate reaches through the arrows.
    fn reach(from: &str) -> BTreeSet<&'static str> {
        let mut seen = BTreeSet::new();
        let mut open = vec![from.to_owned()];
        while let Some(name) = open.pop() {
            let (_, targets) = ARROWS.iter().find(|a| a.0 == name).expect("in the table");
            let new: Vec<_> = targets.iter().filter(|t| seen.insert(**t)).collect();
            open.extend(new.iter().map(|t| (**t).to_owned()));
        }
        seen
    }

    #[test]
    fn the_table_has_no_ring_and_the_edge_no_store() {
        for (name, _) in ARROWS {
            assert!(!reach(name).contains(name), "{name} reaches itself");
        }
        for far in ["store", "mesh", "router"] {
            assert!(!reach("edge").contains(far), "the edge reaches {far}");
        }
        for (name, _) in PURE {
            assert!(reach(name).iter().all(|r| PURE.iter().any(|p| p.0 == *r)), "{name}");
        }
    }

    #[test]
    fn names_in_the_wrong_place_are_found() {
        let text = "//! x\nuse openraft::Raft; // quinn::Endpoint\n";
        let tree = Tree::of(&[
            ("cluster/mesh/src/raft/log.rs", text),
            ("cluster/mesh/src/membership.rs", text),
        ]);
        assert_eq!(rules(&names(&tree)), [(2, "named-in-one-place")]);
    }

    #[test]
    fn missing_lints_are_found() {
        let all = PURE_BANS.map(|b| format!("\"{b}\"")).join("\n");
        let paths = PURE.map(|p| format!("{}/.clippy.toml", p.1));
        let mut files: Vec<_> = paths.iter().map(|p| (p.as_str(), all.as_str())).collect();
        assert!(pure_lints(&Tree::of(&files)).is_empty());
        files.pop();
        assert_eq!(pure_lints(&Tree::of(&files)).len(), PURE_BANS.len());
    }
}
