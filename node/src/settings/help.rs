//! Flags for the command line, and the page of the documentation, out of the registry.

use super::fault::{Fault, Faults};
use super::registry::{self, Built, GROUPS, Kind, Said, Setting};
use super::sources::{Sources, read_file};
use clap::{Arg, ArgAction, ArgMatches, Command};
use std::fmt::Write as _;
use std::num::NonZeroUsize;
use std::path::Path;

const EXAMPLES: &str = "\
Every setting is a flag, a variable and a key of the file; the flag wins over the variable, the variable over the
file. `sluice status --settings` shows what a node runs with and where each value came from.

A node by itself:
  sluice node --data ./n1

One of three, by a file (the same on each but for name and addresses):
  cluster = \"shop\"
  name    = \"n1\"
  data    = \"/var/lib/sluice\"
  initial = [\"n1=10.0.0.1:7080\", \"n2=10.0.0.2:7080\", \"n3=10.0.0.3:7080\"]
  cluster_token_file = \"/etc/sluice/cluster-token\"
  [listen]
  peer  = \"10.0.0.1:7080\"

  sluice node --config node.toml

One more, by flags:
  SLUICE_CLUSTER_TOKEN=... sluice node --name n4 --listen-peer 10.0.0.4:7080 --join 10.0.0.1:7080,10.0.0.2:7080

The node ends on SIGTERM or SIGINT after a drain; a second signal ends it at once.
Exit codes: 0 ended as asked; 1 a setting, the disk or the cluster refused; 2 wrong usage.";

/// Adds `--config` and a flag for each setting to the `node` command.
#[must_use]
pub fn command(command: Command) -> Command {
    let config = Arg::new("config")
        .long("config")
        .value_name("FILE")
        .help("Settings file (TOML) [env: SLUICE_CONFIG]");
    let mut command = command.arg(config).after_help(EXAMPLES);
    for group in GROUPS {
        for setting in group.settings.iter().filter(|setting| setting.said == Said::Anywhere) {
            command = command.arg(flag(setting, group.title));
        }
    }
    command
}

fn flag(setting: &'static Setting, heading: &'static str) -> Arg {
    let help = format!(
        "{} [env: {}] [default: {}]",
        setting.doc,
        setting.variable_name(),
        setting.default_shown()
    );
    let short = registry::SHORT.iter().find(|(_, long)| *long == setting.key);
    let arg = Arg::new(setting.key)
        .long(setting.flag())
        .value_name(setting.value)
        .help(help)
        .help_heading(heading)
        .hide(setting.built != Built::Yes)
        .action(ArgAction::Append)
        .allow_hyphen_values(false);
    let arg = match short {
        Some((short, _)) => arg.alias(*short),
        None => arg,
    };
    match setting.kind {
        Kind::Switch => arg.num_args(0..=1).require_equals(true).default_missing_value("true"),
        _ => arg,
    }
}

/// The sources of this process: the flags that [`command`] read, its environment, the file that they name.
///
/// # Errors
/// Where the file cannot be read, or a variable of ours is not UTF-8.
pub fn process_sources(matches: &ArgMatches) -> Result<Sources, Faults> {
    let mut flags = Vec::new();
    for setting in registry::all().filter(|setting| setting.said == Said::Anywhere) {
        let values = matches.get_many::<String>(setting.key).into_iter().flatten();
        flags.extend(values.map(|value| (setting.key.to_owned(), value.clone())));
    }
    let mut environment = Vec::new();
    for (name, value) in std::env::vars_os() {
        let Some(name) = name.to_str().filter(|name| name.starts_with("SLUICE_")) else {
            continue;
        };
        match value.into_string() {
            Ok(value) => environment.push((name.to_owned(), value)),
            Err(_) => return Err(Faults(vec![Fault::Clash(format!("the variable {name} is not UTF-8"))])),
        }
    }
    let named = matches.get_one::<String>("config").cloned();
    let named = named.or_else(|| std::env::var("SLUICE_CONFIG").ok().filter(|path| !path.is_empty()));
    let file = match named {
        Some(path) => Some(read_file(Path::new(&path)).map_err(|fault| Faults(vec![fault]))?),
        None => None,
    };
    Ok(Sources {
        flags,
        environment,
        file,
        host_name: host_name(),
        cores: std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
    })
}

fn host_name() -> Option<String> {
    let kernel = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let name = kernel.or_else(|| std::env::var("HOSTNAME").ok())?;
    Some(name.trim().to_owned()).filter(|name| !name.is_empty())
}

/// docs/settings.md.
#[must_use]
pub fn markdown() -> String {
    let mut page = String::from(
        "# Settings of a node\n\n\
         <!-- Generated from node/src/settings/registry.rs; a test holds this page against it. -->\n\n\
         What a node needs to know before it has heard of any gateway document. `a` is the flag `--a` and the variable\n\
         `SLUICE_A`; `b_c` in the table `[t]` is `--t-b-c` and `SLUICE_T_B_C`. Lists have commas between their values in\n\
         flags and variables, and a list flag may be given several times. A flag wins over the variable, the variable over\n\
         the file that `--config` or `SLUICE_CONFIG` names, the file over the default; `sluice status --settings` shows each\n\
         value and where it came from. An unknown key in the file is an error, an unknown `SLUICE_` variable a warning.\n\
         Secrets are read from the environment or from files of their own (mode 600), never from flags.\n\n\
         The log goes to stderr. `SLUICE_LOG` says what is written, as a level or a list such as `info,sluice_peer=debug`\n\
         (`info` where it is not set), `SLUICE_LOG_FORM` in which form: `text` or `json` (where it is not set, text on a\n\
         terminal and JSON elsewhere).\n",
    );
    for group in GROUPS {
        let built: Vec<_> = group
            .settings
            .iter()
            .filter(|setting| setting.built == Built::Yes)
            .collect();
        if built.is_empty() {
            continue;
        }
        let _ = write!(page, "\n## {}\n\n{}\n\n", group.title, group.doc);
        page.push_str("| setting | flag | variable | default | what it does |\n|---|---|---|---|---|\n");
        for setting in built {
            let key = match setting.said {
                Said::Anywhere => format!("`{}`", setting.key),
                Said::Variable => "–".to_owned(),
            };
            let flag = match setting.said {
                Said::Anywhere => format!("`--{} {}`", setting.flag(), setting.value.replace('|', "\\|")),
                Said::Variable => "–".to_owned(),
            };
            let _ = writeln!(
                page,
                "| {key} | {flag} | `{}` | {} | {} |",
                setting.variable_name(),
                setting.default_shown(),
                setting.doc
            );
        }
    }
    page.push_str("\n## Not built yet\n\nThese names are taken; asking for one is an error that says so.\n\n| setting | waits for |\n|---|---|\n");
    for setting in registry::all() {
        if let Built::Later(feature) = setting.built {
            let _ = writeln!(page, "| `{}` | {feature} |", setting.key);
        }
    }
    page
}
