//! `tillflow dashboard`.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use chrono_tz::Tz;
use clap::Args;

use super::CliError;
use super::options::{ListenArgs, StoreArgs, ViewFileArgs};
use super::serve::{Pages, serve};
use super::signals::stop_flag;
use crate::metrics::Metrics;
use crate::status::Status;

/// The pages alone, read from a store that some `run` fills.
#[derive(Debug, Args)]
pub(super) struct DashboardArgs {
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    listen: ListenArgs,
    #[command(flatten)]
    view_file: ViewFileArgs,
    /// IANA zone that times are shown in
    #[arg(long, value_name = "ZONE", default_value = "UTC")]
    timezone: Tz,
}

pub(super) fn run(args: &DashboardArgs) -> Result<(), CliError> {
    let stop = stop_flag()?;
    let views = args.view_file.set()?;
    let address = args.store.address()?;
    let pages = serve(
        &args.listen,
        Pages {
            address: &address,
            status: &Arc::new(Status::default()),
            metrics: &Arc::new(Metrics::of_pages_alone()),
            timezone: args.timezone,
            added: &views.added,
            alone: true,
        },
    )?;
    while !stop.load(Ordering::SeqCst) {
        std::thread::sleep(Duration::from_millis(100));
    }
    pages.stop();
    Ok(())
}
