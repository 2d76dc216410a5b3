//! The HELP subcommands: lines as status replies, framed as Redis frames them.

use crate::protocol::Reply;

/// The reply of `<container> HELP`; `lines` are the subcommands, each followed by its meaning indented by four blanks.
pub(super) fn reply(heading: &'static str, lines: &[&'static str]) -> Reply {
    const LAST: [&str; 2] = ["HELP", "    Prints this help."];
    Reply::Array(std::iter::once(&heading).chain(lines).chain(&LAST).map(|line| Reply::Simple(line)).collect())
}
