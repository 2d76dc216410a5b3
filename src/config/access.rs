//! The settings of who may log in: their rows, under redis.conf's names. Which rules a user has is none of this file's business.

use super::PubsubDefault;
use super::reading::path;
use super::rows::{Changes, Row, put};
use super::value::{Choice, Secret, Syntax};

/// The most denials that are remembered: each keeps up to 4 KiB of what a client sent.
const ACL_LOG_MAX: i64 = 100_000;

/// `requirepass`.
pub(super) const REQUIREPASS: Row = Row {
    name: "requirepass",
    syntax: Syntax::Text { placeholder: "PASSWORD", expected: "a password, or nothing for none" },
    default: "",
    help: "password of the default user, which clients must give by AUTH or HELLO; empty for none",
    changes: Changes::AnyTime,
    apply: |settings, given| {
        let password = Some(given.text).filter(|text| !text.is_empty());
        put(&mut settings.requirepass, Ok(password.map(Secret::new)))
    },
    show: |settings| settings.requirepass.as_ref().map_or_else(String::new, |secret| secret.expose().to_owned()),
};

/// `requirepass-file`.
pub(super) const REQUIREPASS_FILE: Row = Row {
    name: "requirepass-file",
    syntax: Syntax::Text { placeholder: "FILE", expected: "the path of a file, or nothing" },
    default: "",
    help: "file whose content is requirepass, such as a container's secret; a line end at its end is not part of it",
    changes: Changes::AtStart,
    apply: |settings, given| put(&mut settings.requirepass_file, Ok(path(given))),
    show: |settings| settings.requirepass_file.clone().unwrap_or_default(),
};

/// `aclfile`.
pub(super) const ACLFILE: Row = Row {
    name: "aclfile",
    syntax: Syntax::Text { placeholder: "FILE", expected: "the path of a file, or nothing" },
    default: "",
    help: "file with the users, one line each as ACL LIST shows them; ACL SAVE writes it",
    changes: Changes::AtStart,
    apply: |settings, given| put(&mut settings.aclfile, Ok(path(given))),
    show: |settings| settings.aclfile.clone().unwrap_or_default(),
};

/// `acl-pubsub-default`.
pub(super) const ACL_PUBSUB_DEFAULT: Row = Row {
    name: "acl-pubsub-default",
    syntax: Syntax::Choice(PubsubDefault::names),
    default: "resetchannels",
    help: "whether a new user may use all channels or none",
    changes: Changes::AnyTime,
    apply: |settings, given| put(&mut settings.acl_pubsub_default, given.choice()),
    show: |settings| settings.acl_pubsub_default.name().to_owned(),
};

/// `acllog-max-len`.
pub(super) const ACLLOG_MAX_LEN: Row = Row {
    name: "acllog-max-len",
    syntax: Syntax::Integer { min: 0, max: ACL_LOG_MAX },
    default: "128",
    help: "the most denials that ACL LOG remembers",
    changes: Changes::AnyTime,
    apply: |settings, given| put(&mut settings.acllog_max_len, given.integer()),
    show: |settings| settings.acllog_max_len.to_string(),
};
