//! From the settings of the process to those of the database.

use super::{DatabaseSettings, SessionTable, SessionTables};
use crate::config::Settings;

impl DatabaseSettings {
    /// What the database must be told, for a process that names itself `identity`.
    ///
    /// # Errors
    /// A sentence that names the setting, when the session tables do not go together.
    pub fn from_settings(settings: &Settings, identity: String) -> Result<Self, String> {
        let table = |name: &crate::config::SessionTableName| SessionTable {
            prefix: name.prefix.clone().into_bytes(),
            table: name.table.clone(),
        };
        let tables = settings.session_tables.iter().map(table).collect();
        Ok(Self {
            url: settings.database_url.expose().to_owned(),
            session_tables: SessionTables::new(tables).map_err(|reason| format!("session-table: {reason}"))?,
            create_tables: settings.create_tables,
            timezone: settings.database_timezone.clone(),
            write_timeout: settings.write_timeout,
            identity,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_settings_are_the_default_tables() {
        let settings = DatabaseSettings::from_settings(&Settings::default(), "host:1".to_owned()).expect("good tables");
        assert_eq!(settings.session_tables, SessionTables::default());
    }
}
