//! The JSON Schema of an experiment file: that of the YAML types, with each kind's own parameters.

use nearlab_reports::format;
use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};

use super::{
    model::Kind,
    params::{Domain, Parameter, Phase, table},
    storage::StoreExperiment,
    yaml::Experiment,
};

/// The JSON Schema of an experiment file, for editors; pretty-printed, with a newline at the end.
pub fn schema_json() -> String {
    // One generator, so that what both kinds share is defined once.
    let mut generator = SchemaGenerator::default();
    let (indexes, stores) = (generator.subschema_for::<Experiment>(), generator.subschema_for::<StoreExperiment>());
    let schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "nearlab experiment",
        // A file with the key `stores` is judged as one about stores; every other as one about indexes.
        "if": {"required": ["stores"]},
        "then": stores,
        "else": indexes,
        "$defs": generator.take_definitions(true),
    });
    format!("{schema:#}\n")
}

/// Adds to the schema of an index what each kind allows in `build` and `search`.
pub(super) fn parameters_by_kind(schema: &mut Schema) {
    let branches: Vec<Value> = Kind::ALL.into_iter().map(branch).collect();
    schema.insert("allOf".to_owned(), Value::Array(branches));
}

fn branch(kind: Kind) -> Value {
    let properties = json!({"build": parameters(kind, Phase::Build), "search": parameters(kind, Phase::Search)});
    let mut then = json_schema!({"properties": properties});
    if kind == Kind::External {
        then.insert("required".to_owned(), json!(["worker"]));
    }
    json!({"if": {"properties": {"kind": {"const": kind.as_str()}}}, "then": then})
}

fn parameters(kind: Kind, phase: Phase) -> Value {
    let known: Map<String, Value> =
        table(kind, phase).iter().map(|known| (known.name.to_owned(), parameter(known))).collect();
    json!({"properties": known, "additionalProperties": kind == Kind::External})
}

fn parameter(known: &Parameter) -> Value {
    let default = known.domain.default_value();
    let words = format!("{} {}; {} when left out.", known.meaning, known.domain, format::value(&default));
    match known.domain {
        Domain::Number { .. } => json!({"$ref": "#/$defs/Sweep", "description": words}),
        Domain::Choice { names, .. } => json!({
            "description": words,
            "anyOf": [
                {"enum": names},
                {"type": "array", "items": {"enum": names}, "minItems": 1, "uniqueItems": true},
            ],
        }),
    }
}
