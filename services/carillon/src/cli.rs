//! The command line: what can be said, and the manual page that says so.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory as _, Parser, Subcommand};

use crate::commands;
use crate::exit::{Code, Failure};
use crate::node::Start;
use crate::process;

/// A clustered XMPP server.
#[derive(Debug, Parser)]
#[command(name = "carillon", version, max_term_width = 90)]
#[command(long_about = ABOUT, after_long_help = AFTER)]
pub struct Cli {
    #[command(flatten)]
    place: Place,
    #[command(subcommand)]
    command: Option<Command>,
}

const ABOUT: &str = "\
A clustered XMPP server.

Without a command, `carillon` does what `carillon serve` does: it serves the domain \
localhost, with its data in ./carillon-data and a certificate of its own making. Nothing has \
to be configured for a first try:

    carillon &
    carillon user add anna@localhost

Then let a client log in as anna@localhost, at port 5222 of this machine.";

const AFTER: &str = "\
Files:
  /etc/carillon/carillon.toml   read if --config names no other and it is there
  DATA/store                    accounts and messages
  DATA/secrets                  keys of this installation, made on the first start
  DATA/tls                      generated certificates
  DATA/cluster                  of a node of a cluster: who it is, and what was decided
  DATA/admin.sock               where commands reach the running server

  DATA is ./carillon-data unless the configuration or --data says otherwise.

Signals:
  SIGTERM, SIGINT   stop in order: accept nobody, store sessions, close streams.
                    The second one ends the process at once.
  SIGHUP            read certificates again (on a terminal: stop)

Exit status:
   0   done
   1   something went wrong; standard error says what
   2   the command line cannot be understood
  69   the command needs a running server and there is none
  78   the configuration is wrong";

/// Where configuration and data are.
#[derive(Clone, Debug, Default, Args)]
pub struct Place {
    /// Configuration file
    ///
    /// `carillon config example` prints one. Without this option, /etc/carillon/carillon.toml is
    /// read if it is there; if not, the defaults hold.
    #[arg(long, short, value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,

    /// Data folder, instead of the configured one
    #[arg(long, short, value_name = "DIR", global = true)]
    pub data: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server (also: no command at all)
    ///
    /// Serves until it is told to stop. Where it listens and where its data is stands on standard
    /// output, once clients can connect; the log goes to standard error.
    Serve {
        /// Start although the disk has lost commits that were acknowledged, and forget them
        ///
        /// For the case that the store says so, the disk is sound again and there is no backup.
        #[arg(long)]
        accept_loss: bool,

        /// Join a cluster as one of its nodes, with a token of one of its control nodes
        ///
        /// For the first start of a node; later ones know the cluster. What the node is called and
        /// does stands in the configuration, under [cluster].
        #[arg(long, value_name = "TOKEN@HOST:PORT")]
        join: Option<String>,

        /// Stop when standard input ends, as it does when whoever started this process is gone
        #[arg(long, hide = true)]
        stop_at_eof: bool,
    },

    /// Check or explain the configuration
    #[command(subcommand)]
    Config(Config),

    /// Manage accounts
    ///
    /// Works with a running server and without one: the server does it if there is one on the data
    /// folder, else the command opens the data itself.
    #[command(subcommand)]
    User(User),

    /// Make a cluster, look at it, change it
    ///
    /// A cluster begins with one control node. All commands but `init` and `demo` need the node of
    /// the data folder to run; those that change something need it to be a control node.
    #[command(subcommand)]
    Cluster(Cluster),

    /// Say how the running server is
    Status {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Subcommand)]
enum Config {
    /// Say everything that is wrong with the configuration
    ///
    /// Prints every mistake with its line and exits with status 78 if there is any. Files that the
    /// configuration names are looked at too.
    Check,
    /// Print a configuration file with every key, its meaning and its default
    Example,
}

