//! From the text of the file to a `Config`, key by key.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use mesh::{NodeName, Role, Roles};
use toml::de::{DeTable, DeValue};
use tracing::Level;

use super::nearest::nearest;
use super::reader::{self, Problem, Problems, Section};
use super::{CertificateFiles, Cluster, Config, Limits, Listen, LogFormat, StoreKind, Tls, units};
use crate::limits;

/// Reads and checks the whole text.
///
/// # Errors
/// Everything that is wrong with it, in the order of the lines.
pub(super) fn parse(source: &str) -> Result<Config, Vec<Problem>> {
    let mut problems = Problems::new(source);
    let source = source.strip_prefix('\u{feff}').unwrap_or(source);
    let (document, errors) = DeTable::parse_recoverable(source);
    for error in &errors {
        let place = error.span().map_or(0, |span| span.start);
        problems.at(place, format!("not TOML: {}", error.message().replace('\n', ", ")));
    }
    if !errors.is_empty() {
        return Err(problems.finish());
    }
    let config = top(document.get_ref(), &mut problems);
    let found = problems.finish();
    if found.is_empty() { Ok(config) } else { Err(found) }
}

fn top(table: &DeTable<'_>, problems: &mut Problems<'_>) -> Config {
    let mut config = Config::default();
    let mut top = Section::top(table);
    top.key("domains", &mut config.domains, problems, domains);
    top.key("data", &mut config.data, problems, path);
    let stores = [("embedded", StoreKind::Embedded), ("remote", StoreKind::Remote)];
    top.key("store", &mut config.store, problems, |value| reader::choice(value, &stores));
    top.key("workers", &mut config.workers, problems, |value| {
        Ok(reader::count(value, 0, limits::WORKERS_MAX as u64)? as usize)
    });

    listen(top.section("listen", problems), &mut config.listen, problems);
    config.tls = tls(top.section("tls", problems), &config.domains, problems);
    bounds(top.section("limits", problems), &mut config.limits, problems);

    let mut archive = top.section("archive", problems);
    archive.key("enabled", &mut config.archive.enabled, problems, reader::boolean);
    archive.finish(problems);

    let mut log = top.section("log", problems);
    let formats = [("human", LogFormat::Human), ("json", LogFormat::Json)];
    log.key("format", &mut config.log.format, problems, |value| reader::choice(value, &formats));
    let levels = [
        ("error", Level::ERROR),
        ("warn", Level::WARN),
        ("info", Level::INFO),
        ("debug", Level::DEBUG),
        ("trace", Level::TRACE),
    ];
    log.key("level", &mut config.log.level, problems, |value| reader::choice(value, &levels));
    log.finish(problems);
    cluster(top.section("cluster", problems), &mut config.cluster, problems);

    top.finish(problems);
    config
}

fn listen(mut section: Section<'_, '_>, listen: &mut Listen, problems: &mut Problems<'_>) {
    section.key("c2s", &mut listen.c2s, problems, addresses);
    section.key("c2s_tls", &mut listen.c2s_tls, problems, addresses);
    section.key("http", &mut listen.http, problems, addresses);
    section.key("clear_text", &mut listen.clear_text, problems, reader::boolean);
    if listen.clear_text && !listen.c2s.iter().all(|it| it.ip().is_loopback()) {
        let place = section.place("clear_text").unwrap_or(0);
        problems.at(
            place,
            "`listen.clear_text`: passwords would cross a network in the clear; it is for `c2s` \
             addresses that are all loopback"
                .to_owned(),
        );
    }
    let lists = [("c2s", &listen.c2s), ("c2s_tls", &listen.c2s_tls), ("http", &listen.http)];
    let mut seen: Vec<(SocketAddr, &str)> = Vec::new();
    for (name, list) in lists {
        for address in list.iter().filter(|it| it.port() != 0) {
            if let Some((_, other)) = seen.iter().find(|(known, _)| known == address) {
                let place = section.place(name).or(section.place(other)).unwrap_or(0);
                problems.at(
                    place,
                    format!("`listen.{name}`: {address} is in `listen.{other}` already"),
                );
            }
            seen.push((*address, name));
        }
    }
    section.finish(problems);
}

