//! From the words of a line to the command that they mean.

use crate::arguments::{
    Breakers, BreakersAct, Demo, Limits, LimitsAct, Line, Members, MembersAct, Reach, Rescue, Split, SplitAct, Token,
    TokenAct, Upgrade, UpgradeAct, Verb,
};
use crate::client::{Environment, Failure, find};
use crate::documents;
use crate::exit::Exit;
use crate::terminal::Terminal;
use crate::verbs::{self, Session};
use clap::{ArgMatches, Command, CommandFactory as _, FromArgMatches as _};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::process::ExitCode;

/// What only the binary can do.
pub trait Host {
    /// Adds the settings of a node, as flags, to the `node` command.
    fn node_command(&self, command: Command) -> Command;

    /// Runs a node with the flags that [`Host::node_command`] added; says by itself what is wrong.
    fn run_node(&self, matches: &ArgMatches) -> Exit;

    /// Runs the demo until it is asked to end; says by itself what is wrong.
    fn run_demo(&self, options: sluice_demo::Options) -> Exit;

    /// Works on the folder of a node that does not run; says by itself what it did or why not.
    fn rescue(&self, rescue: &Rescue) -> Exit;
}

/// Runs the command that `words` (the program's name first) are.
pub fn run(words: impl IntoIterator<Item = OsString>, host: &dyn Host) -> ExitCode {
    let words: Vec<OsString> = words.into_iter().collect();
    let program = words
        .first()
        .map(|word| word.to_string_lossy().into_owned())
        .unwrap_or_default();
    let tree = command().mut_subcommand("node", |node| host.node_command(node));
    let matches = match tree.try_get_matches_from(words) {
        Ok(matches) => matches,
        Err(error) => {
            // Help goes to stdout and is no error; whoever closed it has read enough.
            let _ = error.print();
            return if error.use_stderr() {
                Exit::Usage.into()
            } else {
                Exit::Done.into()
            };
        }
    };
    let line = match Line::from_arg_matches(&matches) {
        Ok(line) => line,
        Err(error) => {
            let _ = error.print();
            return Exit::Usage.into();
        }
    };
    let node = matches.subcommand_matches("node");
    dispatch(&line, node, &program, host).into()
}

/// The tree of commands; `node` is without the settings, which the [`Host`] adds.
#[must_use]
pub fn command() -> Command {
    Line::command()
}

fn dispatch(line: &Line, node: Option<&ArgMatches>, program: &str, host: &dyn Host) -> Exit {
    let reach = match reached(line) {
        Some(reach) => reach,
        None if line.reach.is_said() => {
            Terminal::of_process(false)
                .say("error: this command speaks to no cluster: leave --admin and --data before it out");
            return Exit::Usage;
        }
        None => line.reach.clone(),
    };
    match (&line.verb, node) {
        (Verb::Node, Some(matches)) => return host.run_node(matches),
        (Verb::Demo(demo), _) => return run_demo(demo, program, host),
        (Verb::Rescue(rescue), _) => {
            let mut rescue = rescue.clone();
            rescue.json |= reach.json;
            return host.rescue(&rescue);
        }
        _ => {}
    }
    let terminal = Terminal::of_process(reach.json);
    let exit = match &line.verb {
        Verb::Check(check) => {
            let terminal = Terminal::of_process(reach.json || check.json);
            return ended(verbs::check(check, &terminal), &terminal);
        }
        Verb::Fmt(fmt) => {
            let terminal = Terminal::of_process(reach.json || fmt.json);
            return ended(verbs::fmt(fmt, &terminal), &terminal);
        }
        Verb::Schema => {
            terminal.out(&schema());
            Exit::Done
        }
        verb => with_client(verb, &reach, &Environment::of_process(), &terminal),
    };
    ended(exit, &terminal)
}

/// The JSON Schema of documents, as it is kept in the documentation.
fn schema() -> String {
    // A value of JSON is always text.
    serde_json::to_string_pretty(&sluice_document::schema()).unwrap_or_default() + "\n"
}

/// A command whose output could not be written did not do what was asked.
fn ended(exit: Exit, terminal: &Terminal) -> Exit {
    match terminal.failure() {
        Some(error) => {
            terminal.say(&format!("error: cannot write to stdout: {error}"));
            if exit == Exit::Done { Exit::Refused } else { exit }
        }
        None => exit,
    }
}

