//! What a value is. The column `type` of `sojourn_keys` holds its name; a session table holds strings only.

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Any bytes.
    String,
    /// Fields and their values, in the keyspace's encoding.
    Hash,
    /// Members, in the keyspace's encoding.
    Set,
    /// A record that cannot be read: of a type that this version does not know, or with damaged bytes. Nothing is ever put as
    /// one; it can be deleted, replaced and given another end.
    Unreadable,
}

impl Kind {
    /// Its name, as TYPE answers it and as the column has it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Hash => "hash",
            Self::Set => "set",
            Self::Unreadable => "unreadable",
        }
    }

    /// The kind that a record's `type` names.
    #[must_use]
    pub fn of_name(name: &str) -> Self {
        [Self::String, Self::Hash, Self::Set].into_iter().find(|kind| kind.name() == name).unwrap_or(Self::Unreadable)
    }
}

#[cfg(test)]
mod tests {
    use super::Kind;

    #[test]
    fn a_name_names_its_kind_and_any_other_name_an_unreadable_one() {
        for kind in [Kind::String, Kind::Hash, Kind::Set, Kind::Unreadable] {
            assert_eq!(Kind::of_name(kind.name()), kind);
        }
        for name in ["", "String", "hash ", "zset", "list"] {
            assert_eq!(Kind::of_name(name), Kind::Unreadable, "{name}");
        }
    }
}
