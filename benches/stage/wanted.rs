//! What is wanted of a figure. What is no number never meets it.

/// On which side of a bound it is well.
#[derive(Clone, Copy, Debug)]
pub enum Wanted {
    /// This or more.
    AtLeast(f64),
    /// This or less.
    AtMost(f64),
}

impl Wanted {
    /// Whether this is as wanted.
    pub fn is_met_by(self, found: f64) -> bool {
        match self {
            Self::AtLeast(least) => found >= least,
            Self::AtMost(most) => found <= most,
        }
    }

    /// `≥ 1.00` or `≤ 1.50`, where `number` writes the bound.
    pub fn text(self, number: impl Fn(f64) -> String) -> String {
        match self {
            Self::AtLeast(least) => format!("≥ {}", number(least)),
            Self::AtMost(most) => format!("≤ {}", number(most)),
        }
    }
}
