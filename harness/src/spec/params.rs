//! The parameters of the indexes that nearlab knows: name, values, default, meaning. An external worker's parameters are
//! its own affair, apart from `threads` and `seed`, which every build has. Ranges are those that the indexes themselves
//! check; the names of choices are theirs. Which values go together is judged by [`crate::plan`].

use std::fmt;

use nearlab_index::hnsw::{Ahead, Construction, Layers, RerankCodes, TraversalCodes};
use serde_json::Value;

use super::{model::Kind, suggest::nearest};

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

/// One parameter of a known kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parameter {
    /// Name, as in the YAML.
    pub name: &'static str,
    /// The values it takes.
    pub domain: Domain,
    /// What it does, in a sentence.
    pub meaning: &'static str,
}

/// The values that a parameter takes, and the one it has when the YAML does not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Domain {
    /// Whole numbers within a range.
    Number {
        /// Smallest value.
        min: u64,
        /// Largest value.
        max: u64,
        /// Value when the YAML does not say.
        default: u64,
    },
    /// One of several texts.
    Choice {
        /// The texts, in the order shown to people.
        names: &'static [&'static str],
        /// Value when the YAML does not say.
        default: &'static str,
    },
}

/// The names of an enum of the index crate: `names!(TraversalCodes)`.
macro_rules! names {
    ($choice:ident) => {{
        const NAMES: [&str; $choice::ALL.len()] = {
            let mut names = [""; $choice::ALL.len()];
            let mut i = 0;
            while i < names.len() {
                names[i] = $choice::ALL[i].name();
                i += 1;
            }
            names
        };
        &NAMES
    }};
}

const THREADS: Parameter = Parameter {
    name: "threads",
    domain: Domain::Number { min: 1, max: 1024, default: 1 },
    meaning: "Threads that build the index.",
};
const SEED: Parameter = Parameter {
    name: "seed",
    domain: Domain::Number { min: 0, max: u64::MAX >> 1, default: 1 },
    meaning: "Seed of everything random in the build.",
};

