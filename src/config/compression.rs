//! The setting of the values that are compressed in memory: its row. How they are is decided elsewhere.

use super::rows::{Changes, Row, put};
use super::value::Syntax;

/// `compress-above`. Of smaller values than its default not even a quarter of a session's memory would be spared.
pub(super) const COMPRESS_ABOVE: Row = Row {
    name: "compress-above",
    syntax: Syntax::Bytes { min: 0, max: 64 * 1024 },
    default: "128",
    help: "values above this size, and up to 64kb, are compressed in memory once they have not been written for some seconds; 0 for none: what is compressed then stays so until it is written",
    changes: Changes::AnyTime,
    apply: |settings, given| put(&mut settings.compress_above, given.bytes()),
    show: |settings| settings.compress_above.to_string(),
};
