//! Where the settings in force came from, for those who change them while the server runs: reading the sources again (SIGHUP), and
//! writing what was changed into the file (CONFIG REWRITE). Neither may ever leave half of a change behind.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use super::rewrite::rewritten;
use super::{Changes, Loaded, ROWS, Row, Settings};
use crate::whole_file::{self, reason};

/// The permissions of a file are its last twelve bits; the others are its type.
const PERMISSIONS: u32 = 0o7777;

/// The sources as they were last read or written.
#[derive(Debug)]
pub struct Sources {
    file: Option<PathBuf>,
    beyond_file: BTreeSet<&'static str>,
    read: Settings,
}

/// What reading the sources again comes to.
#[derive(Debug)]
pub struct Reread {
    /// The settings to put in force.
    pub settings: Settings,
    /// Those that change.
    pub changed: Vec<&'static str>,
    /// Those that have changed in the sources but can only change at a start.
    pub at_start: Vec<&'static str>,
}

/// Why the file was not written; `Display` is Redis's error line without the leading minus.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RewriteError {
    /// No file was named at the start.
    #[error("ERR The server is running without a config file")]
    NoFile,
    /// It cannot be read or written, or what would stand in it is no good.
    #[error("ERR Rewriting config file: {0}")]
    Failed(String),
}

impl Sources {
    /// The sources of a start.
    #[must_use]
    pub fn new(loaded: &Loaded) -> Self {
        let Loaded { settings, file, beyond_file, .. } = loaded;
        Self { file: file.clone(), beyond_file: beyond_file.clone(), read: settings.clone() }
    }

    /// What is to be done after the sources were read again: all that can change is to be as after a start, whatever CONFIG SET
    /// made of it meanwhile.
    #[must_use]
    pub fn reread(&self, in_force: &Settings, loaded: &Loaded) -> Reread {
        let mut settings = in_force.clone();
        let changed = take(&mut settings, &loaded.settings);
        let at_start = ROWS.iter().filter(|row| row.changes == Changes::AtStart);
        let at_start = at_start.filter(|row| !is_as_before(row, &self.read, &loaded.settings));
        Reread { settings, changed, at_start: at_start.map(|row| row.name).collect() }
    }

    /// Remembers what was read, once it is in force. What needs a start is remembered as it was, so that it is named again.
    pub fn note_reread(&mut self, loaded: &Loaded, reread: &Reread) {
        self.beyond_file.clone_from(&loaded.beyond_file);
        take(&mut self.read, &reread.settings);
    }

    /// Writes what CONFIG SET has changed into the file; answers those of the settings that a flag or the environment gives, and
    /// which are therefore not in force after the next start.
    ///
    /// # Errors
    /// In Redis's words; the file is as before.
    pub fn rewrite(&mut self, in_force: &Settings) -> Result<Vec<&'static str>, RewriteError> {
        let path = self.file.as_ref().ok_or(RewriteError::NoFile)?;
        let values = differing(&self.read, in_force);
        let is_changed = |name: &str| values.iter().any(|(row, _)| row.name == name);
        let of_files = [("requirepass", &self.read.requirepass_file), ("metrics-token", &self.read.metrics_token_file)];
        if let Some((name, _)) = of_files.iter().find(|(name, file)| file.is_some() && is_changed(name)) {
            let advice = format!("{name} stands in the file that {name}-file names; change it there");
            return Err(RewriteError::Failed(advice));
        }
        let failed = |error: std::io::Error| RewriteError::Failed(reason(&error));
        // A link stays one: what it points to is written.
        let path = fs::canonicalize(path).map_err(failed)?;
        let text = fs::read_to_string(&path).map_err(failed)?;
        let mode = fs::metadata(&path).map_err(failed)?.permissions().mode() & PERMISSIONS;
        let not_toml = |_| RewriteError::Failed("the file is not TOML any more".to_owned());
        let text = rewritten(&text, &values).map_err(not_toml)?;
        whole_file::write(&path, text.as_bytes(), mode).map_err(failed)?;
        let beaten = values.iter().map(|(row, _)| row.name).filter(|name| self.beyond_file.contains(name)).collect();
        take(&mut self.read, in_force);
        Ok(beaten)
    }
}

/// What can change at any time and does from one to the other, with what it changes to.
fn differing(from: &Settings, to: &Settings) -> Vec<(&'static Row, String)> {
    let changeable = ROWS.iter().filter(|row| row.changes == Changes::AnyTime);
    let values = changeable.map(|row| (row, (row.show)(to)));
    values.filter(|(row, value)| *value != (row.show)(from)).collect()
}

/// Takes over what can change at any time; answers what did.
fn take(into: &mut Settings, from: &Settings) -> Vec<&'static str> {
    let differing = differing(into, from).into_iter();
    // What a setting shows is what it takes; a test asks each of them.
    differing.filter(|(row, value)| row.parse_into(into, value).is_ok()).map(|(row, _)| row.name).collect()
}

/// Whether a setting is what it was. A password in the database's URL is not shown, and counts.
fn is_as_before(row: &Row, before: &Settings, now: &Settings) -> bool {
    let is_shown_alike = (row.show)(before) == (row.show)(now);
    is_shown_alike && (row.name != "database-url" || before.database_url == now.database_url)
}

#[cfg(test)]
mod tests {
    use super::super::{Secret, set};
    use super::*;

