//! The parameters of the indexes that nearlab knows: name, type, range, default, meaning. An external worker's
//! parameters are its own affair, apart from `threads` and `seed`, which every build has. Ranges are those that the
//! indexes themselves check.

use serde_json::Value;

use super::model::Kind;

/// Whether a parameter acts on the build or on a search.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// `build:`.
    Build,
    /// `search:`.
    Search,
}

impl Phase {
    /// As written in the YAML.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Build => "build",
            Self::Search => "search",
        }
    }
}

/// One parameter of a known kind: a whole number within a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parameter {
    /// Name, as in the YAML.
    pub name: &'static str,
    /// Smallest value.
    pub min: u64,
    /// Largest value.
    pub max: u64,
    /// Value when the YAML does not say.
    pub default: u64,
    /// What it does, in a sentence.
    pub meaning: &'static str,
}

const THREADS: Parameter =
    Parameter { name: "threads", min: 1, max: 1024, default: 1, meaning: "Threads that build the index." };
const SEED: Parameter = Parameter {
    name: "seed",
    min: 0,
    max: u64::MAX >> 1,
    default: 1,
    meaning: "Seed of everything random in the build.",
};

const COMMON: &[Parameter] = &[SEED, THREADS];
const HNSW_BUILD: &[Parameter] = &[
    Parameter {
        name: "ef_construction",
        min: 1,
        max: 1 << 16,
        default: 200,
        meaning: "Candidates kept while a point's neighbours are sought; more is better, slower building.",
    },
    Parameter {
        name: "m",
        min: 2,
        max: 256,
        default: 16,
        meaning: "Links per node and upper level; level 0 has 2 m. More is higher recall and more memory.",
    },
    SEED,
    THREADS,
];
const HNSW_SEARCH: &[Parameter] = &[Parameter {
    name: "ef_search",
    min: 1,
    max: (1 << 31) - 1,
    default: 64,
    meaning: "Candidates kept during a search; more is higher recall, slower.",
}];
const IVF_BUILD: &[Parameter] = &[
    Parameter {
        name: "iterations",
        min: 0,
        max: 1_000,
        default: 10,
        meaning: "Lloyd iterations of k-means after k-means++ seeding.",
    },
    Parameter { name: "nlist", min: 1, max: 1 << 24, default: 1024, meaning: "Inverted lists (k-means centres)." },
    SEED,
    THREADS,
];
const IVF_SEARCH: &[Parameter] = &[Parameter {
    name: "nprobe",
    min: 1,
    max: 1 << 24,
    default: 8,
    meaning: "Lists scanned per query; nlist of them is exact search.",
}];

/// The parameters of a kind and phase, by name. For [`Kind::External`] only those that the harness itself needs: others
/// are allowed as well.
pub const fn table(kind: Kind, phase: Phase) -> &'static [Parameter] {
    match (kind, phase) {
        (Kind::Hnsw, Phase::Build) => HNSW_BUILD,
        (Kind::Hnsw, Phase::Search) => HNSW_SEARCH,
        (Kind::Ivf, Phase::Build) => IVF_BUILD,
        (Kind::Ivf, Phase::Search) => IVF_SEARCH,
        (Kind::Flat | Kind::External, Phase::Build) => COMMON,
        (Kind::Flat | Kind::External, Phase::Search) => &[],
    }
}

impl Parameter {
    /// Whether a value is one this parameter takes.
    pub fn accepts(&self, value: &Value) -> bool {
        value.as_u64().is_some_and(|number| (self.min..=self.max).contains(&number))
    }

    /// The range in words.
    pub fn range(&self) -> String {
        if self.max >= u64::MAX >> 1 {
            format!("a whole number, at least {}", self.min)
        } else {
            format!("a whole number from {} to {}", self.min, self.max)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_lies_in_its_range_and_names_are_sorted_and_unique() {
        for kind in Kind::ALL {
            for phase in [Phase::Build, Phase::Search] {
                let table = table(kind, phase);
                assert!(table.iter().all(|p| p.accepts(&Value::from(p.default))), "{kind} {phase:?}");
                assert!(table.windows(2).all(|pair| pair[0].name < pair[1].name), "{kind} {phase:?}");
            }
        }
    }

    #[test]
    fn a_value_of_another_type_or_outside_the_range_is_not_accepted() {
        let m = HNSW_BUILD[1];
        for value in [Value::from(1), Value::from(257), Value::from(16.5), Value::from("16"), Value::from(-16)] {
            assert!(!m.accepts(&value), "{value}");
        }
        assert_eq!(m.range(), "a whole number from 2 to 256");
        assert_eq!(SEED.range(), "a whole number, at least 0");
    }
}
