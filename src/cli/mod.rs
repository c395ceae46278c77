//! The command line: flags, environment and `.env` become settings, errors become one line and an exit code.

mod cluster;
mod dashboard;
mod demo;
mod generate;
mod init;
mod options;
mod run;
mod serve;
mod signals;
mod terminal;
mod verify;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::dashboard::server::ServerError;
use crate::engine::EngineError;
use crate::generate::GenerateError;
use crate::source::SourceError;
use crate::store::{AddressError, StoreError};
use crate::verify::VerifyError;

/// Kafka in, incremental views out: every number belongs to one instant.
#[derive(Debug, Parser)]
#[command(
    name = "tillflow",
    version,
    max_term_width = 100,
    after_help = "Try it with nothing else to start: tillflow demo\n\n\
                  Settings: flag, then environment, then .env, then the default.\n\
                  Exit codes: 0 done, 1 a check found differences, 2 usage or settings, 3 a service cannot be reached \
                  or refused us, 4 refused because data would be lost, 5 fenced by a newer instance, 70 a bug, 130 \
                  stopped by a second signal."
)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Args)]
struct Global {
    /// Say more (-v: debug, -vv: trace)
    #[arg(short, long, action = clap::ArgAction::Count, global = true, conflicts_with = "quiet", display_order = 900)]
    verbose: u8,
    /// Say errors only
    #[arg(short, long, global = true, display_order = 901)]
    quiet: bool,
    /// How log lines look: text, or one JSON object a line
    #[arg(long, value_name = "FORMAT", value_enum, default_value = "text", global = true, display_order = 902)]
    log_format: terminal::LogFormat,
    /// Read settings from this file instead of ./.env
    #[arg(long, value_name = "FILE", global = true, display_order = 903)]
    env_file: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Everything in one process, nothing else to start: generator, pipeline, SQLite store, dashboard
    Demo(demo::DemoArgs),
    /// The pipeline: source -> dataflow -> store, with the dashboard beside it
    Run(Box<run::RunArgs>),
    /// Realistic sample data, to Kafka or to files
    Generate(generate::GenerateCommand),
    /// The pages alone, read from a store that some `run` fills
    Dashboard(dashboard::DashboardArgs),
    /// Create topics, collections and indexes; safe to repeat
    Init(init::InitArgs),
    /// Compute every document anew from the records, and compare it with the store
    Verify(verify::VerifyArgs),
    /// Print shell completions
    Completions {
        /// For which shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page
    Man,
}

/// Why a command ended, each with its exit code.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// A setting is wrong (2).
    #[error("{0}")]
    Settings(String),
    /// Going on would lose data (4).
    #[error("{0}")]
    Refused(String),
    /// A file or folder of ours cannot be used (3).
    #[error("{0}")]
    System(String),
    /// From the pipeline.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// From a store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// From a source.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// From the generator.
    #[error(transparent)]
    Generate(#[from] GenerateError),
    /// From a verification.
    #[error(transparent)]
    Verify(#[from] VerifyError),
    /// From the dashboard's server.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// From `--store` and its kin.
    #[error(transparent)]
    Address(#[from] AddressError),
}

impl CliError {
    fn exit_code(&self) -> u8 {
        fn store(error: &StoreError) -> u8 {
            match error {
                StoreError::Unavailable(_) => 3,
                StoreError::Fenced(_) => 5,
                StoreError::Unreadable(_) => 4,
            }
        }
        fn source(error: &SourceError) -> u8 {
            match error {
                SourceError::Unavailable(_) => 3,
                SourceError::Settings(_) => 2,
                SourceError::Lost(_) => 4,
            }
        }
        match self {
            CliError::Settings(_) | CliError::Address(_) | CliError::Verify(VerifyError::Settings(_)) => 2,
            CliError::System(_) | CliError::Server(_) => 3,
            CliError::Refused(_) | CliError::Verify(VerifyError::Lost(_)) => 4,
            CliError::Engine(EngineError::Source(error))
            | CliError::Verify(VerifyError::Source(error))
            | CliError::Source(error) => source(error),
            CliError::Engine(EngineError::Store(error))
            | CliError::Verify(VerifyError::Store(error))
            | CliError::Store(error) => store(error),
            CliError::Engine(EngineError::Settings(_)) => 2,
            CliError::Engine(EngineError::Refused(_)) => 4,
            CliError::Engine(EngineError::Bug(_)) => 70,
            CliError::Generate(error) => error.exit_code(),
        }
    }
}

/// Runs the program.
pub fn main() -> ExitCode {
    if let Err(problem) = load_env_file() {
        eprintln!("error: {problem}");
        return ExitCode::from(2);
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() && error.kind() != ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            eprintln!("{}", usage_error(&error));
            return ExitCode::from(2);
        }
        // Help and version, on standard output with exit code 0; help for want of a command with 2.
        Err(other) => other.exit(),
    };
    signals::exit_on_panic();
    terminal::start_logging(&cli.global);
    let result = match cli.command {
        Command::Demo(args) => demo::run(&args),
        Command::Run(args) => run::run(&args),
        Command::Generate(args) => generate::run(&args),
        Command::Dashboard(args) => dashboard::run(&args),
        Command::Init(args) => init::run(&args),
        Command::Verify(args) => match verify::run(&args) {
            Ok(verify::Verdict::Equal) => Ok(()),
            Ok(verify::Verdict::Different) => return ExitCode::from(1),
            Err(error) => Err(error),
        },
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "tillflow", &mut std::io::stdout());
            Ok(())
        }
        Command::Man => clap_mangen::Man::new(Cli::command())
            .render(&mut std::io::stdout())
            .map_err(|error| CliError::System(format!("writing the manual page: {error}"))),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", one_line(&error.to_string()));
            ExitCode::from(error.exit_code())
        }
    }
}