fn tls(mut section: Section<'_, '_>, domains: &[String], problems: &mut Problems<'_>) -> Tls {
    let mut tls = Tls { all: pair(&mut section, "", problems), ..Tls::default() };
    if let Some(files) = &tls.all
        && domains.len() > 1
        && !files.certificate.to_string_lossy().contains("{domain}")
        && files.key.to_string_lossy().contains("{domain}")
    {
        let place = section.place("certificate").unwrap_or(0);
        problems.at(place, "`tls.key` has {domain} in it and `tls.certificate` has not".to_owned());
    }
    for (name, place, value) in section.rest() {
        let Some(table) = value.get_ref().as_table() else {
            let near = nearest(name, ["certificate", "key"]);
            let meant = near.map_or(String::new(), |it| format!("; did you mean `{it}`?"));
            problems.at(place, format!("`tls.{name}` is not a key{meant}"));
            continue;
        };
        match domain(name) {
            Ok(domain) if domains.contains(&domain) => {
                let mut own = Section::of_domain(table);
                if let Some(files) = pair(&mut own, name, problems) {
                    tls.domains.insert(domain, files);
                } else if own.place("certificate").is_none() && own.place("key").is_none() {
                    problems.at(place, format!("[tls.\"{name}\"] needs `certificate` and `key`"));
                }
                own.finish(problems);
            }
            _ if table.values().any(|it| it.get_ref().is_table()) => problems.at(
                place,
                format!(
                    "[tls.{name}.…]: a domain in a table name needs quotes: [tls.\"{name}.…\"]"
                ),
            ),
            _ => {
                let near = nearest(name, domains.iter().map(String::as_str));
                let meant = near.map_or(String::new(), |it| format!("; did you mean \"{it}\"?"));
                problems.at(place, format!("[tls.\"{name}\"]: not one of `domains`{meant}"));
            }
        }
    }
    tls
}

/// `certificate` and `key`, which need each other.
fn pair(
    section: &mut Section<'_, '_>,
    domain: &str,
    problems: &mut Problems<'_>,
) -> Option<CertificateFiles> {
    let table = if domain.is_empty() { "tls".to_owned() } else { format!("tls.\"{domain}\"") };
    let (mut certificate, mut key) = (PathBuf::new(), PathBuf::new());
    section.key("certificate", &mut certificate, problems, path);
    section.key("key", &mut key, problems, path);
    match (section.place("certificate"), section.place("key")) {
        (Some(_), Some(_)) => Some(CertificateFiles { certificate, key }),
        (Some(place), None) => {
            problems.at(place, format!("[{table}] has a `certificate` and no `key`"));
            None
        }
        (None, Some(place)) => {
            problems.at(place, format!("[{table}] has a `key` and no `certificate`"));
            None
        }
        (None, None) => None,
    }
}

fn bounds(mut section: Section<'_, '_>, bounds: &mut Limits, problems: &mut Problems<'_>) {
    let small = |value: &DeValue<'_>| {
        Ok(u32::try_from(reader::count(value, 1, 1_000_000)?).unwrap_or(u32::MAX))
    };
    section.key("connections", &mut bounds.connections, problems, |value| {
        reader::count(value, 0, 10_000_000)
    });
    section.key("connections_per_source", &mut bounds.connections_per_source, problems, small);
    let rate = &mut bounds.connects_per_source_per_second;
    section.key("connects_per_source_per_second", rate, problems, small);
    let burst = &mut bounds.connects_per_source_at_once;
    section.key("connects_per_source_at_once", burst, problems, small);
    section.key("login_time", &mut bounds.login_time, problems, |value| {
        time(value, limits::LOGIN_TIME)
    });
    section.key("stanza_size", &mut bounds.stanza_size, problems, |value| {
        size(value, limits::STANZA_SIZE)
    });
    let before = &mut bounds.stanza_size_before_login;
    section.key("stanza_size_before_login", before, problems, |value| {
        size(value, limits::STANZA_SIZE_BEFORE_LOGIN)
    });
    section.key("resources_per_account", &mut bounds.resources_per_account, problems, |value| {
        Ok(reader::count(value, 1, limits::RESOURCES_MAX as u64)? as usize)
    });
    section.key("resume_time", &mut bounds.resume_time, problems, |value| {
        time(value, limits::RESUME_TIME)
    });
    if bounds.stanza_size_before_login > bounds.stanza_size {
        let place = section.place("stanza_size_before_login").or(section.place("stanza_size"));
        let text = "`limits.stanza_size_before_login` is above `limits.stanza_size`";
        problems.at(place.unwrap_or(0), text.to_owned());
    }
    section.finish(problems);
}