fn run_demo(demo: &Demo, program: &str, host: &dyn Host) -> Exit {
    let Some(ports) = sluice_demo::Ports::moved_by(demo.port_offset) else {
        return Exit::Usage;
    };
    host.run_demo(sluice_demo::Options {
        data: demo.data.clone(),
        ports,
        program: program.to_owned(),
        notes: Some(sluice_demo::running::folder()),
        workers: usize::from(demo.workers),
        redis: demo.redis.clone(),
    })
}

/// Runs a command that speaks to a cluster.
pub(crate) fn with_client(verb: &Verb, reach: &Reach, environment: &Environment, terminal: &Terminal) -> Exit {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            terminal.say(&format!("error: the system gives no resources: {error}"));
            return Exit::Refused;
        }
    };
    let outcome = runtime.block_on(async {
        let session = Session {
            terminal,
            client: find(reach, environment)?,
        };
        speak(verb, &session).await
    });
    match outcome {
        Ok(exit) => exit,
        Err(failure) => failed(&failure, terminal),
    }
}

async fn speak(verb: &Verb, session: &Session<'_>) -> Result<Exit, Failure> {
    match verb {
        Verb::Apply(args) => verbs::apply(args, session).await,
        Verb::Diff(args) => verbs::differ(args, session).await,
        Verb::Export(args) => verbs::export(args, session).await,
        Verb::History(args) => verbs::history(args, session).await,
        Verb::Confirm(args) => verbs::confirm(args, session).await,
        Verb::Promote(args) => verbs::promote(args, session).await,
        Verb::Rollback(args) => verbs::rollback(args, session).await,
        Verb::Split(args) => verbs::split(&args.act, session).await,
        Verb::Events(_) => verbs::events(session).await,
        Verb::Status(args) => verbs::status(args, session).await,
        Verb::Upgrade(args) => verbs::upgrade(&args.act, session).await,
        Verb::Top(args) => verbs::top(args, session).await,
        Verb::Limits(args) => verbs::limits(args.act.as_ref(), session).await,
        Verb::Breakers(args) => verbs::breakers(args.act.as_ref(), session).await,
        Verb::Members(args) => verbs::members(args.act.as_ref(), session).await,
        Verb::Drain(args) => verbs::drain(args, session).await,
        Verb::Undrain(args) => verbs::undrain(args, session).await,
        Verb::Health(args) => verbs::health(args, session).await,
        Verb::Token(args) => verbs::token(&args.act, session).await,
        Verb::Check(args) => Ok(verbs::check(args, session.terminal)),
        Verb::Fmt(args) => Ok(verbs::fmt(args, session.terminal)),
        // The host's; `dispatch` has sent them there.
        Verb::Demo(_) | Verb::Node | Verb::Rescue(_) | Verb::Schema => Ok(Exit::Usage),
    }
}

fn failed(failure: &Failure, terminal: &Terminal) -> Exit {
    if terminal.json {
        terminal.object(&failure.object());
    }
    if let Failure::Problem(problem) = failure {
        documents::tell(terminal, &problem.errors, &[]);
    }
    terminal.say(&format!("error: {failure}"));
    failure.exit()
}

/// How a line that speaks to a cluster finds it: what stands after the command over what stands before.
pub(crate) fn reached(line: &Line) -> Option<Reach> {
    own_reach(&line.verb).map(|own| own.or(&line.reach))
}

