//! The aclfile: read as a whole or not at all, and written so that a crash leaves the old file or the new one. A line's
//! password is in no error.

use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tracing::{error, warn};

use super::super::error::CommandError;
use super::super::table::CommandResult;
use super::rules::{self, RuleError};
use super::{channels_by_default, describe, listeners};
use crate::app::users::{User, Users};
use crate::app::{App, Client};
use crate::config::{PubsubDefault, Settings};
use crate::protocol::{Reply, Request};
use crate::whole_file::{self, reason};

const NO_FILE: &str = "ERR This Redis instance is not configured to use an ACL file. You may want to specify users via the ACL \
                       SETUSER command and then issue a CONFIG REWRITE (assuming you have a Redis configuration file set) in \
                       order to store users in the Redis configuration.";
const NOT_SAVED: &str =
    "ERR There was an error trying to save the ACLs. Please check the server logs for more information";
const NOTHING_CHANGED: &str =
    "WARNING: ACL errors detected, no change to the previously active ACL rules was performed";

/// The file belongs to the server's user alone: the digests in it can be tried offline.
const MODE: u32 = 0o600;

/// Reads the aclfile at the start, if there is one.
///
/// # Errors
/// Every mistake in it, with file and line, in one sentence.
pub fn load_at_start(users: &Users, settings: &Settings) -> Result<(), String> {
    let Some(path) = &settings.aclfile else { return Ok(()) };
    let text = read(Path::new(path))?;
    users.replace(parse(&text, path, settings.acl_pubsub_default == PubsubDefault::AllChannels)?);
    warn_of_open_default(users, settings);
    Ok(())
}

/// ACL LOAD. As in Redis, the connections of all users end, but those of the default user.
pub(super) fn load<'a>(app: &'a App, client: &'a mut Client, _: &'a Request) -> BoxFuture<'a, CommandResult> {
    async move {
        let path = path_of(app)?;
        let read_path = PathBuf::from(&path);
        let text = unblocked(move || read(&read_path)).await.map_err(refused)?;
        let users = parse(&text, &path, channels_by_default(app)).map_err(refused)?;
        let gone = app.users.replace(users);
        client.close_after_reply |= app.clients.expel_users(&gone, client.info.id);
        listeners::expel(app, client);
        warn_of_open_default(&app.users, &app.settings.read());
        Ok(Reply::OK)
    }
    .boxed()
}

/// ACL SAVE: answered when the file is on disk.
pub(super) fn save<'a>(app: &'a App, _: &'a mut Client, _: &'a Request) -> BoxFuture<'a, CommandResult> {
    async move {
        let path = PathBuf::from(path_of(app)?);
        // One at a time, and none writes what is older than what another one has written.
        let _saving = app.users.saving.lock().await;
        let text = text_of(&app.users);
        match unblocked(move || {
            whole_file::write(&path, &text, MODE).map_err(|error| format!("{}: {error}", path.display()))
        })
        .await
        {
            Ok(()) => Ok(Reply::OK),
            Err(error) => {
                error!(%error, "the aclfile could not be written");
                Err(CommandError::other(NOT_SAVED))
            }
        }
    }
    .boxed()
}

fn refused(errors: String) -> CommandError {
    CommandError::other(format!("ERR {errors}"))
}

fn path_of(app: &App) -> Result<String, CommandError> {
    app.settings.read().aclfile.clone().ok_or_else(|| CommandError::other(NO_FILE))
}

/// A disk may take its time; the other connections of this thread go on meanwhile.
async fn unblocked<T: Send + 'static>(work: impl FnOnce() -> Result<T, String> + Send + 'static) -> Result<T, String> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(error.to_string()))
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|error| format!("Error loading ACLs, opening file '{}': {}", path.display(), reason(&error)))
}

/// Whoever writes `requirepass` and an aclfile may believe that both count; as in Redis, the file alone does.
fn warn_of_open_default(users: &Users, settings: &Settings) {
    if settings.requirepass.is_some() && users.default_user().user.is_open() {
        warn!(
            "requirepass is not in force: the aclfile gives the default user no password, and everybody is let in as that user"
        );
    }
}