/// What is wrong with the command line. What was given as `-X` may be a secret, so it is not repeated.
fn usage_error(error: &clap::Error) -> String {
    match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(flag)) if flag.starts_with("-X") => {
            format!("error: {flag}: write it as KEY=VALUE (what was given is not shown); for more, try '--help'")
        }
        _ => one_line(&error.render().to_string()),
    }
}

/// An error is one line, whatever a library put into it.
fn one_line(text: &str) -> String {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ")
}

/// Puts `.env` below the environment. It has to happen before flags are read, so `--env-file` is looked for here.
fn load_env_file() -> Result<(), String> {
    let mut named = None;
    let mut arguments = std::env::args_os().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.to_str() {
            Some("--") => break,
            Some("--env-file") => named = arguments.next().map(PathBuf::from),
            Some(text) => {
                if let Some(path) = text.strip_prefix("--env-file=") {
                    named = Some(PathBuf::from(path));
                }
            }
            None => {}
        }
    }
    let (path, optional) = match named {
        Some(path) => (path, false),
        None => (PathBuf::from(".env"), true),
    };
    match dotenvy::from_path(&path) {
        Ok(()) => Ok(()),
        Err(dotenvy::Error::Io(error)) if optional && error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(dotenvy::Error::Io(error)) => Err(format!("reading {}: {error}", path.display())),
        // The line itself may hold a secret.
        Err(dotenvy::Error::LineParse(line, _)) => {
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            Err(match line_number(&text, &line) {
                Some(number) => format!("reading {}: line {number} is not NAME=VALUE", path.display()),
                None => format!("reading {}: one of its lines is not NAME=VALUE", path.display()),
            })
        }
        Err(_) => Err(format!("reading {}: it is not made of lines NAME=VALUE", path.display())),
    }
}

/// The number of the line at which `part` of `text` begins. A value in quotes that are never closed reaches to the
/// end of the file, so it may be several lines.
fn line_number(text: &str, part: &str) -> Option<usize> {
    let part = part.trim_end_matches(['\n', '\r']);
    let at_start = |start: &usize| *start == 0 || text[..*start].ends_with(['\n', '\u{feff}']);
    let start = text.match_indices(part).map(|(start, _)| start).find(at_start)?;
    Some(text[..start].matches('\n').count() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_line_of_a_part_is_found() {
        let text = "# A\nB=A\nA\nC=\"open\nand on\n";
        assert_eq!(line_number(text, "A"), Some(3));
        assert_eq!(line_number(text, "C=\"open\nand on\n"), Some(4));
        assert_eq!(line_number("\u{feff}A", "A"), Some(1));
        assert_eq!(line_number(text, "D"), None);
    }

    #[test]
    fn an_error_is_one_line() {
        assert_eq!(one_line("a\n  b\n\nc"), "a; b; c");
    }
}
