//! Who watches what all clients do (MONITOR). A line tells of a command that was executed, never of what became of it: it does
//! not wait for a commit, as the reply does, and lines of several connections may come in another order than their commands,
//! which no lock spans. Whoever executes a command never waits for a monitor, and while there is none
//! it pays for one look at a number.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::RwLock;

use super::mailbox::Mailbox;
use crate::protocol::Reply;

/// All monitors.
#[derive(Debug, Default)]
pub struct Monitors {
    mailboxes: RwLock<BTreeMap<u64, Arc<Mailbox>>>,
    count: Count,
}

/// Every command reads it, and nobody writes beside it: a cache line that all cores share without a word.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Count(AtomicUsize);

/// One client's monitoring; dropped, it ends.
#[derive(Debug)]
pub struct Monitoring {
    monitors: Arc<Monitors>,
    client_id: u64,
}

/// The lines of the command under way, which are told when it has ended: a script may have to begin anew.
#[derive(Debug, Default)]
pub struct Untold {
    lines: Vec<String>,
    bytes: usize,
}

impl Monitors {
    /// Whether there is none.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.count.0.load(Ordering::Relaxed) == 0
    }

    /// Leaves what comes from now on in a mailbox.
    pub fn add(self: &Arc<Self>, client_id: u64, mailbox: Arc<Mailbox>) -> Monitoring {
        self.change(|mailboxes| drop(mailboxes.insert(client_id, mailbox)));
        Monitoring { monitors: Arc::clone(self), client_id }
    }

    /// Tells all monitors, of which each may have so many bytes waiting.
    pub fn tell(&self, untold: Untold, mailbox_bytes_max: usize) {
        let mailboxes = self.mailboxes.read();
        for mailbox in mailboxes.values() {
            let lines = untold.lines.iter().map(|line| Reply::Status(line.clone()));
            mailbox.deliver_all(lines, mailbox_bytes_max);
        }
    }

    fn change(&self, change: impl FnOnce(&mut BTreeMap<u64, Arc<Mailbox>>)) {
        let mut mailboxes = self.mailboxes.write();
        change(&mut mailboxes);
        self.count.0.store(mailboxes.len(), Ordering::Relaxed);
    }
}

impl Drop for Monitoring {
    fn drop(&mut self) {
        self.monitors.change(|mailboxes| drop(mailboxes.remove(&self.client_id)));
    }
}

impl Untold {
    /// Adds a line, unless there are so many bytes already that every monitor is closed for them.
    pub fn push(&mut self, line: String, bytes_max: usize) {
        if self.bytes < bytes_max {
            self.bytes += line.len();
            self.lines.push(line);
        }
    }

    /// Whether there is nothing to tell.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANY: usize = 1 << 20;

    fn told(lines: &[&str], bytes_max: usize) -> Untold {
        let mut untold = Untold::default();
        lines.iter().for_each(|line| untold.push((*line).to_owned(), bytes_max));
        untold
    }

    #[test]
    fn all_monitors_are_told_until_they_end() {
        let monitors: Arc<Monitors> = Arc::default();
        let mailboxes: [Arc<Mailbox>; 2] = Default::default();
        assert!(monitors.is_idle());
        let [first, second] = [0, 1].map(|id| monitors.add(id as u64, Arc::clone(&mailboxes[id])));
        monitors.tell(told(&["a", "b"], MANY), MANY);
        drop(first);
        monitors.tell(told(&["c"], MANY), MANY);
        let seen = mailboxes.each_ref().map(|mailbox| mailbox.take().map(|lines| lines.len()));
        assert_eq!(seen, [Some(2), Some(3)]);
        drop(second);
        assert!(monitors.is_idle());
    }

    #[test]
    fn a_command_that_says_too_much_keeps_no_more_and_closes_its_monitors() {
        let monitors: Arc<Monitors> = Arc::default();
        let mailbox: Arc<Mailbox> = Arc::default();
        let _monitoring = monitors.add(1, Arc::clone(&mailbox));
        let untold = told(&["0123456789"; 1_000], 100);
        assert_eq!(untold.lines.len(), 10);
        monitors.tell(untold, 100);
        assert_eq!(mailbox.take(), None);
    }
}
