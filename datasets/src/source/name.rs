//! `use:` of an experiment: a catalogue name, a path, or files by role.

use std::{fmt, path::PathBuf};

use nearlab_simd::Metric;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, de};

/// What an experiment runs on.
///
/// In YAML either a string (a path if such a file exists, else a name of the catalogue) or a mapping of [`Files`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Source {
    /// A data file with queries (HDF5), or a name of the catalogue.
    Name(String),
    /// One file per role, for formats that hold a single matrix.
    Files(Files),
}

/// Files by role. Relative paths are looked up beside the experiment, then in the current folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Files {
    /// Base vectors: any readable format.
    pub train: PathBuf,
    /// Query vectors: any readable format.
    pub test: PathBuf,
    /// True neighbours (ivecs, ibin, npy): computed when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub neighbors: Option<PathBuf>,
    /// `l2`, `inner_product` or `cosine`.
    #[serde(with = "metric_name")]
    #[schemars(schema_with = "metric_schema")]
    pub metric: Metric,
}

impl Source {
    /// Name for records and file names: the catalogue name, or the file's stem.
    pub fn name(&self) -> String {
        let path = match self {
            Self::Name(name) => PathBuf::from(name),
            Self::Files(files) => files.train.clone(),
        };
        let is_file = matches!(self, Self::Files(_)) || super::Format::of(&path).is_ok();
        let name = if is_file { path.file_stem() } else { path.file_name() };
        name.unwrap_or_default().to_string_lossy().into_owned()
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Files(files) => write!(f, "{}", files.train.display()),
        }
    }
}

impl From<&str> for Source {
    fn from(name: &str) -> Self {
        Self::Name(name.to_owned())
    }
}

impl From<&String> for Source {
    fn from(name: &String) -> Self {
        Self::Name(name.clone())
    }
}

impl From<&Self> for Source {
    fn from(source: &Self) -> Self {
        source.clone()
    }
}

impl From<Files> for Source {
    fn from(files: Files) -> Self {
        Self::Files(files)
    }
}

/// By hand, not `untagged`: that would buffer the input and lose the line and column of errors.
impl<'de> Deserialize<'de> for Source {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Source;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a data set name, a path, or a mapping with `train`, `test` and `metric`")
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<Source, E> {
                if name.is_empty() {
                    return Err(E::invalid_value(de::Unexpected::Str(name), &self));
                }
                Ok(Source::Name(name.to_owned()))
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Source, A::Error> {
                Files::deserialize(de::value::MapAccessDeserializer::new(map)).map(Source::Files)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// Metric from any spelling that files use: `euclidean`, `l2`, `angular`, `cosine`, `ip`, `dot`, `inner_product`.
pub fn metric_of(spelling: &str) -> Option<Metric> {
    match spelling.trim().to_lowercase().as_str() {
        "euclidean" | "l2" => Some(Metric::L2),
        "angular" | "cosine" => Some(Metric::Cosine),
        "ip" | "dot" | "inner_product" | "inner-product" | "innerproduct" => Some(Metric::InnerProduct),
        _ => None,
    }
}

/// Serde's `with` module for a [`Metric`] by name.
pub mod metric_name {
    use nearlab_simd::Metric;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    /// Writes `l2`, `inner_product` or `cosine`.
    pub fn serialize<S: Serializer>(metric: &Metric, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(metric)
    }

    /// Reads what [`serialize`] writes.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Metric, D::Error> {
        let name = String::deserialize(deserializer)?;
        name.parse().map_err(|_| {
            D::Error::custom(format!("unknown metric `{name}`, expected `l2`, `inner_product` or `cosine`"))
        })
    }
}

fn metric_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({"type": "string", "enum": ["l2", "inner_product", "cosine"]})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_string_is_a_name_and_a_mapping_is_files() {
        let name: Source = serde_saphyr::from_str("sift-128-euclidean").unwrap();
        assert_eq!(name, Source::from("sift-128-euclidean"));
        let files: Source = serde_saphyr::from_str("{train: a.fvecs, test: q.fvecs, metric: cosine}").unwrap();
        let Source::Files(files) = files else { panic!("{files:?}") };
        assert_eq!((files.metric, files.neighbors), (Metric::Cosine, None));
    }

    #[test]
    fn errors_keep_their_line_and_column() {
        let error = serde_saphyr::from_str::<Source>("train: a\ntest: b\nmetric: l2\nneighbours: c\n").unwrap_err();
        let message = error.to_string();
        assert!(message.contains("neighbours") && message.contains('4'), "{message}");
        let message = serde_saphyr::from_str::<Source>("train: a\ntest: b\nmetric: l3\n").unwrap_err().to_string();
        assert!(message.contains("unknown metric `l3`"), "{message}");
        assert!(serde_saphyr::from_str::<Source>("[a]").unwrap_err().to_string().contains("a data set name"));
        assert!(serde_saphyr::from_str::<Source>("''").unwrap_err().to_string().contains("a data set name"));
    }

    #[test]
    fn a_source_survives_json() {
        let files =
            Files { train: "a.npy".into(), test: "q.npy".into(), neighbors: None, metric: Metric::InnerProduct };
        for source in [Source::from("x"), Source::from(files)] {
            let json = serde_json::to_string(&source).unwrap();
            assert_eq!(serde_json::from_str::<Source>(&json).unwrap(), source);
        }
    }

    #[test]
    fn names_are_stems_of_files_and_whole_catalogue_names() {
        assert_eq!(Source::from("d/sift-20k.hdf5").name(), "sift-20k");
        assert_eq!(Source::from("dbpedia-ada.002").name(), "dbpedia-ada.002");
        assert_eq!(Source::from(&"x.npy".to_owned()).to_string(), "x.npy");
        let files = Files { train: "b/base.fvecs".into(), test: "q".into(), neighbors: None, metric: Metric::L2 };
        assert_eq!(Source::from(&Source::from(files.clone())).name(), "base");
        assert_eq!(Source::from(files).to_string(), "b/base.fvecs");
    }

    #[test]
    fn every_spelling_of_a_metric_is_known() {
        assert_eq!(metric_of("Euclidean"), Some(Metric::L2));
        assert_eq!(metric_of(" angular "), Some(Metric::Cosine));
        assert_eq!(metric_of("dot"), Some(Metric::InnerProduct));
        assert_eq!(metric_of("hamming"), None);
    }

    #[test]
    fn the_schema_allows_a_string_or_files() {
        let schema = serde_json::to_string(&schemars::schema_for!(Source)).unwrap();
        assert!(schema.contains("\"anyOf\"") && schema.contains("inner_product"), "{schema}");
        assert!(schema.contains("\"additionalProperties\":false"), "{schema}");
    }
}
