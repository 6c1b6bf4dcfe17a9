//! From a trial's parameters by name to an index's own parameter types: [`Configure`], and what it is written with.
//!
//! The plan has already checked names and ranges; a worker is also started by hand, so nothing is trusted here.

use nearlab_index::{
    Build,
    flat::{Flat, FlatParams, FlatSearchParams},
    hnsw::{Ahead, Construction, Hnsw, HnswParams, HnswSearchParams, Layers, RerankCodes, TraversalCodes},
    ivf::{Ivf, IvfParams, IvfSearchParams},
};
use nearlab_reports::record::Params;

/// Why parameters are refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParamsError {
    /// A required parameter is absent.
    #[error("parameter `{0}` is missing")]
    Missing(&'static str),
    /// A parameter is not a whole number.
    #[error("parameter `{name}` must be a whole number, found {found}")]
    NotANumber {
        /// Its name.
        name: &'static str,
        /// The value as JSON.
        found: String,
    },
    /// A parameter is none of the texts that it may be.
    #[error("parameter `{name}` must be one of {expected}, found {found}")]
    NotAChoice {
        /// Its name.
        name: &'static str,
        /// The texts, in a row.
        expected: String,
        /// The value as JSON.
        found: String,
    },
    /// A parameter that this index does not have.
    #[error("there is no parameter `{name}`; known: {known}")]
    Unknown {
        /// The name given.
        name: String,
        /// The names there are.
        known: String,
    },
}

/// An index that can be built and searched from parameters by name.
pub trait Configure: Build {
    /// Build parameters.
    fn build_params(params: &Params, seed: u64) -> Result<Self::Params, ParamsError>;
    /// Search parameters.
    fn search_params(params: &Params) -> Result<Self::SearchParams, ParamsError>;
}

impl Configure for Flat {
    fn build_params(params: &Params, _seed: u64) -> Result<FlatParams, ParamsError> {
        known(params, &[])?;
        Ok(FlatParams::default())
    }

    fn search_params(params: &Params) -> Result<FlatSearchParams, ParamsError> {
        known(params, &[])?;
        Ok(FlatSearchParams::default())
    }
}

impl Configure for Hnsw {
    fn build_params(params: &Params, seed: u64) -> Result<HnswParams, ParamsError> {
        known(
            params,
            &[
                "m",
                "ef_construction",
                "alpha",
                "codes",
                "components",
                "sub_dim",
                "rerank_codes",
                "construction",
                "replicas",
                "leaf",
            ],
        )?;
        let defaults = HnswParams::default();
        let codes = TraversalCodes::ALL.map(|codes| (codes.name(), codes));
        let rerank_codes = RerankCodes::ALL.map(|codes| (codes.name(), codes));
        let construction = Construction::ALL.map(|construction| (construction.name(), construction));
        Ok(HnswParams {
            m: optional(params, "m")?.unwrap_or(defaults.m),
            ef_construction: optional(params, "ef_construction")?.unwrap_or(defaults.ef_construction),
            codes: choice(params, "codes", &codes)?.unwrap_or(defaults.codes),
            components: optional(params, "components")?.unwrap_or(defaults.components),
            sub_dim: optional(params, "sub_dim")?.unwrap_or(defaults.sub_dim),
            rerank_codes: choice(params, "rerank_codes", &rerank_codes)?.unwrap_or(defaults.rerank_codes),
            construction: choice(params, "construction", &construction)?.unwrap_or(defaults.construction),
            replicas: optional(params, "replicas")?.unwrap_or(defaults.replicas),
            alpha: optional(params, "alpha")?.unwrap_or(defaults.alpha),
            leaf: optional(params, "leaf")?.unwrap_or(defaults.leaf),
            seed,
            ..defaults
        })
    }

    fn search_params(params: &Params) -> Result<HnswSearchParams, ParamsError> {
        known(params, &["ahead", "ef_search", "interleave", "layers", "patience", "rerank"])?;
        let ahead = Ahead::ALL.map(|ahead| (ahead.name(), ahead));
        let layers = Layers::ALL.map(|layers| (layers.name(), layers));
        Ok(HnswSearchParams {
            rerank: optional(params, "rerank")?.unwrap_or_default(),
            patience: optional(params, "patience")?.unwrap_or_default(),
            interleave: optional(params, "interleave")?.unwrap_or_default(),
            ahead: choice(params, "ahead", &ahead)?.unwrap_or_default(),
            layers: choice(params, "layers", &layers)?.unwrap_or_default(),
            ..HnswSearchParams::new(required(params, "ef_search")?)
        })
    }
}

impl Configure for Ivf {
    fn build_params(params: &Params, seed: u64) -> Result<IvfParams, ParamsError> {
        known(params, &["nlist", "iterations"])?;
        let defaults = IvfParams::default();
        Ok(IvfParams {
            nlist: required(params, "nlist")?,
            iterations: optional(params, "iterations")?.unwrap_or(defaults.iterations),
            seed,
            ..defaults
        })
    }

