//! The flags of a cluster of processes.

use std::path::PathBuf;

use clap::Args;

use super::CliError;
use crate::cluster::hosts::{DEFAULT_PORT, default_hosts, parse_hosts};
use crate::cluster::{Agreement, ClusterError, ClusterSettings, Secret};
use crate::engine::EngineOptions;

/// The environment's name for the secret. There is no flag for it: flags can be seen by everybody on the machine.
const SECRET: &str = "TILLFLOW_CLUSTER_SECRET";

/// Several processes that work as one.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Cluster")]
pub(super) struct ClusterArgs {
    /// Processes that work as one, each with --workers threads
    #[arg(long, value_name = "N", env = "TILLFLOW_PROCESSES", default_value_t = 1, value_parser = processes)]
    processes: usize,
    /// Which of them this one is, from 0; process 0 has the store and the dashboard
    #[arg(long, value_name = "I", env = "TILLFLOW_PROCESS")]
    process: Option<usize>,
    #[arg(long, value_name = "FILE", env = "TILLFLOW_HOSTS", help = hosts_help())]
    hosts: Option<PathBuf>,
    /// File with the secret that all processes share (or TILLFLOW_CLUSTER_SECRET); needed beyond one machine
    #[arg(long, value_name = "FILE", env = "TILLFLOW_CLUSTER_SECRET_FILE")]
    cluster_secret_file: Option<PathBuf>,
}

fn hosts_help() -> String {
    format!(
        "Where the processes find each other: HOST:PORT a line, line I is process I [default: 127.0.0.1 and ports from \
         {DEFAULT_PORT}]"
    )
}

fn processes(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(processes @ 1..=64) => Ok(processes),
        _ => Err(String::from("a number from 1 to 64")),
    }
}

impl ClusterArgs {
    /// Who this process is; none when it is the only one.
    pub(super) fn settings(&self) -> Result<Option<ClusterSettings>, CliError> {
        let settings = |text: String| CliError::Settings(text);
        if self.processes == 1 {
            return match (self.process, &self.hosts) {
                (None | Some(0), None) => Ok(None),
                _ => Err(settings(String::from("--process and --hosts go with --processes N, N being 2 or more"))),
            };
        }
        let Some(process) = self.process else {
            return Err(settings(format!("--processes {} needs --process: which one is this?", self.processes)));
        };
        if process >= self.processes {
            return Err(settings(format!(
                "--process {process}: with --processes {} they are numbered 0 to {}",
                self.processes,
                self.processes - 1
            )));
        }
        let hosts = match &self.hosts {
            None => default_hosts(self.processes)?,
            Some(path) => {
                let failed = |error: &dyn std::fmt::Display| settings(format!("--hosts: {}: {error}", path.display()));
                let text = std::fs::read_to_string(path).map_err(|error| failed(&error))?;
                parse_hosts(&text, self.processes).map_err(|error| failed(&error))?
            }
        };
        let secret = self.secret()?;
        if let (None, Some(host)) = (&secret, hosts.iter().find(|host| !host.is_loopback())) {
            return Err(settings(format!(
                "--hosts: {host} can be reached from other machines, and without a secret anybody there could join: set \
                 {SECRET}, or --cluster-secret-file, to the same long random text for every process"
            )));
        }
        Ok(Some(ClusterSettings { process, hosts, secret }))
    }

    fn secret(&self) -> Result<Option<Secret>, CliError> {
        let text = match (&self.cluster_secret_file, std::env::var(SECRET)) {
            (Some(path), _) => Some(std::fs::read_to_string(path).map_err(|error| {
                CliError::Settings(format!("--cluster-secret-file: reading {}: {error}", path.display()))
            })?),
            (None, Ok(text)) if !text.is_empty() => Some(text),
            (None, Err(std::env::VarError::NotUnicode(_))) => {
                return Err(CliError::Settings(format!("{SECRET} is not UTF-8")));
            }
            (None, _) => None,
        };
        Ok(text.map(|text| Secret::new(&text)).transpose()?)
    }
}