fn own_reach(verb: &Verb) -> Option<Reach> {
    Some(match verb {
        Verb::Apply(args) => args.reach.clone(),
        Verb::Diff(args) => args.reach.clone(),
        Verb::Export(args) => args.reach.clone(),
        Verb::History(args) => args.reach.clone(),
        Verb::Confirm(args) => args.reach.clone(),
        Verb::Promote(args) => args.reach.clone(),
        Verb::Rollback(args) => args.reach.clone(),
        Verb::Split(Split { act, reach }) => match act {
            SplitAct::Set(args) => args.reach.or(reach),
        },
        Verb::Events(args) => args.reach.clone(),
        Verb::Status(args) => args.reach.clone(),
        Verb::Top(args) => args.reach.clone(),
        Verb::Limits(Limits { act, reach }) => match act {
            None => reach.clone(),
            Some(LimitsAct::List(args)) => args.reach.or(reach),
            Some(LimitsAct::Show(args) | LimitsAct::Reset(args)) => args.reach.or(reach),
            Some(LimitsAct::Top(args)) => args.reach.or(reach),
        },
        Verb::Breakers(Breakers { act, reach }) => match act {
            None => reach.clone(),
            Some(BreakersAct::List(args)) => args.reach.or(reach),
            Some(BreakersAct::Open(args) | BreakersAct::Close(args)) => args.reach.or(reach),
            Some(BreakersAct::Release(args)) => args.reach.or(reach),
        },
        Verb::Members(Members { act, reach }) => match act {
            None => reach.clone(),
            Some(MembersAct::List(args)) => args.reach.or(reach),
            Some(MembersAct::Promote(args) | MembersAct::Remove(args) | MembersAct::Replace(args)) => {
                args.reach.or(reach)
            }
            Some(MembersAct::Transfer(args)) => args.reach.or(reach),
            Some(MembersAct::Form(args)) => args.reach.or(reach),
        },
        Verb::Upgrade(Upgrade { act, reach }) => match act {
            UpgradeAct::Status(args) | UpgradeAct::Finalize(args) => args.reach.or(reach),
        },
        Verb::Drain(args) | Verb::Undrain(args) => args.reach.clone(),
        Verb::Health(args) => args.reach.clone(),
        Verb::Token(Token { act, reach }) => match act {
            TokenAct::Create(args) => args.reach.or(reach),
            TokenAct::List(args) => args.reach.or(reach),
            TokenAct::Revoke(args) => args.reach.or(reach),
        },
        Verb::Demo(_) | Verb::Node | Verb::Check(_) | Verb::Fmt(_) | Verb::Rescue(_) | Verb::Schema => return None,
    })
}

/// docs/commands.md: every command with its help, and with what it prints by `--json` where `answer` has a record of the
/// command of this name (`members-list`).
#[must_use]
pub fn markdown(answer: &dyn Fn(&str) -> Option<String>) -> String {
    let mut page = String::from(
        "# Commands\n\n\
         <!-- Generated from crates/commands/src/arguments.rs and docs/answers; tests hold this page against them. -->\n\n\
         The help of every command, as `--help` prints it, and what it prints with `--json`: recorded from a cluster, with \
         lists of\nobjects cut to their first. A refusal is an object too, a problem as [api.md](api.md#problems) has it or \
         `{code, detail}`. The\nsettings of `sluice node` are flags too: settings.md has them.\n",
    );
    let mut tree = command().term_width(100);
    tree.build();
    let mut records = Records {
        answer,
        shown: BTreeMap::new(),
    };
    section(&mut page, &mut tree, "sluice", &mut records);
    page
}

/// What commands print, and which command a record was shown for first.
struct Records<'a> {
    answer: &'a dyn Fn(&str) -> Option<String>,
    shown: BTreeMap<String, String>,
}

fn section(page: &mut String, command: &mut Command, name: &str, records: &mut Records<'_>) {
    let help = command.render_long_help().to_string();
    let help: Vec<_> = help.lines().map(str::trim_end).collect();
    // Writing to a String cannot fail.
    let _ = write!(page, "\n## {name}\n\n```text\n{}\n```\n", help.join("\n").trim_end());
    let record = name.trim_start_matches("sluice ").replace(' ', "-");
    for flag in ["", "--settings "] {
        let Some(answer) = (records.answer)(format!("{record}{}", flag.trim_end()).as_str()) else {
            continue;
        };
        let answer = answer.trim_end();
        let _ = match records.shown.get(answer) {
            Some(first) => writeln!(page, "\nWith `{flag}--json`: as `{first}`."),
            None => write!(page, "\nWith `{flag}--json`:\n\n```json\n{answer}\n```\n"),
        };
        records
            .shown
            .entry(answer.to_owned())
            .or_insert_with(|| name.to_owned());
    }
    let below: Vec<String> = command
        .get_subcommands()
        .map(|below| below.get_name().to_owned())
        .collect();
    for below_name in below.iter().filter(|name| *name != "help") {
        if let Some(below) = command.find_subcommand_mut(below_name) {
            section(page, below, &format!("{name} {below_name}"), records);
        }
    }
}
