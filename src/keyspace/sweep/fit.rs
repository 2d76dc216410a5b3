//! How well the dictionary in use fits, and when another one is to be trained. It must come to rest: a dictionary that nothing
//! betters is not trained again and again.

use super::super::dictionary::{Samples, Trained};

/// With fewer values there is little to gain, and little to learn from.
pub const SAMPLES_MIN: usize = 1_000;

/// With more values the dictionary gets no better.
pub const SAMPLES_MAX: usize = 4_000;

/// So many values tell how well a dictionary fits.
const WINDOW_VALUES: usize = 1_000;

/// A dictionary that packs by this factor worse than at first no longer fits.
const WORSE: f64 = 1.15;

/// A new dictionary must be better by this factor than the one in use, since all values move.
const BETTER: f64 = 0.95;

/// A dictionary that was made of few values is made anew once there are so many times more.
const GROWTH: usize = 4;

/// So many passes rest after values from which nothing could be learnt.
const REST_PASSES: u32 = 6;

/// What is known of the fit.
#[derive(Debug)]
pub struct Fit {
    samples_min: usize,
    /// How many values the dictionary in use is good for.
    learnt_from: usize,
    /// What it makes of a byte.
    expected: f64,
    window: Window,
    /// What the last full window came to.
    recent: f64,
    gathered: Option<Samples>,
    rests: u32,
}

/// What became of the newest values.
#[derive(Clone, Copy, Debug, Default)]
struct Window {
    values: usize,
    plain_bytes: usize,
    packed_bytes: usize,
}

impl Window {
    fn ratio(self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "a ratio of a few digits")]
        let ratio = self.packed_bytes as f64 / self.plain_bytes.max(1) as f64;
        ratio
    }
}

impl Fit {
    /// Without a dictionary, which is trained once there are `samples_min` values.
    #[must_use]
    pub fn new(samples_min: usize) -> Self {
        let gathered = Some(Samples::default());
        let window = Window::default();
        Self { samples_min, learnt_from: 0, expected: 1.0, window, recent: 1.0, gathered, rests: 0 }
    }

    /// A value that has settled down was packed into so many bytes, as many as it has if that was in vain. If the dictionary
    /// no longer fits and another one `may_train`, values are gathered for it from now on.
    pub fn note(&mut self, value: &[u8], packed_bytes: usize, may_train: bool) {
        self.gather(value);
        self.window.values += 1;
        self.window.plain_bytes += value.len();
        self.window.packed_bytes += packed_bytes;
        if self.window.values < WINDOW_VALUES {
            return;
        }
        self.recent = std::mem::take(&mut self.window).ratio();
        if may_train && self.gathered.is_none() && self.recent > self.expected * WORSE {
            self.gathered = Some(Samples::default());
        }
    }

    /// Keeps a value to train on, if any are wanted.
    pub fn gather(&mut self, value: &[u8]) {
        if let Some(samples) = &mut self.gathered {
            samples.add(value);
        }
    }

    /// The values to train on, if there are `enough`.
    pub fn take(&mut self, enough: usize) -> Option<Samples> {
        self.gathered.take_if(|samples| samples.count() >= enough || samples.is_full())
    }

    /// The end of a pass without a dictionary: what was gathered in it, if that is enough; else it is gathered anew.
    pub fn end_without_dictionary(&mut self) -> Option<Samples> {
        self.rests = self.rests.saturating_sub(1);
        let enough = self.take(self.samples_min);
        self.gathered = (enough.is_none() && self.rests == 0).then(Samples::default);
        enough
    }

    /// Whether the dictionary was made of far fewer values than there are now.
    #[must_use]
    pub fn has_outgrown(&self, values: usize) -> bool {
        self.gathered.is_none() && self.learnt_from < SAMPLES_MAX && values >= self.learnt_from * GROWTH
    }

    /// Judges a new dictionary: whether it is to be used from now on. `values` is how many are packed.
    pub fn judge(&mut self, trained: Option<&Trained>, values: usize) -> bool {
        let good = trained.filter(|trained| trained.ratio <= trained.ratio_before * BETTER);
        self.window = Window::default();
        match good {
            Some(trained) => (self.learnt_from, self.expected) = (trained.dictionary.samples, trained.ratio),
            None => {
                // It is as good as can be: what the newest values became is what is expected of the next.
                (self.learnt_from, self.rests) = (values.max(self.learnt_from), REST_PASSES);
                self.expected = self.expected.max(self.recent);
            }
        }
        good.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALUE: &[u8] = &[b'x'; 100];

    /// One that has a dictionary which leaves `expected` of each byte.
    fn fit(expected: f64) -> Fit {
        Fit { expected, learnt_from: SAMPLES_MAX, gathered: None, ..Fit::new(SAMPLES_MIN) }
    }

    fn note(fit: &mut Fit, values: usize, packed_bytes: usize) {
        (0..values).for_each(|_| fit.note(VALUE, packed_bytes, true));
    }

    #[test]
    fn a_dictionary_that_fits_is_kept() {
        let mut fit = fit(0.3);
        note(&mut fit, 10 * WINDOW_VALUES, 34);
        assert!(fit.take(1).is_none() && !fit.has_outgrown(1_000_000));
    }

    #[test]
    fn one_that_fits_no_longer_is_trained_on_the_values_that_follow() {
        let mut fit = fit(0.3);
        note(&mut fit, WINDOW_VALUES, 35);
        note(&mut fit, 99, 35);
        assert!(fit.take(100).is_none());
        note(&mut fit, 1, 35);
        assert_eq!(fit.take(100).map(|samples| samples.count()), Some(100));
    }

    #[test]
    fn none_is_trained_while_values_still_move_to_the_last() {
        let mut fit = fit(0.3);
        (0..2 * WINDOW_VALUES).for_each(|_| fit.note(VALUE, 90, false));
        assert!(fit.take(1).is_none());
    }

    #[test]
    fn what_nothing_betters_is_not_trained_again_and_again() {
        let mut fit = fit(0.3);
        note(&mut fit, WINDOW_VALUES + 1, 60);
        assert!(fit.take(1).is_some() && !fit.judge(None, 5_000));
        note(&mut fit, 10 * WINDOW_VALUES, 60);
        assert!(fit.take(1).is_none(), "that is what is expected now");
        note(&mut fit, WINDOW_VALUES + 1, 80);
        assert!(fit.take(1).is_some(), "it has become worse");
    }

    #[test]
    fn without_a_dictionary_enough_values_are_waited_for_and_failures_rest() {
        let mut fit = Fit::new(10);
        (0..9).for_each(|_| fit.gather(VALUE));
        assert!(fit.end_without_dictionary().is_none());
        (0..10).for_each(|_| fit.gather(VALUE));
        assert!(fit.end_without_dictionary().is_some() && !fit.judge(None, 0));
        for pass in 1..=REST_PASSES + 1 {
            (0..10).for_each(|_| fit.gather(VALUE));
            assert_eq!(fit.end_without_dictionary().is_some(), pass > REST_PASSES, "{pass}");
        }
    }
}
