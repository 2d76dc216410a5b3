//! The scripts that clients have sent, and those that run for long. It holds their text and never runs one.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ahash::AHashMap;
use parking_lot::{Mutex, RwLock};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::lua::script::{Script, Sha};

/// The most scripts that are kept because EVAL brought them, as in Redis 7.4: an app that writes its values into the text
/// sends a new one each time.
const EVALUATED_MAX: usize = 500;

/// The most bytes that those scripts may have together.
const EVALUATED_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The most bytes of scripts that SCRIPT LOAD brought: they are never dropped, since an app that loads one counts on it.
const LOADED_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What a kept script takes beside its text.
const SCRIPT_BYTES: usize = 256;

/// What all clients know of scripts.
#[derive(Debug)]
pub struct Scripts {
    known: RwLock<Known>,
    running: Mutex<Vec<Running>>,
    slots: Arc<Semaphore>,
    busy_reply_threshold_ms: AtomicU64,
}

#[derive(Debug, Default)]
struct Known {
    scripts: AHashMap<Sha, Kept>,
    /// Those that EVAL brought, the oldest first.
    evaluated: VecDeque<Sha>,
    evaluated_bytes: usize,
    loaded_bytes: usize,
}

#[derive(Debug)]
struct Kept {
    script: Arc<Script>,
    loaded: bool,
}

#[derive(Debug)]
struct Running {
    began: Instant,
    stop: Arc<AtomicBool>,
}

/// A script that runs for long. What it has is given back when it is dropped.
#[derive(Debug)]
pub struct LongRun {
    scripts: Arc<Scripts>,
    /// Tells it to stop.
    pub stop: Arc<AtomicBool>,
    _slot: OwnedSemaphorePermit,
}

impl Scripts {
    /// None yet; at most so many run for long at a time.
    #[must_use]
    pub fn new(long_runs_max: usize, busy_reply_threshold: Duration) -> Self {
        let scripts = Self {
            known: RwLock::default(),
            running: Mutex::default(),
            slots: Arc::new(Semaphore::new(long_runs_max)),
            busy_reply_threshold_ms: AtomicU64::default(),
        };
        scripts.set_busy_reply_threshold(busy_reply_threshold);
        scripts
    }

    /// Follows a change of `busy-reply-threshold`.
    pub fn set_busy_reply_threshold(&self, threshold: Duration) {
        let milliseconds = u64::try_from(threshold.as_millis()).unwrap_or(u64::MAX);
        self.busy_reply_threshold_ms.store(milliseconds, Ordering::Relaxed);
    }

    fn threshold(&self) -> Duration {
        Duration::from_millis(self.busy_reply_threshold_ms.load(Ordering::Relaxed))
    }

    /// The script of this name.
    #[must_use]
    pub fn get(&self, sha: &Sha) -> Option<Arc<Script>> {
        self.known.read().scripts.get(sha).map(|kept| Arc::clone(&kept.script))
    }

    /// How many scripts are known, and the bytes that they take.
    #[must_use]
    pub fn count_and_bytes(&self) -> (usize, usize) {
        let known = self.known.read();
        (known.scripts.len(), known.evaluated_bytes + known.loaded_bytes)
    }

    /// Keeps a script that EVAL brought, if there is room for it among the newest.
    pub fn keep(&self, script: Script) -> Arc<Script> {
        let (bytes, script) = (bytes_of(&script), Arc::new(script));
        let mut known = self.known.write();
        if known.scripts.contains_key(&script.sha) {
            return script;
        }
        known.evaluated_bytes += bytes;
        known.evaluated.push_back(script.sha);
        known.scripts.insert(script.sha, Kept { script: Arc::clone(&script), loaded: false });
        while known.evaluated.len() > EVALUATED_MAX || known.evaluated_bytes > EVALUATED_BYTES_MAX {
            known.drop_oldest();
        }
        script
    }

    /// Keeps a script until SCRIPT FLUSH; `false` where there is no room for it.
    #[must_use]
    pub fn load(&self, script: Script) -> bool {
        let mut known = self.known.write();
        if known.scripts.get(&script.sha).is_some_and(|kept| kept.loaded) {
            return true;
        }
        let bytes = bytes_of(&script);
        if known.loaded_bytes + bytes > LOADED_BYTES_MAX {
            return false;
        }
        known.loaded_bytes += bytes;
        if let Some(position) = known.evaluated.iter().position(|sha| *sha == script.sha) {
            known.evaluated.remove(position);
            known.evaluated_bytes -= bytes;
        }
        known.scripts.insert(script.sha, Kept { script: Arc::new(script), loaded: true });
        true
    }

    /// Forgets all scripts.
    pub fn flush(&self) {
        *self.known.write() = Known::default();
    }