fn cluster(mut section: Section<'_, '_>, cluster: &mut Cluster, problems: &mut Problems<'_>) {
    section.key("name", &mut cluster.name, problems, |value| {
        let text = reader::text(value)?;
        if text.is_empty() || NodeName::parse(&text).is_some() {
            return Ok(text);
        }
        Err(format!("{text:?} is not a name of lower-case letters, digits, dots and hyphens"))
    });
    section.key("roles", &mut cluster.roles, problems, |value| {
        let roles = reader::list(value, |text| {
            Roles::parse(text).ok_or_else(|| {
                let all = Role::ALL.map(Role::as_str);
                let meant = nearest(text, all);
                let meant = meant.map_or(String::new(), |it| format!("; did you mean {it:?}?"));
                format!("{text:?} is not a role ({}){meant}", all.join(", "))
            })
        })?;
        Roles::parse(&roles.iter().map(Roles::to_string).collect::<Vec<_>>().join("+"))
            .filter(|_| !roles.is_empty())
            .ok_or_else(|| "a node has at least one role, and each once".to_owned())
    });
    section.key("listen", &mut cluster.listen, problems, |value| match &addresses(value)?[..] {
        [one] => Ok(*one),
        _ => Err("is one address".to_owned()),
    });
    section.key("advertise", &mut cluster.advertise, problems, |value| {
        let text = reader::text(value)?;
        let port = text.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
        match port {
            None if !text.is_empty() => Err(format!("{text:?} is not HOST:PORT")),
            _ => Ok(text),
        }
    });
    section.key("zone", &mut cluster.zone, problems, reader::text);
    section.finish(problems);
}

fn domains(value: &DeValue<'_>) -> Result<Vec<String>, String> {
    let list = reader::list(value, domain)?;
    if list.is_empty() {
        return Err("at least one domain is needed".to_owned());
    }
    for (index, one) in list.iter().enumerate() {
        if list.iter().take(index).any(|other| other == one) {
            return Err(format!("\"{one}\" stands there twice"));
        }
    }
    Ok(list)
}

/// A domain in its canonical form.
fn domain(text: &str) -> Result<String, String> {
    match xmpp::Jid::parse(text) {
        Ok(jid) if jid.local().is_some() || jid.resource().is_some() => {
            Err(format!("{text:?} is an address: give its domain alone, \"{}\"", jid.domain()))
        }
        Ok(jid) => Ok(jid.domain().to_owned()),
        Err(why) => Err(format!("{text:?} is not a domain: its {why}")),
    }
}

fn addresses(value: &DeValue<'_>) -> Result<Vec<SocketAddr>, String> {
    let read = |text: &str| {
        text.parse::<SocketAddr>().map_err(|_| {
            let hint = if text.contains(|c: char| c.is_ascii_alphabetic()) && !text.contains("::") {
                "an address, not a name,"
            } else {
                "an address"
            };
            format!(
                "{text:?} is not {hint} with a port, such as \"127.0.0.1:5222\" or \"[::1]:5222\""
            )
        })
    };
    // A single address is what people write for a single address.
    if let Some(text) = value.as_str() { Ok(vec![read(text)?]) } else { reader::list(value, read) }
}

fn path(value: &DeValue<'_>) -> Result<PathBuf, String> {
    let text = reader::text(value)?;
    if text.is_empty() || text.contains('\0') {
        return Err("is not a path".to_owned());
    }
    if text.starts_with("~/") || text == "~" {
        return Err(format!("{text:?}: write the path in full, ~ means nothing here"));
    }
    Ok(PathBuf::from(text))
}

fn size(value: &DeValue<'_>, (least, most): (u32, u32)) -> Result<u32, String> {
    let text = quantity(value, "a size such as \"64 KiB\"")?;
    let bytes = u32::try_from(units::size(&text)?).ok();
    if let Some(bytes) = bytes.filter(|it| (least..=most).contains(it)) {
        return Ok(bytes);
    }
    let (least, most) = (units::show_size(least.into()), units::show_size(most.into()));
    Err(format!("{text:?} is not from \"{least}\" to \"{most}\""))
}

fn time(value: &DeValue<'_>, (least, most): (Duration, Duration)) -> Result<Duration, String> {
    let text = quantity(value, "a time such as \"5 m\"")?;
    let time = units::time(&text)?;
    if (least..=most).contains(&time) {
        return Ok(time);
    }
    let (least, most) = (units::show_time(least), units::show_time(most));
    Err(format!("{text:?} is not from \"{least}\" to \"{most}\""))
}

