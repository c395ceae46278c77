//! Puts the pages behind the server, for the commands that have pages.

use std::sync::Arc;
use std::time::Duration;

use chrono_tz::Tz;
use tillflow_dataflows::added::AddedView;

use super::CliError;
use super::options::ListenArgs;
use crate::dashboard::server::{HttpCounters, Server, ServerOptions};
use crate::dashboard::{Dashboard, DashboardOptions};
use crate::metrics::Metrics;
use crate::status::Status;
use crate::store::StoreAddress;

/// What the pages show.
pub(super) struct Pages<'a> {
    pub(super) address: &'a StoreAddress,
    pub(super) status: &'a Arc<Status>,
    pub(super) metrics: &'a Arc<Metrics>,
    pub(super) timezone: Tz,
    /// The views beside those of the contract.
    pub(super) added: &'a Arc<[AddedView]>,
    /// No pipeline in this process.
    pub(super) alone: bool,
}

/// Serves the pages and says where.
pub(super) fn serve(listen: &ListenArgs, pages: Pages<'_>) -> Result<Server, CliError> {
    let metrics = Arc::clone(pages.metrics);
    let options = ServerOptions { allowed_hosts: listen.allow_host.clone(), ..ServerOptions::new(listen.listen) };
    let counters = Arc::clone(&options.counters);
    let dashboard = Dashboard::new(DashboardOptions {
        reader: pages.address.open_reader()?,
        status: Arc::clone(pages.status),
        metrics: Arc::new(move || {
            let counts = counters.read();
            let classes = HttpCounters::CLASSES;
            let answered = std::array::from_fn(|class| (classes[class], counts.answered[class]));
            metrics.set_http(answered, counts.refused, counts.restarts, counts.streams_open);
            metrics.encode()
        }),
        refresh_interval: Duration::from_secs(listen.refresh_interval),
        timezone: pages.timezone,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        read_only: pages.alone,
        added: Arc::clone(pages.added),
    })
    .map_err(|error| CliError::System(format!("starting the dashboard: {error}")))?;
    let handler = move |request: &_| dashboard.respond(request);
    let server = Server::start(options, Arc::new(handler), Arc::clone(pages.status))?;
    // On standard error like all talk, and not as a log line: it is what a person waits for.
    eprintln!("dashboard: http://{}/", server.local_addr());
    Ok(server)
}