    fn search_params(params: &Params) -> Result<IvfSearchParams, ParamsError> {
        known(params, &["nprobe"])?;
        Ok(IvfSearchParams { nprobe: required(params, "nprobe")? })
    }
}

/// Refuses names that are none of `names`.
pub fn known(params: &Params, names: &[&'static str]) -> Result<(), ParamsError> {
    let unknown = params.keys().find(|name| !names.contains(&name.as_str()));
    unknown.map_or(Ok(()), |name| {
        let known = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        Err(ParamsError::Unknown { name: name.clone(), known })
    })
}

/// A whole number, where it is given.
pub fn optional(params: &Params, name: &'static str) -> Result<Option<usize>, ParamsError> {
    let Some(value) = params.get(name) else { return Ok(None) };
    let number = value.as_u64().and_then(|number| usize::try_from(number).ok());
    number.map(Some).ok_or_else(|| ParamsError::NotANumber { name, found: value.to_string() })
}

/// The value that a text stands for, where one is given.
pub fn choice<T: Copy>(params: &Params, name: &'static str, all: &[(&str, T)]) -> Result<Option<T>, ParamsError> {
    let Some(value) = params.get(name) else { return Ok(None) };
    let chosen = all.iter().find(|(text, _)| value.as_str() == Some(text)).map(|&(_, choice)| choice);
    chosen.map(Some).ok_or_else(|| {
        let expected = all.iter().map(|&(text, _)| text).collect::<Vec<_>>().join(", ");
        ParamsError::NotAChoice { name, expected, found: value.to_string() }
    })
}

/// A whole number that must be given.
pub fn required(params: &Params, name: &'static str) -> Result<usize, ParamsError> {
    optional(params, name)?.ok_or(ParamsError::Missing(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(pairs: &[(&str, serde_json::Value)]) -> Params {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
    }

    #[test]
    fn numbers_are_read_by_name() {
        let hnsw = Hnsw::build_params(&params(&[("m", 8.into()), ("ef_construction", 50.into())]), 7).unwrap();
        assert_eq!((hnsw.m, hnsw.ef_construction, hnsw.seed), (8, 50, 7));
        assert_eq!(Ivf::search_params(&params(&[("nprobe", 3.into())])).unwrap().nprobe, 3);
        assert_eq!(Hnsw::search_params(&params(&[("ef_search", 9.into())])).unwrap(), HnswSearchParams::new(9));
        let searched =
            Hnsw::search_params(&params(&[("ef_search", 9.into()), ("patience", 7.into()), ("rerank", 5.into())]))
                .unwrap();
        assert_eq!((searched.ef_search, searched.rerank, searched.patience), (9, 5, 7));
        assert!(Flat::search_params(&Params::new()).is_ok());
    }

    #[test]
    fn texts_are_read_as_the_index_names_them() {
        for codes in TraversalCodes::ALL {
            let hnsw = Hnsw::build_params(
                &params(&[("codes", codes.name().into()), ("components", 8.into()), ("sub_dim", 3.into())]),
                1,
            );
            assert_eq!(hnsw.map(|hnsw| (hnsw.codes, hnsw.components, hnsw.sub_dim)), Ok((codes, 8, 3)));
        }
        for codes in RerankCodes::ALL {
            let hnsw = Hnsw::build_params(&params(&[("rerank_codes", codes.name().into())]), 1);
            assert_eq!(hnsw.map(|hnsw| hnsw.rerank_codes), Ok(codes));
        }
        assert_eq!(Hnsw::build_params(&Params::new(), 1), Ok(HnswParams::default()));
        for (value, found) in [("sq5".into(), "\"sq5\""), (4.into(), "4"), ("F32".into(), "\"F32\"")] {
            let error = Hnsw::build_params(&params(&[("codes", value)]), 1).unwrap_err();
            let expected = format!(
                "parameter `codes` must be one of f32, f16, bf16, sq8, sq4, lvq4, lvq8, sq8-dim, rabitq1, rabitq2, rabitq3, rabitq4, rabitq5, rabitq6, rabitq7, rabitq8, pq4, pq8, pq4-blocks, found {found}"
            );
            assert_eq!(error.to_string(), expected);
        }
    }

    #[test]
    fn what_is_missing_misspelt_or_mistyped_is_named() {
        let text = |error: ParamsError| error.to_string();
        assert_eq!(text(Hnsw::search_params(&Params::new()).unwrap_err()), "parameter `ef_search` is missing");
        let misspelt = params(&[("efsearch", 3.into())]);
        assert_eq!(
            text(Hnsw::search_params(&misspelt).unwrap_err()),
            "there is no parameter `efsearch`; known: ahead, ef_search, interleave, layers, patience, rerank"
        );
        let mistyped = params(&[("nlist", "many".into())]);
        let found = text(Ivf::build_params(&mistyped, 1).unwrap_err());
        assert_eq!(found, "parameter `nlist` must be a whole number, found \"many\"");
        let extra = params(&[("m", 3.into())]);
        assert_eq!(text(Flat::build_params(&extra, 1).unwrap_err()), "there is no parameter `m`; known: none");
    }
}
