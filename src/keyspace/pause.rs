//! What happens at most once in a while, however many ask for it.

use std::sync::atomic::{AtomicI64, Ordering};

/// When it happened last.
#[derive(Debug)]
pub struct Pause {
    last_ms: AtomicI64,
}

impl Default for Pause {
    fn default() -> Self {
        Self { last_ms: AtomicI64::new(i64::MIN) }
    }
}

impl Pause {
    /// Whether `pause_ms` have passed since it was due the last time; only one of those who ask at once is told so.
    pub fn is_due(&self, now_ms: i64, pause_ms: i64) -> bool {
        let last_ms = self.last_ms.load(Ordering::Relaxed);
        now_ms.saturating_sub(last_ms) >= pause_ms
            && self.last_ms.compare_exchange(last_ms, now_ms, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::Pause;

    #[test]
    fn it_is_due_at_first_and_once_a_pause() {
        let pause = Pause::default();
        let due: Vec<bool> = [-5, 0, 94, 95, 96, 195].into_iter().map(|now_ms| pause.is_due(now_ms, 100)).collect();
        assert_eq!(due, [true, false, false, true, false, true]);
    }
}