    fn loaded(file: Option<PathBuf>, values: &[(&str, &str)]) -> Loaded {
        let mut settings = Settings::default();
        for (name, value) in values {
            Row::named(name).expect("a setting").parse_into(&mut settings, value).expect("a good value");
        }
        let (warnings, explicit, beyond_file) = (Vec::new(), BTreeSet::new(), BTreeSet::from(["maxclients"]));
        Loaded { settings, warnings, explicit, beyond_file, file }
    }

    #[test]
    fn what_can_change_is_as_after_a_start_and_the_rest_is_named() {
        let start = loaded(None, &[("timeout", "5"), ("database-url", "postgres://u:one@h/d")]);
        let sources = Sources::new(&start);
        let mut in_force = start.settings.clone();
        set(&mut in_force, "maxclients", "7").expect("it can change");
        let now = [("timeout", "9"), ("port", "1"), ("requirepass", "pw"), ("database-url", "postgres://u:two@h/d")];
        let reread = sources.reread(&in_force, &loaded(None, &now));
        assert_eq!(reread.changed, ["requirepass", "maxclients", "timeout"], "CONFIG SET is undone, too");
        assert_eq!(reread.at_start, ["port", "database-url"]);
        assert_eq!(reread.settings.requirepass, Some(Secret::new("pw")));
        assert_eq!((reread.settings.timeout_s, reread.settings.maxclients, reread.settings.port), (9, 10_000, 6379));
        let same = sources.reread(&start.settings, &start);
        assert!(same.changed.is_empty() && same.at_start.is_empty() && same.settings == start.settings);
    }

    #[test]
    fn what_needs_a_start_is_named_until_it_had_one() {
        let mut sources = Sources::new(&loaded(None, &[]));
        let other = loaded(None, &[("port", "1"), ("timeout", "9")]);
        let reread = sources.reread(&Settings::default(), &other);
        sources.note_reread(&other, &reread);
        let again = sources.reread(&reread.settings, &other);
        assert_eq!((again.changed, again.at_start), (Vec::new(), vec!["port"]));
    }

    #[test]
    fn the_file_keeps_its_comments_its_mode_and_its_link() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, link) = (folder.path().join("real.toml"), folder.path().join("link.toml"));
        fs::write(&path, "timeout = 5 # seconds\n").expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("a mode");
        std::os::unix::fs::symlink(&path, &link).expect("a link");
        let mut sources = Sources::new(&loaded(Some(link.clone()), &[("timeout", "5")]));
        let mut in_force = Settings { timeout_s: 5, ..Settings::default() };
        assert_eq!(sources.rewrite(&in_force), Ok(Vec::new()));
        assert_eq!(fs::read_to_string(&path).expect("read"), "timeout = 5 # seconds\n");
        (in_force.timeout_s, in_force.maxclients) = (9, 7);
        assert_eq!(sources.rewrite(&in_force), Ok(vec!["maxclients"]), "a flag gives it");
        assert_eq!(fs::read_to_string(&path).expect("read"), "timeout = 9 # seconds\nmaxclients = 7\n");
        in_force.timeout_s = 5;
        assert_eq!(sources.rewrite(&in_force), Ok(Vec::new()));
        assert!(fs::read_to_string(&path).expect("read").starts_with("timeout = 5 "), "back again");
        assert_eq!(fs::metadata(&path).expect("a file").permissions().mode() & PERMISSIONS, 0o640);
        assert!(fs::symlink_metadata(&link).expect("a link").is_symlink());
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 2, "nothing is left beside it");
    }

    #[test]
    fn a_file_that_cannot_be_written_is_as_before() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("x.toml");
        let changed = Settings { timeout_s: 9, ..Settings::default() };
        let rewrite = |values: &[(&str, &str)], in_force: &Settings| {
            Sources::new(&loaded(Some(path.clone()), values)).rewrite(in_force).map_err(|error| error.to_string())
        };
        assert_eq!(rewrite(&[], &changed), Err("ERR Rewriting config file: No such file or directory".to_owned()));
        fs::write(&path, "timeout =").expect("written");
        assert_eq!(rewrite(&[], &changed), Err("ERR Rewriting config file: the file is not TOML any more".to_owned()));
        assert_eq!(fs::read_to_string(&path).expect("read"), "timeout =");
        let password = Settings { requirepass: Some(Secret::new("pw")), ..Settings::default() };
        let refusal = rewrite(&[("requirepass-file", "/run/secrets/redis")], &password);
        assert!(refusal.is_err_and(|words| words.contains("requirepass-file")));
    }

    /// A setting that does not take what it shows would be lost by a reload or a rewrite.
    #[test]
    fn every_setting_takes_what_it_shows() {
        let values = [
            ("requirepass", " a b "),
            ("client-output-buffer-limit", "normal 1mb 2mb 3"),
            ("tls-protocols", "TLSv1.3"),
        ];
        let settings = loaded(None, &values).settings;
        for row in ROWS.iter().filter(|row| row.changes == Changes::AnyTime) {
            let mut taken = Settings::default();
            row.parse_into(&mut taken, &(row.show)(&settings)).unwrap_or_else(|error| panic!("{}: {error}", row.name));
            assert_eq!((row.show)(&taken), (row.show)(&settings), "{}", row.name);
        }
    }
}
