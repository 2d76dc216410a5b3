//! The setting of scripts.

use super::rows::{Changes, Row, put};
use super::value::Syntax;

/// As much as Redis's own takes on a machine of 32 bits: 24 days.
const MILLISECONDS_MAX: i64 = 2_147_483_647;

/// When a script counts as slow.
pub(super) const BUSY_REPLY_THRESHOLD: Row = Row {
    name: "busy-reply-threshold",
    syntax: Syntax::Integer { min: 0, max: MILLISECONDS_MAX },
    default: "5000",
    help: "milliseconds after which SCRIPT KILL stops a script, and others that take long are refused if no thread is left for them",
    changes: Changes::AnyTime,
    apply: |settings, given| put(&mut settings.busy_reply_threshold_ms, given.integer()),
    show: |settings| settings.busy_reply_threshold_ms.to_string(),
};
