//! ejabberd from Debian's packages, as a good operator would set it up for this machine: kernel
//! polling, no shapers, warnings only, the modules that match what Carillon does and no others.
//! It runs without Erlang's distribution, so that no other process (epmd) is left behind.

use std::path::{Path, PathBuf};
use std::process::Command;

use xmpp::blocks::base64;
use xmpp::scram::Verifier;

use super::{Kind, Seed, Setup, launch, shown};
use crate::Failure;
use crate::scenario::Contacts;

const INSTALL: &str = "Install it: apt-get install ejabberd erlang-p1-sqlite3 (Debian starts a \
                       service; stop it: systemctl disable --now ejabberd)";

/// Where Debian puts Erlang's libraries.
fn libraries() -> Option<PathBuf> {
    let places = std::fs::read_dir("/usr/lib").ok()?.flatten().map(|entry| entry.path());
    let mut places = places.filter(|path| version_in(path).is_some());
    places.next()
}

fn version_in(folder: &Path) -> Option<String> {
    let names = std::fs::read_dir(folder).ok()?.flatten().map(|entry| entry.file_name());
    let versions =
        names.filter_map(|name| name.to_str()?.strip_prefix("ejabberd-").map(str::to_owned));
    versions.max()
}

pub(super) fn version() -> Result<String, Failure> {
    let version = libraries().and_then(|folder| version_in(&folder));
    Ok(version.ok_or_else(|| format!("ejabberd is not installed. {INSTALL}"))?)
}

pub(super) fn config(setup: &Setup) -> String {
    let (port, port_tls) = (setup.port, setup.port_tls);
    let (certificate, archive) = (shown(&setup.certificate), shown(&setup.archive_file));
    let (archive_db, mnesia) = ("sql", setup.kind == Kind::EjabberdMnesia);
    let archive_db = if mnesia { "mnesia" } else { archive_db };
    let mam = if setup.archive {
        format!("  mod_mam:\n    default: always\n    db_type: {archive_db}\n")
    } else {
        String::new()
    };
    format!(
        r#"loglevel: warning
log_rotate_count: 0
hosts:
  - localhost
certfiles:
  - "{certificate}"
listen:
  -
    port: {port}
    ip: "127.0.0.1"
    module: ejabberd_c2s
    max_stanza_size: 262144
    backlog: 4096
    starttls: true
  -
    port: {port_tls}
    ip: "127.0.0.1"
    module: ejabberd_c2s
    max_stanza_size: 262144
    backlog: 4096
    tls: true
auth_method: internal
auth_password_format: scram
disable_sasl_mechanisms:
  - "digest-md5"
  - "X-OAUTH2"
acl:
  local:
    user_regexp: ""
access_rules:
  local:
    allow: local
  register:
    allow: all
registration_timeout: infinity
default_db: mnesia
sql_type: sqlite
sql_database: "{archive}"
modules:
  mod_caps: {{}}
  mod_carboncopy: {{}}
  mod_client_state: {{}}
  mod_disco: {{}}
{mam}  mod_offline: {{}}
  mod_ping: {{}}
  mod_register:
    ip_access: all
    access: register
  mod_roster:
    versioning: true
  mod_stream_mgmt:
    resume_timeout: 300
    max_resume_timeout: 300
"#
    )
}

pub(super) fn command(setup: &Setup) -> Result<Command, Failure> {
    let libraries = libraries().ok_or("ejabberd is not installed")?;
    let path = setup.path("ejabberd.yml");
    std::fs::write(&path, config(setup))?;
    let mut command = launch::command("erl", setup);
    command
        .env("EJABBERD_CONFIG_PATH", path)
        .env("EJABBERD_LOG_PATH", setup.path("ejabberd.log"))
        .env("ERL_LIBS", libraries)
        .env("ERL_MAX_PORTS", "32000")
        .env("ERL_CRASH_DUMP_BYTES", "0")
        .args(["+K", "true", "+P", "250000", "-noinput", "-mnesia", "dir"])
        .arg(format!("{:?}", shown(&setup.path("mnesia"))))
        .args(["-s", "ejabberd"]);
    Ok(command)
}