/// What is done about a cluster.
#[derive(Clone, Debug, Subcommand)]
pub enum Cluster {
    /// Try a cluster: six nodes as processes of this machine, to look at and to break
    ///
    /// Starts three routers, a store and two edges on free loopback ports, makes two accounts, and
    /// says what can be done with them. A node that ends is started again after some seconds. All
    /// stop with this command. They are kept in ./carillon-demo, or in the folder that --data
    /// names, and go on from there the next time.
    Demo,
    /// Make a cluster whose first node is this one
    ///
    /// Prints a token with which a second node may join. The node itself starts with `carillon
    /// serve`.
    Init,
    /// Make a token with which one more node may join
    Token {
        /// What that node may do, joined by +, such as edge or router+control; without it, anything
        #[arg(long, value_name = "ROLES")]
        roles: Option<String>,
    },
    /// Show members, shards, moves and the control plane
    Status {
        /// Print JSON
        #[arg(long)]
        json: bool,
        /// Show it again each second until interrupted
        #[arg(long)]
        watch: bool,
    },
    /// Have a node give its shards and clients away, as before an upgrade or a removal
    Drain {
        /// Name of the node
        node: String,
    },
    /// Let a drained node take its part again; an edge does from its next start
    Undrain {
        /// Name of the node
        node: String,
    },
    /// Make a node that is down a member no more: its certificate is worth nothing from then on
    Remove {
        /// Name of the node
        node: String,
    },
    /// Even out how many shards each router owns
    Rebalance,
    /// Change the domains that the cluster serves; nodes serve a new one from their next start
    #[command(subcommand)]
    Domain(Domain),
    /// Give a setting of the cluster a value, or none
    Set {
        /// Name of the setting
        name: String,
        /// Its value; without it, the setting is removed
        value: Option<String>,
    },
}

/// What is done about domains.
#[derive(Clone, Debug, Subcommand)]
pub enum Domain {
    /// Serve a domain
    Add {
        /// Its name
        domain: String,
    },
    /// Serve it no more; its accounts stay in the store
    Remove {
        /// Its name
        domain: String,
    },
}

/// What is done about accounts.
#[derive(Clone, Debug, Subcommand)]
pub enum User {
    /// Make an account
    ///
    /// Asks for the password twice. If standard input is not a terminal, its first line is the
    /// password. A password is never taken from the command line or the environment, where others
    /// could see it.
    Add {
        /// Address of the account, such as anna@localhost
        #[arg(value_name = "JID")]
        jid: String,
    },
    /// Change a password; clients that are logged in must log in again
    Passwd {
        /// Address of the account
        #[arg(value_name = "JID")]
        jid: String,
    },
    /// Let an account not log in any more, and end its sessions; keeps its data
    Disable {
        /// Address of the account
        #[arg(value_name = "JID")]
        jid: String,
    },
    /// Let a disabled account log in again
    Enable {
        /// Address of the account
        #[arg(value_name = "JID")]
        jid: String,
    },
    /// Delete an account with its contacts and messages
    ///
    /// Asks first. If standard input is not a terminal, --yes is needed.
    Delete {
        /// Address of the account
        #[arg(value_name = "JID")]
        jid: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// List accounts, one a line; disabled ones are marked
    List {
        /// Only of this domain
        #[arg(value_name = "DOMAIN")]
        domain: Option<String>,
    },
}

/// Does what the process was started for.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(said) => {
            // Help and version are "errors" with exit code 0; real ones have 2.
            let _ = said.print();
            return if said.use_stderr() { Code::Usage.into() } else { ExitCode::SUCCESS };
        }
    };
    match run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            commands::complain(&failure.text);
            failure.code.into()
        }
    }
}

fn run(cli: &Cli) -> Result<(), Failure> {
    match &cli.command {
        None => commands::serve(&cli.place, Start::default()),
        Some(Command::Serve { accept_loss, join, stop_at_eof }) => {
            if *stop_at_eof {
                process::stop_at_eof();
            }
            let start = Start { accept_loss: *accept_loss, join: join.as_deref() };
            commands::serve(&cli.place, start)
        }
        Some(Command::Cluster(cluster)) => commands::cluster(&cli.place, cluster),
        Some(Command::Config(Config::Check)) => commands::config_check(&cli.place),
        Some(Command::Config(Config::Example)) => commands::config_example(),
        Some(Command::User(user)) => commands::user(&cli.place, user),
        Some(Command::Status { json }) => commands::status(&cli.place, *json),
    }
}

