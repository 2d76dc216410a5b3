//! Reading the settings again while the server runs (SIGHUP): what can change does, for all clients at once and without dropping
//! any; what cannot is named. A mistake anywhere changes nothing.

use std::fmt;
use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tracing::{error, info, warn};

use super::{open_files, supervisor};
use crate::app::App;
use crate::config::{ConfigError, Loaded};
use crate::database::write_through::Status;

/// Reads the sources of the settings, as at the start.
pub type Read = dyn Fn() -> Result<Loaded, ConfigError> + Send + Sync;

/// How the settings are read again.
pub struct Reload {
    /// Receives something whenever they are to be.
    pub asked: mpsc::Receiver<()>,
    /// Reads them.
    pub read: Arc<Read>,
}

impl fmt::Debug for Reload {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Reload")
    }
}

/// Reads the settings whenever it is asked to, until the server stops.
pub(super) async fn follow(app: Arc<App>, mut reload: Reload, mut stopping: watch::Receiver<bool>) {
    loop {
        tokio::select! {
            Some(()) = reload.asked.recv() => {}
            _ = stopping.wait_for(|stopping| *stopping) => return,
        }
        supervisor::reloading();
        let (app, read) = (Arc::clone(&app), Arc::clone(&reload.read));
        // The files may stand on a disk that is slow or gone.
        let changed = tokio::task::spawn_blocking(move || {
            let changed = read().map_err(|error| error.to_string()).and_then(|loaded| change(&app, &loaded));
            // Whoever still waits for the database was not ready before.
            if app.write_through.status() != Status::Loading {
                supervisor::ready();
            }
            changed
        });
        match changed.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => error!(error, "the settings are no good; nothing was changed"),
            Err(error) => error!(%error, "the settings could not be read again"),
        }
    }
}

/// Puts in force what can change of the settings that were read.
fn change(app: &App, loaded: &Loaded) -> Result<(), String> {
    for warning in &loaded.warnings {
        warn!("{warning}");
    }
    let mut sources = app.sources.lock();
    let in_force = app.settings.read().clone();
    let mut reread = sources.reread(&in_force, loaded);
    if reread.changed.contains(&"maxclients") {
        open_files::make_room(&mut reread.settings);
    }
    // The files of TLS are read in any case: what stands in them may be new under the same name.
    app.put_in_force(reread.settings.clone(), true).map_err(|error| error.to_string())?;
    sources.note_reread(loaded, &reread);
    info!(changed = reread.changed.join(", "), "the settings were read again");
    if !reread.at_start.is_empty() {
        let settings = reread.at_start.join(", ");
        warn!(settings, "these settings have changed, but can only change at a start; what was is still in force");
    }
    Ok(())
}