/// Has it write accounts and rosters into its tables itself, and end.
pub(super) fn seed(setup: &Setup, seeds: &[Seed], verifier: &Verifier) -> Result<(), Failure> {
    let path = setup.path("seed.erlang");
    std::fs::write(&path, script(seeds, verifier))?;
    let write = format!(
        "case file:eval({:?}) of ok -> init:stop(); \
         Why -> io:format(\"~p~n\", [Why]), halt(1) end.",
        shown(&path)
    );
    // On its next start it takes the tables back to where it keeps them, and makes their index: not
    // in the process that is measured.
    for expression in [write.as_str(), "init:stop()."] {
        let mut command = command(setup)?;
        command.arg("-eval").arg(expression);
        launch::spawn(setup.clone(), command)?.finish()?;
    }
    Ok(())
}

/// Erlang expressions: the rows of `ejabberd_auth_mnesia` and `mod_roster_mnesia`. Its tables are
/// on disk only, where one row takes a quarter of a millisecond: they are in memory meanwhile.
fn script(seeds: &[Seed], verifier: &Verifier) -> String {
    let mut text = format!(
        r#"Host = <<"localhost">>.
Password = {{scram, <<"{}">>, <<"{}">>, <<"{}">>, sha, {}}}.
Name = fun(Prefix, I) -> <<Prefix/binary, (integer_to_binary(I))/binary>> end.
Contacts = fun
    (_, {{strangers, Count}}, _) ->
        [{{none, {{Name(<<"contact">>, C), <<"friends.example">>, <<>>}}}}
         || C <- lists:seq(0, Count - 1)];
    (Prefix, {{friends, Size}}, I) ->
        First = I div Size * Size,
        [{{both, {{Name(Prefix, C), Host, <<>>}}}}
         || C <- lists:seq(First, First + Size - 1), C =/= I]
end.
Seed = fun(Prefix, Accounts, Rosters, Which) ->
    lists:foreach(fun(I) ->
        User = Name(Prefix, I),
        List = if I < Rosters -> Contacts(Prefix, Which, I); true -> [] end,
        mnesia:async_dirty(fun() ->
            mnesia:write({{passwd, {{User, Host}}, Password}}),
            lists:foreach(fun({{Subscription, Jid}}) ->
                mnesia:write({{roster, {{User, Host, Jid}}, {{User, Host}}, Jid, <<"Contact">>,
                              Subscription, none, [], <<>>, []}})
            end, List)
        end)
    end, lists:seq(0, Accounts - 1))
end.
Move = fun(Tables, Type) ->
    [{{atomic, ok}} = mnesia:change_table_copy_type(Table, node(), Type) || Table <- Tables]
end.
Tables = [T || T <- [passwd, roster], mnesia:table_info(T, storage_type) =:= disc_only_copies].
Move(Tables, ram_copies).
"#,
        base64::encode(verifier.stored_key().expose()),
        base64::encode(verifier.server_key().expose()),
        base64::encode(verifier.salt()),
        verifier.iterations()
    );
    for seed in seeds {
        let (prefix, needs) = (&seed.prefix, seed.needs);
        let which = match needs.contacts {
            Contacts::Strangers(count) => format!("{{strangers, {count}}}"),
            Contacts::Friends(size) => format!("{{friends, {size}}}"),
        };
        text.push_str(&format!(
            "Seed(<<\"{prefix}\">>, {}, {}, {which}).\n",
            needs.accounts, needs.rosters
        ));
    }
    text + "Move(Tables, disc_copies).\n"
}

#[cfg(test)]
mod tests {
    use xmpp::scram::Hash;

    use super::*;
    use crate::scenario::Needs;

    #[test]
    fn rows_are_written_by_a_script() {
        let verifier = Verifier::derive(Hash::Sha1, "secret", b"salt", 4096).unwrap();
        let needs = Needs { accounts: 63, rosters: 42, contacts: Contacts::Friends(21) };
        let text = script(&[Seed { prefix: "u".into(), needs }], &verifier);
        assert!(text.contains("\nSeed(<<\"u\">>, 63, 42, {friends, 21}).\nMove("), "{text}");
        let salt = base64::encode(b"salt");
        assert!(text.contains(&format!("<<\"{salt}\">>, sha, 4096}}.")), "{text}");
        let strangers = Needs { contacts: Contacts::Strangers(20), ..needs };
        let text = script(&[Seed { prefix: "u".into(), needs: strangers }], &verifier);
        assert!(text.contains("{strangers, 20}"));
    }
}