/// What must be the same in every process, as their messages show it.
pub(super) fn agreement(options: &EngineOptions, source: &dyn crate::source::Source) -> Agreement {
    let configuration = options.configuration(source);
    let list = |names: &[String]| if names.is_empty() { String::from("none") } else { names.join(",") };
    [
        ("--workers", options.workers.to_string()),
        ("--tick-ms", options.tick.as_millis().to_string()),
        ("--raw-data", String::from(if options.raw_data { "on" } else { "off" })),
        ("--until-caught-up", options.until_caught_up.to_string()),
        ("--source", configuration.source),
        ("--correction-window", format!("{} ms", configuration.correction_window)),
        ("--max-future", format!("{} ms", configuration.max_future)),
        ("--timezone", configuration.timezone),
        ("--views", configuration.views.as_deref().map_or_else(|| String::from("all"), list)),
        ("views of the program itself", list(&configuration.added)),
        ("--view-file", configuration.view_file.map_or_else(|| String::from("none"), |text| digest(&text))),
    ]
    .map(|(flag, value)| (flag.to_owned(), value))
    .into()
}

/// A short name for a text.
fn digest(text: &str) -> String {
    use sha2::{Digest, Sha256};
    let digest: String = Sha256::digest(text).iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    format!("a file of {} bytes (SHA-256 {digest}...)", text.len())
}

impl From<ClusterError> for CliError {
    fn from(error: ClusterError) -> CliError {
        match error {
            ClusterError::Settings(text) => CliError::Settings(text),
            ClusterError::Unavailable(text) => CliError::System(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(processes: usize, process: Option<usize>, hosts: Option<&str>) -> (ClusterArgs, tempfile::TempDir) {
        let folder = tempfile::tempdir().expect("a folder");
        let [hosts_file, secret_file] = ["hosts", "secret"].map(|name| folder.path().join(name));
        if let Some(hosts) = hosts {
            std::fs::write(&hosts_file, hosts).expect("a file");
        }
        std::fs::write(&secret_file, "  0123456789abcdef \n").expect("a file");
        let hosts = hosts.map(|_| hosts_file);
        (ClusterArgs { processes, process, hosts, cluster_secret_file: Some(secret_file) }, folder)
    }

    #[test]
    fn a_process_knows_its_place() {
        let (alone, _folder) = arguments(1, None, None);
        assert!(alone.settings().expect("settings").is_none());
        let (second, _folder) = arguments(2, Some(1), Some("a:1\nb:2"));
        let settings = second.settings().expect("settings").expect("a cluster");
        assert_eq!((settings.process, settings.hosts[1].port), (1, 2));
        assert!(!format!("{settings:?}").contains("0123456789"), "a secret was shown");
    }

    #[test]
    fn settings_that_do_not_go_together_are_refused() {
        let cases = [
            (1, Some(1), None, "--processes N"),
            (1, None, Some("a:1"), "--processes N"),
            (2, None, None, "which one is this?"),
            (2, Some(2), None, "numbered 0 to 1"),
            (2, Some(1), Some("a:1"), "it names 1"),
        ];
        for (processes, process, hosts, words) in cases {
            let (arguments, _folder) = arguments(processes, process, hosts);
            let error = arguments.settings().expect_err("refused");
            assert!(error.to_string().contains(words), "{error}");
            assert_eq!(error.exit_code(), 2);
        }
    }

    #[test]
    fn a_secret_has_to_be_long() {
        let (arguments, folder) = arguments(2, Some(0), None);
        std::fs::write(folder.path().join("secret"), "0123456789abcde\n").expect("a file");
        let error = arguments.settings().expect_err("refused");
        assert!(error.to_string().contains("shorter than 16 bytes") && !error.to_string().contains("0123"), "{error}");
    }
}
