//! Every configuration key with its default and its manual entry: the example file and the
//! suggestions for mistyped names come from here, and a test holds the defaults against
//! `Config::default`.

/// One key of the file.
pub(crate) struct Key {
    /// The table it stands in; empty for the top of the file.
    pub(crate) section: &'static str,
    /// Its name.
    pub(crate) name: &'static str,
    /// Its default, as TOML; empty where there is none.
    pub(crate) default: &'static str,
    /// What it does, for the example file: paragraphs, those that begin with spaces as they are.
    pub(crate) doc: &'static str,
}

const fn key(
    section: &'static str,
    name: &'static str,
    default: &'static str,
    doc: &'static str,
) -> Key {
    Key { section, name, default, doc }
}

/// All keys, in the order of the example file.
pub(crate) const KEYS: &[Key] = &[
    key(
        "",
        "domains",
        r#"["localhost"]"#,
        "The domains served: the part of an address after the @.",
    ),
    key(
        "",
        "data",
        r#""carillon-data""#,
        "The folder of everything that must be kept: accounts, messages, keys, the admin socket. \
         Made on the first start, readable by its owner only. A relative path starts at the folder \
         of this file (without a file: where the command runs). Back it up.",
    ),
    key(
        "",
        "store",
        r#""embedded""#,
        "Where the data is: \"embedded\" keeps it in the data folder, for one process. \"remote\" \
         asks the node of the cluster that has the role \"store\": for trials and tests, for that \
         node is one point of failure.",
    ),
    key("", "workers", "0", "Worker threads; 0 means one for each core."),
    key(
        "listen",
        "c2s",
        r#"["127.0.0.1:5222", "[::1]:5222"]"#,
        "Client connections that begin in plain text and must switch to TLS (STARTTLS). Port 0 \
         takes any free port. For all addresses of the machine: [\"0.0.0.0:5222\", \"[::]:5222\"].",
    ),
    key(
        "listen",
        "c2s_tls",
        r#"["127.0.0.1:5223", "[::1]:5223"]"#,
        "Client connections that begin with TLS (XEP-0368).",
    ),
    key(
        "listen",
        "http",
        r#"["127.0.0.1:5280"]"#,
        "Metrics and health, for machines that watch this one. No password guards them: keep the \
         addresses local, or behind a proxy. An empty list turns them off.",
    ),
    key(
        "listen",
        "clear_text",
        "false",
        "Whether clients may log in on `c2s` without TLS. Only for measurements on one machine: \
         refused unless all addresses of `c2s` are loopback.",
    ),
    key(
        "tls",
        "certificate",
        "",
        "PEM file with the certificate and its chain; {domain} stands for each domain in turn. \
         Without it, a domain gets a self-signed certificate, made on the first start. For \
         example:\n    certificate = \"/etc/letsencrypt/live/{domain}/fullchain.pem\"\n    \
         key = \"/etc/letsencrypt/live/{domain}/privkey.pem\"\nA domain that needs other files \
         has them in a table of its own, at the end of the file:\n    [tls.\"example.org\"]\n    \
         certificate = \"/etc/carillon/example.org.crt\"\n    \
         key = \"/etc/carillon/example.org.key\"",
    ),
    key(
        "tls",
        "key",
        "",
        "PEM file with the private key of the certificate. Always given together with it.",
    ),
    key(
        "limits",
        "connections",
        "0",
        "Client connections at once; 0 means as many as the system's limit of open files leaves.",
    ),
    key(
        "limits",
        "connections_per_source",
        "10_000",
        "Client connections at once from one source: an IPv4 address or an IPv6 /64. The defaults \
         of the three limits by source leave room for a mobile carrier behind one address.",
    ),
    key(
        "limits",
        "connects_per_source_per_second",
        "100",
        "New connections in a second from one source, on average. More are closed before TLS.",
    ),
    key(
        "limits",
        "connects_per_source_at_once",
        "2_000",
        "New connections that one source may make at once after a rest.",
    ),
    key(
        "limits",
        "login_time",
        r#""1 m""#,
        "A connection that is not logged in by then is closed.",
    ),
    key(
        "limits",
        "stanza_size",
        r#""256 KiB""#,
        "The largest stanza taken from a client that is logged in; at least \"10 KiB\" (RFC 6120).",
    ),
    key("limits", "stanza_size_before_login", r#""8 KiB""#, "The same before the login."),
    key("limits", "resources_per_account", "16", "Clients of one account at once."),
    key(
        "limits",
        "resume_time",
        r#""5 m""#,
        "How long a client that lost its connection may come back to its session (XEP-0198); at \
         most \"10 m\".",
    ),
    key("archive", "enabled", "true", "Whether messages are archived for their users (XEP-0313)."),
    key(
        "log",
        "format",
        r#""human""#,
        "\"human\" or \"json\"; one event a line, to standard error.",
    ),
    key(
        "log",
        "level",
        r#""info""#,
        "The least important events logged: error, warn, info, debug or trace.",
    ),
    key(
        "cluster",
        "name",
        r#""""#,
        "What this node is called, in lower-case letters, digits, dots and hyphens; it never \
         changes. Empty: the name of the machine.",
    ),
    key(
        "cluster",
        "roles",
        r#"["edge", "router", "control"]"#,
        "What this node does: \"edge\" holds client connections, \"router\" owns accounts, \
         \"control\" holds a copy of the control plane (three or five nodes of a cluster), \
         \"store\" serves its embedded store to routers with store = \"remote\".",
    ),
    key(
        "cluster",
        "listen",
        r#""127.0.0.1:5270""#,
        "Where it listens for the other nodes: UDP. Only nodes with a certificate of the cluster \
         are let in.",
    ),
    key(
        "cluster",
        "advertise",
        r#""""#,
        "Where the other nodes find it, as \"HOST:PORT\". Empty: at `listen`.",
    ),
    key(
        "cluster",
        "zone",
        r#""""#,
        "What fails together with it: a rack, a hall. Shards and votes are spread over zones.",
    ),
];

/// What each table is for.
const SECTIONS: &[(&str, &str)] = &[
    ("listen", "Addresses listened on, each \"ADDRESS:PORT\"."),
    ("tls", "Certificates. Files are read again when they change."),
    ("limits", "What one client or source may take of the server."),
    ("archive", "Message archives."),
    ("log", "What the server says of itself."),
    ("cluster", "This node's place in a cluster (`carillon cluster --help`)."),
];

/// The whole file with every key, its default and its meaning. Keys are commented out, so that a
/// file made from it changes nothing until it is edited, and follows new defaults afterwards.
#[must_use]
pub fn example() -> String {
    let mut out = String::from(
        "# Configuration of Carillon.\n#\n\
         # Every key is optional; what stands here are the defaults. Remove the # before a key to\n\
         # set it. Sizes are written \"64 KiB\" (B, KiB, MiB or GiB), times \"5 m\" (ms, s, m, h\n\
         # or d). `carillon config check` tells everything that is wrong with a file before a\n\
         # server meets it.\n",
    );
    let mut section = "";
    for key in KEYS {
        if key.section != section {
            section = key.section;
            let about = SECTIONS.iter().find(|(name, _)| *name == section).map_or("", |it| it.1);
            out.push_str(&format!("\n\n# {about}\n[{section}]\n"));
        }
        out.push('\n');
        key.doc.lines().for_each(|line| comment(&mut out, line));
        if !key.default.is_empty() {
            out.push_str(&format!("#{} = {}\n", key.name, key.default));
        }
    }
    out
}

/// Writes one paragraph as a comment, in lines that fit.
fn comment(out: &mut String, paragraph: &str) {
    let mut line = String::from("#");
    if paragraph.starts_with(' ') {
        line.push_str("   ");
    }
    for word in paragraph.split_whitespace() {
        if line.len() + word.len() >= 90 {
            out.push_str(&line);
            out.push('\n');
            line = String::from("#");
        }
        line.push(' ');
        line.push_str(word);
    }
    out.push_str(&line);
    out.push('\n');
}