/// The manual page, as `carillon --help` prints it.
#[must_use]
pub fn manual() -> String {
    Cli::command().render_long_help().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split_whitespace())
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn lines_that_are_understood() {
        for (line, command) in [
            ("carillon", "None"),
            (
                "carillon serve",
                "Some(Serve { accept_loss: false, join: None, stop_at_eof: false })",
            ),
            (
                "carillon serve --accept-loss",
                "Some(Serve { accept_loss: true, join: None, stop_at_eof: false })",
            ),
            (
                "carillon serve --join t@h",
                "Some(Serve { accept_loss: false, join: Some(\"t@h\"), stop_at_eof: false })",
            ),
            ("carillon cluster demo", "Some(Cluster(Demo))"),
            ("carillon cluster init", "Some(Cluster(Init))"),
            (
                "carillon cluster token --roles edge",
                "Some(Cluster(Token { roles: Some(\"edge\") }))",
            ),
            (
                "carillon cluster status --watch",
                "Some(Cluster(Status { json: false, watch: true }))",
            ),
            ("carillon cluster drain r1", "Some(Cluster(Drain { node: \"r1\" }))"),
            ("carillon cluster rebalance", "Some(Cluster(Rebalance))"),
            ("carillon cluster domain add a", "Some(Cluster(Domain(Add { domain: \"a\" })))"),
            ("carillon cluster set a b", "Some(Cluster(Set { name: \"a\", value: Some(\"b\") }))"),
            ("carillon config check", "Some(Config(Check))"),
            ("carillon config example", "Some(Config(Example))"),
            ("carillon user add a@b", "Some(User(Add { jid: \"a@b\" }))"),
            ("carillon user passwd a@b", "Some(User(Passwd { jid: \"a@b\" }))"),
            ("carillon user disable a@b", "Some(User(Disable { jid: \"a@b\" }))"),
            ("carillon user enable a@b", "Some(User(Enable { jid: \"a@b\" }))"),
            ("carillon user delete a@b", "Some(User(Delete { jid: \"a@b\", yes: false }))"),
            ("carillon user delete --yes a@b", "Some(User(Delete { jid: \"a@b\", yes: true }))"),
            ("carillon user list", "Some(User(List { domain: None }))"),
            ("carillon user list b", "Some(User(List { domain: Some(\"b\") }))"),
            ("carillon status", "Some(Status { json: false })"),
            ("carillon status --json", "Some(Status { json: true })"),
        ] {
            let cli = parse(line).unwrap();
            assert_eq!(format!("{:?}", cli.command), command, "{line}");
        }
        for line in [
            "carillon --data d --config c",
            "carillon -d d serve -c c",
            "carillon user add a@b --data d --config c",
        ] {
            let place = parse(line).unwrap().place;
            assert_eq!((place.config, place.data), (Some("c".into()), Some("d".into())), "{line}");
        }
    }

    #[test]
    fn lines_that_are_not() {
        for line in [
            "carillon dance",
            "carillon serve now",
            "carillon user",
            "carillon user add",
            "carillon user add a@b secret",
            "carillon user add a@b --password secret",
            "carillon user passwd a@b -p secret",
            "carillon config",
            "carillon --data",
        ] {
            let why = parse(line).unwrap_err();
            assert!(why.use_stderr() && why.exit_code() == 2, "{line}");
        }
    }

    #[test]
    fn the_manual_has_all_that_a_manual_page_has() {
        let manual = manual();
        for part in ["Usage:", "Commands:", "Options:", "Files:", "Signals:", "Exit status:"] {
            assert!(manual.contains(part), "{part}");
        }
        for command in ["serve", "config", "user", "cluster", "status"] {
            assert!(manual.contains(&format!("\n  {command} ")), "{command}");
        }
    }

    // No way to hand over a password where others can see it; clap is built without its `env`
    // feature, so nothing comes from the environment.
    #[test]
    fn no_argument_takes_a_password() {
        fn check(command: &clap::Command) {
            for argument in command.get_arguments() {
                let name = format!("{:?}", argument.get_id()).to_lowercase();
                assert!(!name.contains("pass") && !name.contains("secret"), "{name}");
            }
            command.get_subcommands().for_each(check);
        }
        check(&Cli::command());
    }
}