/// The users of an aclfile.
fn parse(text: &[u8], path: &str, all_channels: bool) -> Result<Vec<User>, String> {
    let mut users: Vec<User> = Vec::new();
    let mut errors = String::new();
    for (number, line) in (1_usize..).zip(text.split(|byte| *byte == b'\n')) {
        let words: Vec<_> = line.trim_ascii().split(|byte| *byte == b' ').map(Bytes::copy_from_slice).collect();
        let (name, words) = match &*words {
            [only] if only.is_empty() => continue,
            [first, name, words @ ..] if *first == "user" => (name, words),
            [..] => {
                errors += &format!("{path}:{number} should start with user keyword followed by the username. ");
                continue;
            }
        };
        if rules::has_spaces(name) {
            let name = String::from_utf8_lossy(name);
            errors += &format!("'{path}:{number}: username '{name}' contains invalid characters. ");
        } else if users.iter().any(|user| user.name == name) {
            let name = String::from_utf8_lossy(name);
            errors += &format!("WARNING: Duplicate user '{name}' found on line {number}. ");
        } else {
            let mut user = User::new(name.clone(), all_channels);
            errors += &apply(&mut user, words, &format!("{path}:{number}"), all_channels);
            users.push(user);
        }
    }
    if errors.is_empty() { Ok(users) } else { Err(errors + NOTHING_CHANGED) }
}

/// Applies the rules of a line; what is wrong with them. Only a name that is unknown is shown: anything else may be a password.
fn apply(user: &mut User, words: &[Bytes], place: &str, all_channels: bool) -> String {
    let Ok(rules) = rules::merge_selectors(words) else {
        return format!("{place}: Unmatched parenthesis in selector definition.");
    };
    let mut errors = String::new();
    let mut has_other_error = false;
    for rule in rules {
        match rules::apply(user, rule.trim_ascii(), all_channels) {
            Ok(()) => {}
            Err(error @ RuleError::Unknown) => {
                let rule = String::from_utf8_lossy(&rule);
                errors += &format!("{place}: Error in applying operation '{rule}': {error}. ");
            }
            // The first one may be the cause of the others.
            Err(error) if !has_other_error => {
                has_other_error = true;
                errors += &format!("{place}: {error}. ");
            }
            Err(_) => {}
        }
    }
    errors
}

fn text_of(users: &Users) -> Vec<u8> {
    users.list().iter().flat_map(|user| [describe::line(user), b"\n".to_vec()].concat()).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    /// Each was answered by redis-server 7.0.15.
    #[test]
    fn mistakes_are_told_with_file_and_line_and_without_passwords() {
        for (text, errors) in [
            ("usr x on\n", "/f:1 should start with user keyword followed by the username. "),
            ("\nuser\n", "/f:2 should start with user keyword followed by the username. "),
            ("# comment", "/f:1 should start with user keyword followed by the username. "),
            ("user a on\nuser a on\n", "WARNING: Duplicate user 'a' found on line 2. "),
            (
                "user x +nope -nope foo bar\n",
                "/f:1: Error in applying operation '+nope': Unknown command or category name in ACL. /f:1: Error in applying \
                 operation '-nope': Unknown command or category name in ACL. /f:1: Syntax error. ",
            ),
            ("user x >hunter2 hunter2\n", "/f:1: Syntax error. "),
            ("user x (+get\n", "/f:1: Unmatched parenthesis in selector definition."),
        ] {
            assert_eq!(parse(text.as_bytes(), "/f", false), Err(format!("{errors}{NOTHING_CHANGED}")), "{text}");
        }
    }

    #[test]
    fn what_is_written_is_read_again_and_is_nobody_elses() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("users.acl");
        fs::write(folder.path().join("users.acl.tmp"), "left by a crash").expect("written");
        let text = b"  user bob on >pw  ~b:* +@read (+set %W~w)\r\n\nuser default off\n";
        let users = Users::new(None);
        users.replace(parse(text, "f", false).expect("good lines"));
        whole_file::write(&path, &text_of(&users), MODE).expect("written");
        let again = parse(&fs::read(&path).expect("read"), "f", false).expect("good lines");
        assert_eq!(again.iter().collect::<Vec<_>>(), users.list().iter().map(|user| &**user).collect::<Vec<_>>());
        assert_eq!(fs::metadata(&path).expect("a file").permissions().mode() & 0o777, MODE);
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1, "nothing is left beside it");
    }
}
