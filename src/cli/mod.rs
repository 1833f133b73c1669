//! The `streamwatch` program, with one file per subcommand.

mod arguments;
mod ask;
mod check;
mod completions;
#[cfg(feature = "edge")]
mod edge;
mod follow;
mod healthcheck;
mod http;
mod mistakes;
mod output;
#[cfg(feature = "play")]
mod play;
mod setting;
mod signals;
mod terminal;
mod tls;
#[cfg(feature = "top")]
mod top;
mod topology;
mod watch;
mod worker;

use std::{io::IsTerminal, process::ExitCode};

use clap::{Parser, error::ContextValue};
use tracing_subscriber::{EnvFilter, field::MakeExt, fmt::format::debug_fn};

use crate::{
    broker::{BrokerError, settings::SettingsConflict},
    client::ClientError,
    worker::WorkerError,
};
use arguments::BrokerArgs;
use mistakes::Mistakes;
use output::Output;

/// Concurrency monitoring for video services, on RabbitMQ: how many streams is each account
/// playing right now?
#[derive(Parser, Debug)]
#[command(version, about, after_help = EXIT_CODES)]
pub struct Cli {
    #[command(flatten)]
    broker: BrokerArgs,
    /// Print results as JSON, one object per line
    #[arg(long, global = true)]
    json: bool,
    /// Level of the log on standard error: error, warn, info, debug, or a filter such as
    /// streamwatch=debug
    #[arg(long, env = "STREAMWATCH_LOG", global = true, default_value = "info")]
    log: String,
    /// Format of the log: text or json
    #[arg(
        long,
        env = "STREAMWATCH_LOG_FORMAT",
        global = true,
        default_value = "text"
    )]
    log_format: String,
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "\
Exit codes: 0 done; 1 failed; 2 wrong settings; 3 RabbitMQ cannot be reached; 4 there is no \
topology; 5 no worker replied in time, or not for every \
partition; 6 refused (the stream does not count)";

#[derive(clap::Subcommand, Debug)]
enum Command {
    #[command(subcommand)]
    Topology(topology::Command),
    Worker(Box<worker::Args>),
    #[cfg(feature = "edge")]
    Edge(Box<edge::Args>),
    Init(ask::Init),
    Heartbeat(ask::Heartbeat),
    Stop(ask::Stop),
    Status(ask::Status),
    Accounts(ask::Accounts),
    Totals(ask::Totals),
    Watch(watch::Args),
    #[cfg(feature = "top")]
    Top(top::Args),
    #[cfg(feature = "play")]
    Play(play::Args),
    Check(check::Args),
    Completions(completions::Completions),
    Man(completions::Man),
    Healthcheck(healthcheck::Args),
}

impl Cli {
    /// Parses the command line, runs the command and returns its exit code.
    pub async fn main() -> ExitCode {
        let cli = match Self::try_parse() {
            Ok(cli) => cli,
            Err(error) if error.use_stderr() => {
                terminal::note(mistake(error).trim_end().lines());
                return ExitCode::from(2);
            }
            Err(help) => {
                let _ = help.print();
                return ExitCode::SUCCESS;
            }
        };
        // The futures of all commands are in this one.
        match Box::pin(cli.run()).await {
            Ok(code) => code,
            Err(error) => {
                let output = match error.downcast_ref::<Mistakes>() {
                    Some(mistakes) => mistakes.lines(),
                    None => vec![format!("{error:#}")],
                };
                let first = output.first().map(|line| format!("streamwatch: {line}"));
                terminal::note(first.iter().chain(output.iter().skip(1)));
                exit_code(&error).into()
            }
        }
    }

    async fn run(self) -> anyhow::Result<ExitCode> {
        self.log_to_stderr()?;
        let output = Output { json: self.json };
        match self.command {
            Command::Topology(command) => command.run(&self.broker, output).await?,
            Command::Worker(args) => args.run(&self.broker).await?,
            #[cfg(feature = "edge")]
            Command::Edge(args) => args.run(&self.broker).await?,
            Command::Init(args) => return args.run(&self.broker, output).await,
            Command::Heartbeat(args) => return args.run(&self.broker, output).await,
            Command::Stop(args) => return args.run(&self.broker, output).await,
            Command::Status(args) => return args.run(&self.broker, output).await,
            Command::Accounts(args) => return args.run(&self.broker, output).await,
            Command::Totals(args) => return args.run(&self.broker, output).await,
            Command::Watch(args) => args.run(&self.broker, output).await?,
            #[cfg(feature = "top")]
            Command::Top(args) => args.run(&self.broker, output).await?,
            #[cfg(feature = "play")]
            Command::Play(args) => return args.run(&self.broker, output).await,
            Command::Check(args) => return args.run(&self.broker, output).await,
            Command::Completions(args) => args.print()?,
            Command::Man(args) => args.write()?,
            Command::Healthcheck(args) => return args.run(output).await,
        }
        Ok(ExitCode::SUCCESS)
    }