const COMMON: &[Parameter] = &[SEED, THREADS];
const HNSW_BUILD: &[Parameter] = &[
    Parameter {
        name: "alpha",
        domain: Domain::Number { min: 100, max: 200, default: 100 },
        meaning: "Least distance of a refused candidate to the node, in percent of that to a chosen neighbour; more keeps more links.",
    },
    Parameter {
        name: "codes",
        domain: Domain::Choice { names: names!(TraversalCodes), default: TraversalCodes::F32.name() },
        meaning: "What searches score on their way; smaller codes are faster and less exact.",
    },
    Parameter {
        name: "components",
        domain: Domain::Number { min: 0, max: 1 << 16, default: 0 },
        meaning: "Principal components that sq4 codes keep; 0 keeps the vectors as they are.",
    },
    Parameter {
        name: "construction",
        domain: Domain::Choice { names: names!(Construction), default: Construction::Incremental.name() },
        meaning: "How neighbours on level 0 are found: by a search for each point, or in bulk, in groups; bulk is faster.",
    },
    Parameter {
        name: "ef_construction",
        domain: Domain::Number { min: 1, max: 1 << 16, default: 200 },
        meaning: "Candidates kept while a point's neighbours are sought; more is better, slower building.",
    },
    Parameter {
        name: "leaf",
        domain: Domain::Number { min: 64, max: 1 << 16, default: 2000 },
        meaning: "Points in the largest group of bulk construction; more is higher recall, slower building.",
    },
    Parameter {
        name: "m",
        domain: Domain::Number { min: 2, max: 256, default: 16 },
        meaning: "Links per node and upper level; level 0 has 2 m. More is higher recall and more memory.",
    },
    Parameter {
        name: "replicas",
        domain: Domain::Number { min: 1, max: 16, default: 2 },
        meaning: "Times that bulk construction groups all points; more is higher recall, slower building.",
    },
    Parameter {
        name: "rerank_codes",
        domain: Domain::Choice { names: names!(RerankCodes), default: RerankCodes::None.name() },
        meaning: "What the best candidates are scored by in the end: none, or finer than the codes.",
    },
    SEED,
    Parameter {
        name: "sub_dim",
        domain: Domain::Number { min: 0, max: 64, default: 0 },
        meaning: "Components per sub-space of pq4, pq4-blocks and pq8 codes; 0 chooses 2 for the former two, 4 for pq8.",
    },
    THREADS,
];
const HNSW_SEARCH: &[Parameter] = &[
    Parameter {
        name: "ahead",
        domain: Domain::Choice { names: names!(Ahead), default: Ahead::Auto.name() },
        meaning: "What a search of one query asks the memory for ahead; no result depends on it. auto is measured.",
    },
    Parameter {
        name: "ef_search",
        domain: Domain::Number { min: 1, max: (1 << 31) - 1, default: 64 },
        meaning: "Candidates kept during a search; more is higher recall, slower.",
    },
    Parameter {
        name: "interleave",
        domain: Domain::Number { min: 0, max: 8, default: 0 },
        meaning: "Queries of a batch that walk in turns; no result depends on it. 0 leaves it to the index.",
    },
    Parameter {
        name: "layers",
        domain: Domain::Choice { names: names!(Layers), default: Layers::All.name() },
        meaning: "Where a search begins: at the top of all layers, or on the base layer, as if the graph were flat.",
    },
    Parameter {
        name: "patience",
        domain: Domain::Number { min: 0, max: (1 << 31) - 1, default: 0 },
        meaning: "Nodes expanded without a change among the nearest candidates at which a search ends; 0 expands all.",
    },
    Parameter {
        name: "rerank",
        domain: Domain::Number { min: 0, max: (1 << 31) - 1, default: 0 },
        meaning: "Candidates scored anew by the rerank codes, k to ef_search; 0 chooses by k.",
    },
];
const IVF_BUILD: &[Parameter] = &[
    Parameter {
        name: "iterations",
        domain: Domain::Number { min: 0, max: 1_000, default: 10 },
        meaning: "Lloyd iterations of k-means after k-means++ seeding.",
    },
    Parameter {
        name: "nlist",
        domain: Domain::Number { min: 1, max: 1 << 24, default: 1024 },
        meaning: "Inverted lists (k-means centres).",
    },
    SEED,
    THREADS,
];
const IVF_SEARCH: &[Parameter] = &[Parameter {
    name: "nprobe",
    domain: Domain::Number { min: 1, max: 1 << 24, default: 8 },
    meaning: "Lists scanned per query; nlist of them is exact search.",
}];

/// Parameters that came after others had been measured. Their defaults mean what was done before, and what was measured then
/// keeps its key.
const LATER: [(Kind, Phase, &str); 6] = [
    (Kind::Hnsw, Phase::Build, "alpha"),
    (Kind::Hnsw, Phase::Build, "sub_dim"),
    (Kind::Hnsw, Phase::Search, "ahead"),
    (Kind::Hnsw, Phase::Search, "interleave"),
    (Kind::Hnsw, Phase::Search, "layers"),
    (Kind::Hnsw, Phase::Search, "patience"),
];

/// Whether it goes without saying that a parameter has this value.
pub fn goes_without_saying((kind, phase): (Kind, Phase), name: &str, value: &Value) -> bool {
    let parameter = table(kind, phase).iter().find(|known| known.name == name);
    LATER.contains(&(kind, phase, name)) && parameter.is_some_and(|known| known.domain.default_value() == *value)
}

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

impl Domain {
    /// Whether a value is one of these.
    pub fn accepts(&self, value: &Value) -> bool {
        match self {
            Self::Number { min, max, .. } => value.as_u64().is_some_and(|number| (*min..=*max).contains(&number)),
            Self::Choice { names, .. } => value.as_str().is_some_and(|text| names.contains(&text)),
        }
    }

