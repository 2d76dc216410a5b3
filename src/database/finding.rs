//! What `sojourn check` finds: one sentence about one thing, which a person can act on. It is never a key, a value or a password.

/// How a finding is to be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// As it should be.
    Good,
    /// The server runs, but not as well or as safely as it could.
    Warning,
    /// The server does not start, or does not serve, until this is mended.
    Fault,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How it is to be taken.
    pub verdict: Verdict,
    /// What was looked at, in a word or two.
    pub subject: String,
    /// What was found and, unless it is good, how to mend it; without a full stop.
    pub sentence: String,
}

impl Finding {
    /// Something that is as it should be.
    pub fn good(subject: impl Into<String>, sentence: impl Into<String>) -> Self {
        Self { verdict: Verdict::Good, subject: subject.into(), sentence: sentence.into() }
    }

    /// Something that could be better.
    pub fn warning(subject: impl Into<String>, sentence: impl Into<String>) -> Self {
        Self { verdict: Verdict::Warning, subject: subject.into(), sentence: sentence.into() }
    }

    /// Something that must be mended.
    pub fn fault(subject: impl Into<String>, sentence: impl Into<String>) -> Self {
        Self { verdict: Verdict::Fault, subject: subject.into(), sentence: sentence.into() }
    }
}

/// What is known of a database that was looked at.
#[derive(Clone, Debug, Default)]
pub struct Inspection {
    /// What was found.
    pub findings: Vec<Finding>,
    /// The server that owns it now.
    pub owner: Option<String>,
}

impl Inspection {
    /// Of something that could not be looked at any further.
    #[must_use]
    pub fn ended_by(finding: Finding) -> Self {
        Self { findings: vec![finding], owner: None }
    }
}