    /// The command draws on the terminal.
    fn draws(&self) -> bool {
        match &self.command {
            #[cfg(feature = "top")]
            Command::Top(args) => args.draws(self.json),
            _ => false,
        }
    }

    fn log_to_stderr(&self) -> Result<(), Mistakes> {
        let mut mistakes = Mistakes::default();
        // Hides lapin's log lines, as this program reports these errors itself.
        let directives = format!("{},lapin=off", self.log);
        let filter = mistakes.check("--log (STREAMWATCH_LOG)", directives.parse::<EnvFilter>());
        let json = match self.log_format.as_str() {
            "text" => Some(false),
            "json" => Some(true),
            _ => mistakes.reject("--log-format (STREAMWATCH_LOG_FORMAT): text or json"),
        };
        let (filter, json) = mistakes.finish(filter.zip(json))?;
        if self.draws() && std::io::stderr().is_terminal() {
            return Ok(()); // log lines would corrupt the screen
        }
        let logs = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_ansi(std::io::stderr().is_terminal());
        if json {
            let logs = logs.with_writer(terminal::JsonLog);
            logs.json().flatten_event(true).init();
        } else {
            let fields = debug_fn(terminal::field).delimited(" ");
            let logs = logs.with_writer(std::io::stderr).fmt_fields(fields);
            logs.with_target(false).init();
        }
        Ok(())
    }
}

/// The exit code of an error without a more precise one.
const FAILED: u8 = 1;

/// The exit code of a command that found something good or bad.
fn success(good: bool) -> ExitCode {
    ExitCode::from(if good { 0 } else { FAILED })
}

fn exit_code(error: &anyhow::Error) -> u8 {
    let of_broker = |error: &BrokerError| match error {
        BrokerError::Unreachable { .. }
        | BrokerError::Tls { .. }
        | BrokerError::AccessRefused(_) => 3,
        BrokerError::NotFound(_) => 4,
        _ => FAILED,
    };
    if error.is::<Mistakes>() {
        2
    } else if let Some(error) = error.downcast_ref::<BrokerError>() {
        of_broker(error)
    } else if let Some(SettingsConflict::Broker(error)) = error.downcast_ref() {
        of_broker(error)
    } else if let Some(WorkerError::NoSuchPartition { .. }) = error.downcast_ref() {
        2
    } else {
        match error.downcast_ref::<ClientError>() {
            Some(ClientError::Broker(error)) => of_broker(error),
            Some(ClientError::NoTopology) => 4,
            Some(ClientError::NoAnswer(_)) => 5,
            _ => FAILED,
        }
    }
}

/// The error message for the command line. clap quotes unknown arguments, which may contain unsafe
/// characters or a misplaced address.
fn mistake(mut error: clap::Error) -> String {
    let quoted: Vec<_> = error
        .context()
        .filter_map(|(kind, value)| match value {
            ContextValue::String(text) => Some((kind, terminal::escape(text).into_owned())),
            _ => None,
        })
        .collect();
    for (kind, text) in quoted {
        error.insert(kind, ContextValue::String(text));
    }
    without_passwords(&error.render().to_string())
}

/// Removes the text between `://` and `@`.
fn without_passwords(text: &str) -> String {
    let mut parts = text.split("://");
    let mut shown = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        shown += "://";
        let end = part.find(char::is_whitespace).unwrap_or(part.len());
        match part[..end].rfind('@') {
            Some(at) => shown = shown + "…" + &part[at..],
            None => shown += part,
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misplaced_address_is_printed_without_its_password() {
        let output = without_passwords("unexpected 'amqp://u:s3c@ret@h/' found, amqp://h/ too");
        assert_eq!(output, "unexpected 'amqp://…@h/' found, amqp://h/ too");
    }

    /// A worker in a container declares `STREAMWATCH_TTL` of its environment.
    #[test]
    fn the_environment_changes_no_setting_of_a_running_installation() {
        use clap::CommandFactory;
        let mut all = Cli::command();
        all.build();
        let topology = all.find_subcommand("topology").unwrap();
        let takes = |verb: &str| {
            let flags = topology.find_subcommand(verb).unwrap().get_arguments();
            let named = flags.filter(|flag| flag.get_id() == "ttl");
            named
                .map(|flag| flag.get_env().is_some())
                .collect::<Vec<_>>()
        };
        assert_eq!((takes("declare"), takes("set")), (vec![true], vec![false]));
    }
}