    /// The value when the YAML does not say.
    pub fn default_value(&self) -> Value {
        match *self {
            Self::Number { default, .. } => Value::from(default),
            Self::Choice { default, .. } => Value::from(default),
        }
    }

    /// The choice that a misspelt one probably meant.
    pub fn near_miss(&self, value: &Value) -> Option<&'static str> {
        match *self {
            Self::Number { .. } => None,
            Self::Choice { names, .. } => nearest(value.as_str()?, names.iter().copied()),
        }
    }
}

/// What would have been right: `a whole number from 2 to 256`, `one of f32, f16`.
impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number { min, max, .. } if *max >= u64::MAX >> 1 => write!(f, "a whole number, at least {min}"),
            Self::Number { min, max, .. } => write!(f, "a whole number from {min} to {max}"),
            Self::Choice { names, .. } => write!(f, "one of {}", names.join(", ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use nearlab_index::hnsw::{HnswParams, HnswSearchParams};

    use super::*;

    fn domain(table: &[Parameter], name: &str) -> Domain {
        table.iter().find(|known| known.name == name).unwrap().domain
    }

    #[test]
    fn every_default_is_a_value_and_names_are_sorted_and_unique() {
        for kind in Kind::ALL {
            for phase in [Phase::Build, Phase::Search] {
                let table = table(kind, phase);
                assert!(table.iter().all(|p| p.domain.accepts(&p.domain.default_value())), "{kind} {phase:?}");
                assert!(table.windows(2).all(|pair| pair[0].name < pair[1].name), "{kind} {phase:?}");
            }
        }
    }

    #[test]
    fn what_is_left_out_of_hnsw_is_what_the_index_leaves_out() {
        let index = HnswParams::default();
        for (name, value) in [
            ("alpha", Value::from(index.alpha)),
            ("codes", Value::from(index.codes.name())),
            ("components", Value::from(index.components)),
            ("construction", Value::from(index.construction.name())),
            ("leaf", Value::from(index.leaf)),
            ("replicas", Value::from(index.replicas)),
            ("ef_construction", Value::from(index.ef_construction)),
            ("m", Value::from(index.m)),
            ("rerank_codes", Value::from(index.rerank_codes.name())),
            ("seed", Value::from(index.seed)),
            ("sub_dim", Value::from(index.sub_dim)),
        ] {
            assert_eq!(domain(HNSW_BUILD, name).default_value(), value, "{name}");
        }
        assert_eq!(domain(HNSW_SEARCH, "rerank").default_value(), HnswSearchParams::new(64).rerank);
    }

    #[test]
    fn a_value_of_another_type_or_outside_the_range_is_not_accepted() {
        let m = domain(HNSW_BUILD, "m");
        for value in [Value::from(1), Value::from(257), Value::from(16.5), Value::from("16"), Value::from(-16)] {
            assert!(!m.accepts(&value), "{value}");
        }
        assert_eq!(m.to_string(), "a whole number from 2 to 256");
        assert_eq!(SEED.domain.to_string(), "a whole number, at least 0");
    }

    #[test]
    fn a_choice_takes_its_names_as_they_are_written() {
        let codes = domain(HNSW_BUILD, "codes");
        assert!(["f32", "f16", "sq8", "sq4"].iter().all(|name| codes.accepts(&Value::from(*name))));
        for (value, meant) in [("SQ4", Some("sq4")), ("qs8", Some("sq8")), ("none", None), ("", None)] {
            let value = Value::from(value);
            assert!(!codes.accepts(&value) && codes.near_miss(&value) == meant, "{value}");
        }
        assert!(!codes.accepts(&Value::from(4)) && codes.near_miss(&Value::from(4)).is_none());
        assert_eq!(domain(HNSW_BUILD, "rerank_codes").to_string(), "one of none, sq8, bf16, f16, f32");
    }
}