    /// Leave to run for long; `None` if so many others run that nothing but to stop one of them helps.
    pub async fn begin_long_run(self: &Arc<Self>) -> Option<LongRun> {
        let slot = Arc::clone(&self.slots);
        let slot = match Arc::clone(&slot).try_acquire_owned() {
            Ok(slot) => slot,
            Err(_) if self.all_are_slow() => return None,
            Err(_) => tokio::time::timeout(self.threshold(), slot.acquire_owned()).await.ok()?.ok()?,
        };
        let stop = Arc::new(AtomicBool::new(false));
        self.running.lock().push(Running { began: Instant::now(), stop: Arc::clone(&stop) });
        Some(LongRun { scripts: Arc::clone(self), stop, _slot: slot })
    }

    fn all_are_slow(&self) -> bool {
        let threshold = self.threshold();
        self.running.lock().iter().all(|running| running.began.elapsed() >= threshold)
    }

    /// Stops every script that has run for longer than `busy-reply-threshold`: whether there was one.
    #[must_use]
    pub fn stop_slow(&self) -> bool {
        let threshold = self.threshold();
        let running = self.running.lock();
        let slow = running.iter().filter(|running| running.began.elapsed() >= threshold);
        slow.map(|running| running.stop.store(true, Ordering::Relaxed)).count() > 0
    }

    /// Stops every script: the server ends.
    pub fn stop_all(&self) {
        self.running.lock().iter().for_each(|running| running.stop.store(true, Ordering::Relaxed));
    }
}

impl Known {
    fn drop_oldest(&mut self) {
        if let Some(dropped) = self.evaluated.pop_front().and_then(|sha| self.scripts.remove(&sha)) {
            self.evaluated_bytes -= bytes_of(&dropped.script);
        }
    }
}

impl Drop for LongRun {
    fn drop(&mut self) {
        self.scripts.running.lock().retain(|running| !Arc::ptr_eq(&running.stop, &self.stop));
    }
}

fn bytes_of(script: &Script) -> usize {
    script.text.len() + SCRIPT_BYTES
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn script(text: String) -> Script {
        Script::read(Bytes::from(text)).expect("a script")
    }

    /// Almost as long as a script can be.
    fn long(number: usize) -> String {
        format!("{number}{}", "x".repeat(1_000_000))
    }

    #[test]
    fn what_eval_brought_makes_room_and_what_was_loaded_stays() {
        let scripts = Scripts::new(1, Duration::from_secs(3600));
        assert!(scripts.load(script("loaded".to_owned())));
        let shas: Vec<_> = (0..=EVALUATED_MAX).map(|number| scripts.keep(script(number.to_string())).sha).collect();
        assert!(scripts.get(&shas[0]).is_none());
        assert!(shas[1..].iter().all(|sha| scripts.get(sha).is_some()));
        assert!(scripts.get(&script("loaded".to_owned()).sha).is_some());
        assert_eq!(scripts.count_and_bytes().0, EVALUATED_MAX + 1);
        let large: Vec<_> = (0..20).map(|number| scripts.keep(script(long(number))).sha).collect();
        assert!(
            scripts.get(&large[0]).is_none() && scripts.get(&large[19]).is_some(),
            "they are bounded in bytes, too"
        );
        scripts.flush();
        assert!(scripts.get(&large[19]).is_none());
        assert_eq!(scripts.count_and_bytes(), (0, 0));
    }

    #[test]
    fn a_script_that_was_evaluated_can_be_loaded_and_stays_then() {
        let scripts = Scripts::new(1, Duration::from_secs(3600));
        let sha = scripts.keep(script("both".to_owned())).sha;
        assert!(scripts.load(script("both".to_owned())) && scripts.load(script("both".to_owned())));
        (0..=EVALUATED_MAX).for_each(|number| drop(scripts.keep(script(number.to_string()))));
        assert!(scripts.get(&sha).is_some());
    }

    #[test]
    fn loaded_scripts_are_bounded() {
        let scripts = Scripts::new(1, Duration::from_secs(3600));
        let load = |number: usize| scripts.load(script(long(number)));
        let count = LOADED_BYTES_MAX / long(10).len() - 1;
        assert!((0..count).all(load) && (count..count + 2).any(|number| !load(number)));
    }

    #[tokio::test]
    async fn only_slow_scripts_are_stopped_and_when_all_are_slow_no_other_begins() {
        let scripts = Arc::new(Scripts::new(1, Duration::from_secs(3600)));
        let first = scripts.begin_long_run().await.expect("a slot");
        assert!(!scripts.stop_slow() && !first.stop.load(Ordering::Relaxed));
        scripts.set_busy_reply_threshold(Duration::ZERO);
        assert!(scripts.begin_long_run().await.is_none());
        assert!(scripts.stop_slow() && first.stop.load(Ordering::Relaxed));
        drop(first);
        assert!(scripts.begin_long_run().await.is_some() && !scripts.stop_slow());
    }
}
