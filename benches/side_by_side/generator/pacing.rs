//! The clock of an open load: each request has its moment, whether or not the one before it was answered.

use std::time::{Duration, Instant};

/// When what is to be sent, evenly.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    begin: Instant,
    rate: f64,
    count: u64,
}

impl Schedule {
    /// So many a second for so long.
    pub fn new(begin: Instant, rate: f64, length: Duration) -> Self {
        Self { begin, rate, count: (rate * length.as_secs_f64()) as u64 }
    }

    /// When the request of this number is to be sent.
    pub fn moment(&self, number: u64) -> Instant {
        self.begin + Duration::from_secs_f64(number as f64 / self.rate)
    }

    /// Sends each at its moment, or as soon after it as possible; `send` learns the number and the moment.
    ///
    /// # Errors
    /// The first that `send` has.
    pub fn keep<E>(&self, mut send: impl FnMut(u64, Instant) -> Result<(), E>) -> Result<(), E> {
        for number in 0..self.count {
            let moment = self.moment(number);
            let early = moment.saturating_duration_since(Instant::now());
            if !early.is_zero() {
                std::thread::sleep(early);
            }
            send(number, moment)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_even_and_do_not_wait_for_what_is_late() {
        let begin = Instant::now();
        let schedule = Schedule::new(begin, 1_000.0, Duration::from_millis(50));
        let mut moments = Vec::new();
        let kept = schedule.keep(|number, moment| {
            if number == 0 {
                std::thread::sleep(Duration::from_millis(20));
            }
            assert!(Instant::now() >= moment, "{number} is early");
            moments.push(moment);
            Ok::<_, ()>(())
        });
        assert!(kept.is_ok());
        assert_eq!(moments.len(), 50);
        assert_eq!(moments[10] - begin, Duration::from_millis(10));
        assert_eq!(moments[49] - begin, Duration::from_millis(49));
    }
}