/// A text with a unit; a bare number gets told what it lacks.
fn quantity(value: &DeValue<'_>, what: &str) -> Result<String, String> {
    if value.is_integer() || value.is_float() {
        return Err(format!("a number alone has no unit: write {what}, with the quotes"));
    }
    reader::text(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Parses and shows what is wrong as `line: text`.
    fn wrong(source: &str) -> Vec<String> {
        let problems = parse(source).expect_err("must be refused");
        problems.iter().map(|it| format!("{}: {}", it.line, it.text)).collect()
    }

    #[test]
    fn nothing_is_needed() {
        assert_eq!(parse(""), Ok(Config::default()));
        assert_eq!(parse("\u{feff}# only this\n"), Ok(Config::default()));
        assert_eq!(parse("[listen]\n[limits]\n[tls]\n"), Ok(Config::default()));
    }

    #[test]
    fn the_example_is_the_default() {
        let example = super::super::example();
        assert_eq!(parse(&example), Ok(Config::default()), "as printed");
        let is_key =
            |line: &str| line.starts_with('#') && line[1..].starts_with(|c: char| c.is_lowercase());
        let keys = example.lines().filter(|line| is_key(line)).count();
        assert_eq!(
            keys,
            super::super::keys::KEYS.iter().filter(|it| !it.default.is_empty()).count()
        );
        let uncommented: String = example
            .lines()
            .map(|line| format!("{}\n", if is_key(line) { &line[1..] } else { line }))
            .collect();
        assert_eq!(parse(&uncommented), Ok(Config::default()), "with every key uncommented");
        assert!(example.lines().all(|line| line.chars().count() <= 100), "lines fit");
    }

    #[test]
    fn everything_can_be_set() {
        let config = parse(
            r#"
            domains = ["Example.ORG", "chat.example"]
            data = "/var/lib/carillon"
            store = "remote"
            workers = 3
            [listen]
            c2s = []
            c2s_tls = ["0.0.0.0:5223", "[::]:5223"]
            http = "127.0.0.1:9"
            [tls]
            certificate = "/c/{domain}.pem"
            key = "/k/{domain}.pem"
            [tls."chat.example"]
            certificate = "one.crt"
            key = "one.key"
            [limits]
            connections = 7
            connections_per_source = 8
            connects_per_source_per_second = 9
            connects_per_source_at_once = 10
            login_time = "10 s"
            stanza_size = "100 KiB"
            stanza_size_before_login = "10 KiB"
            resources_per_account = 3
            resume_time = "90 s"
            [archive]
            enabled = false
            [log]
            format = "json"
            level = "debug"
            [cluster]
            name = "r1.example"
            roles = ["router", "control"]
            listen = "192.0.2.1:5270"
            advertise = "r1.example:5270"
            zone = "hall-2"
            "#,
        )
        .unwrap();
        let cluster = Cluster {
            name: "r1.example".to_owned(),
            roles: Roles::of(&[Role::Control, Role::Router]),
            listen: "192.0.2.1:5270".parse().unwrap(),
            advertise: "r1.example:5270".to_owned(),
            zone: "hall-2".to_owned(),
        };
        assert_eq!(config.cluster, cluster);
        assert_eq!(config.domains, ["example.org", "chat.example"]);
        assert_eq!(config.listen.c2s, []);
        assert_eq!(config.listen.http, ["127.0.0.1:9".parse().unwrap()]);
        let files = config.certificate("example.org").unwrap();
        assert_eq!(files.certificate, PathBuf::from("/c/example.org.pem"));
        assert_eq!(files.key, PathBuf::from("/k/example.org.pem"));
        assert_eq!(config.certificate("chat.example").unwrap().key, PathBuf::from("one.key"));
        let expected = Limits {
            connections: 7,
            connections_per_source: 8,
            connects_per_source_per_second: 9,
            connects_per_source_at_once: 10,
            login_time: Duration::from_secs(10),
            stanza_size: 100 << 10,
            stanza_size_before_login: 10 << 10,
            resources_per_account: 3,
            resume_time: Duration::from_secs(90),
        };
        assert_eq!(config.limits, expected);
        assert!(!config.archive.enabled);
        assert_eq!(config.store, StoreKind::Remote);
        assert_eq!((config.log.format, config.log.level), (LogFormat::Json, Level::DEBUG));
    }

    #[test]
    fn all_is_told_at_once_in_the_order_of_the_lines() {
        let told = wrong(
            "domain = [\"a.example\"]\nworkers = \"two\"\n\n[limits]\nstanza_size = 65536\n\
             resume_time = \"5 min\"\n[logs]\n",
        );
        assert_eq!(
            told,
            [
                "1: `domain` is not a key; did you mean `domains`?",
                "2: `workers`: must be a whole number and is a string",
                "5: `limits.stanza_size`: a number alone has no unit: write a size such as \
                 \"64 KiB\", with the quotes",
                "6: `limits.resume_time`: \"5 min\" is not a time: write a whole number and ms, s, \
                 m, h or d, as in \"5 m\"",
                "7: `logs` is not a key; did you mean `log`?",
            ]
        );
    }

    #[test]
    fn each_mistake_has_its_sentence() {
        for (source, told) in [
            ("domains = []", "at least one domain"),
            ("domains = \"localhost\"", "must be a list, written"),
            ("domains = [\"a@b.example\"]", "give its domain alone, \"b.example\""),
            ("domains = [\"a b\"]", "not a domain: its domainpart has a character"),
            ("domains = [\"a.example\", \"A.example\"]", "\"a.example\" stands there twice"),
            ("domains = [1]", "must be text in quotes and is an integer"),
            ("data = \"\"", "is not a path"),
            ("data = \"~/carillon\"", "write the path in full"),
            ("store = \"fdb\"", "\"fdb\" is none of \"embedded\""),
            ("workers = -1", "-1 is not from 0"),
            ("workers = 100000", "is not from 0 to"),
            ("listen = 3", "`listen` must be a table, written [listen]"),
            ("[listen]\nc2s = \"localhost:5222\"", "not an address, not a name, with a port"),
            ("[listen]\nc2s = [\"::1\"]", "\"[::1]:5222\""),
            ("[listen]\nhttp = \"127.0.0.1:5222\"", "127.0.0.1:5222 is in `listen.c2s` already"),
            ("[listen]\nport = 5222", "`listen.port` is not a key; `carillon config example`"),
            ("c2s = []", "`c2s` is not a key here; it belongs in [listen]"),
            ("[log]\ndomains = []", "`log.domains` is not a key here; it belongs at the top"),
            ("[tls]\ncertificate = \"a\"", "has a `certificate` and no `key`"),
            ("[tls]\nkey = \"a\"", "has a `key` and no `certificate`"),
            ("[tls]\ncertifcate = \"a\"", "did you mean `certificate`?"),
            ("[tls.example.org]\nkey = \"a\"", "needs quotes"),
            ("[tls.localhots]\nkey = \"a\"", "not one of `domains`; did you mean \"localhost\"?"),
            ("[tls.localhost]", "needs `certificate` and `key`"),
            ("[tls.localhost]\nkey = \"a\"\ncertificate = \"b\"\nkeys = 1", "did you mean `key`?"),
            ("[limits]\nlogin_time = \"1 d\"", "\"1 d\" is not from"),
            ("[limits]\nresume_time = \"11 m\"", "to \"10 m\""),
            ("[limits]\nstanza_size = \"1 KiB\"", "is not from \"10 KiB\""),
            ("[limits]\nresources_per_account = 0", "0 is not from 1"),
            ("[limits]\nresources_per_account = 33", "33 is not from 1 to 32"),
            (
                "[limits]\nstanza_size = \"10 KiB\"\nstanza_size_before_login = \"11 KiB\"",
                "is above `limits.stanza_size`",
            ),
            ("[limits]\nstanza_size = \"5 GiB\"", "is not from \"10 KiB\" to \"256 KiB\""),
            ("[listen]\nc2s = [\"0.0.0.0:5222\"]\nclear_text = true", "in the clear"),
            ("[archive]\nenabled = \"yes\"", "must be true or false and is a string"),
            ("[log]\nlevel = \"verbose\"", "\"verbose\" is none of \"error\", \"warn\""),
            ("[log]\nformat = json", "not TOML"),
            ("workers = 1\nworkers = 2", "not TOML"),
        ] {
            let all = wrong(source);
            assert_eq!(all.len(), 1, "{source}: {all:?}");
            assert!(all[0].contains(told), "{source}: {all:?}");
        }
    }

    #[test]
    fn a_file_that_is_no_toml_names_each_line() {
        let told = wrong("a = \nb = 1\nc = [\n");
        assert!(told.iter().any(|it| it.starts_with("1: not TOML")), "{told:?}");
        assert!(told.len() >= 2, "{told:?}");
    }
}
