//! The random numbers of scripts: the generator of `drand48`, as Redis has it, so that a seed gives the same numbers here.
//! It must never be used for what nobody may guess.

use std::cell::Cell;

const MULTIPLIER: u64 = 0x5_DEEC_E66D;
const INCREMENT: u64 = 0xB;
const MASK: u64 = (1 << 48) - 1;
/// The low 16 bits of a seeded state.
const SEED_LOW: u64 = 0x330E;
const NUMBER_MAX: i64 = i32::MAX as i64;

/// A state of 48 bits.
#[derive(Debug)]
pub struct Random(Cell<u64>);

impl Default for Random {
    fn default() -> Self {
        Self(Cell::new(0x1234_ABCD_330E))
    }
}

impl Random {
    /// Begins anew; only 32 bits of the seed count.
    pub fn seed(&self, seed: i32) {
        self.0.set((u64::from(seed.cast_unsigned()) << 16) | SEED_LOW);
    }

    fn next(&self) -> f64 {
        self.0.set(self.0.get().wrapping_mul(MULTIPLIER).wrapping_add(INCREMENT) & MASK);
        let bits = i64::try_from(self.0.get() >> 17).unwrap_or_default();
        #[expect(clippy::cast_precision_loss, reason = "31 bits fit")]
        let number = (bits % NUMBER_MAX) as f64 / NUMBER_MAX as f64;
        number
    }

    /// `math.random` with these arguments.
    ///
    /// # Errors
    /// In Lua's words.
    pub fn number(&self, bounds: &[f64]) -> Result<f64, &'static str> {
        let (lowest, highest, refusal) = match bounds {
            [] => return Ok(self.next()),
            [highest] => (1.0, highest.trunc(), "bad argument #1 to 'random' (interval is empty)"),
            [lowest, highest] => (lowest.trunc(), highest.trunc(), "bad argument #2 to 'random' (interval is empty)"),
            [..] => return Err("wrong number of arguments"),
        };
        if lowest > highest {
            return Err(refusal);
        }
        Ok((self.next() * (highest - lowest + 1.0)).floor() + lowest)
    }
}
