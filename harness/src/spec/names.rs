//! Names, rules and expectations: what must agree with something said elsewhere in the file.

use std::collections::{BTreeMap, BTreeSet};

use nearlab_reports::format;
use serde_json::Value;

use super::{
    error::{Diagnostic, Place},
    expect::{self, Expect},
    located::Located,
    model::{IndexSpec, Sweeps, Workload},
    rule::{FACTS, Rule, RuleError},
    suggest::nearest,
    yaml::{Selector, Selectors},
};

/// Longest name of an index or a workload, in characters.
const LONGEST: usize = 60;

/// Checks that names are printable and that no two of `what` have the same.
pub(super) fn unique<'a>(what: &str, names: impl Iterator<Item = &'a Located<String>>, wrong: &mut Vec<Diagnostic>) {
    let mut seen: BTreeMap<&str, Place> = BTreeMap::new();
    for Located { value, place } in names {
        if value.trim().is_empty() || value.chars().count() > LONGEST || value.chars().any(char::is_control) {
            wrong.push(
                Diagnostic::new(*place, format!("this cannot be the name of {what}"))
                    .expected(format!("1 to {LONGEST} printable characters")),
            );
        }
        if let Some(first) = seen.insert(value, *place) {
            wrong.push(
                Diagnostic::new(*place, format!("the name `{value}` is taken"))
                    .expected(format!(
                        "a name of its own for each {}",
                        what.trim_start_matches("an ").trim_start_matches("a ")
                    ))
                    .found(format!("the same name at line {}, column {}", first.line, first.column)),
            );
        }
    }
}

/// The stretch of the file where characters `at..at + length` of a one-line scalar stand; the scalar's own place if
/// it is written in a way that does not show (escapes, folded lines).
fn inside(yaml: &str, scalar: &Located<String>, at: usize, length: usize) -> Place {
    let Place { line, column, .. } = scalar.place;
    let drawn: Vec<char> = yaml.lines().nth(line.saturating_sub(1)).unwrap_or_default().chars().collect();
    let mut start = column.saturating_sub(1);
    if matches!(drawn.get(start), Some('"' | '\'')) {
        start += 1;
    }
    let same = scalar.value.chars().enumerate().all(|(i, c)| drawn.get(start + i) == Some(&c));
    if same { Place { line, column: start + at + 1, length: length.max(1) } } else { scalar.place }
}

pub(super) fn misread(yaml: &str, scalar: &Located<String>, error: RuleError) -> Diagnostic {
    let diagnostic = Diagnostic::new(inside(yaml, scalar, error.at, error.length), error.message);
    match error.expected {
        Some(expected) => diagnostic.expected(expected),
        None => diagnostic,
    }
}

/// Parses the `require` rules of an index and checks the names in them.
pub(super) fn rules(
    yaml: &str,
    texts: &[Located<String>],
    (build, search): (&Sweeps, &Sweeps),
    wrong: &mut Vec<Diagnostic>,
) -> Vec<Rule> {
    let known: BTreeSet<&str> = build.keys().chain(search.keys()).map(String::as_str).chain(FACTS).collect();
    let mut rules = Vec::new();
    for scalar in texts {
        let rule = match Rule::parse(&scalar.value, scalar.place) {
            Ok(rule) => rule,
            Err(error) => {
                wrong.push(misread(yaml, scalar, error));
                continue;
            }
        };
        for name in rule.names().iter().filter(|name| !known.contains(name.name.as_str())) {
            let place = inside(yaml, scalar, name.at, name.name.chars().count());
            wrong.push(
                Diagnostic::new(place, format!("the rule uses `{}`, which this index does not have", name.name))
                    .expected(format!("one of {}", known.iter().copied().collect::<Vec<_>>().join(", ")))
                    .near_miss(nearest(&name.name, known.iter().copied())),
            );
        }
        rules.push(rule);
    }
    rules
}

/// What an expectation may name.
pub(super) struct Known<'a> {
    pub(super) yaml: &'a str,
    pub(super) indexes: &'a [IndexSpec],
    pub(super) workloads: &'a [Workload],
    pub(super) k: &'a [usize],
}

/// Parses an `expect` rule and checks that its selectors pick rows that the experiment measures.
pub(super) fn expectations(
    rule: &Located<String>,
    selectors: &Selectors,
    known: &Known<'_>,
    wrong: &mut Vec<Diagnostic>,
) -> Vec<Expect> {
    let condition = match expect::parse(&rule.value) {
        Ok(condition) => condition,
        Err(error) => {
            wrong.push(misread(known.yaml, rule, error));
            return Vec::new();
        }
    };
    if let Some(k) = condition.k
        && !known.k.is_empty()
        && !known.k.contains(&k)
    {
        wrong.push(Diagnostic::new(rule.place, format!("recall at {k} is not measured")).expected(one_of(known.k)));
    }
    let selectors = match selectors {
        Selectors::One(selector) => std::slice::from_ref(selector),
        Selectors::Several(several) => several.as_slice(),
    };
    if selectors.is_empty() {
        wrong.push(Diagnostic::new(rule.place, "this rule speaks of no rows").expected("at least one {index: ...}"));
    }
    let mut expectations = Vec::new();
    for selector in selectors {
        let before = wrong.len();
        check_selector(selector, condition.k, known, wrong);
        if wrong.len() == before {
            expectations.push(Expect {
                text: format!("{} ({})", rule.value, describe(selector)),
                place: rule.place,
                metric: condition.metric.clone(),
                comparison: condition.comparison,
                value: condition.value,
                index: selector.index.value.clone(),
                workload: selector.workload.as_ref().map(|name| name.value.clone()),
                k: condition.k.or(selector.k.as_ref().map(|k| k.value as usize)),
                threads: selector.threads.as_ref().map(|threads| threads.value as usize),
                at: selector.at.0.iter().map(|(name, value)| (name.value.clone(), value.value.0.clone())).collect(),
            });
        }
    }
    expectations
}

fn check_selector(selector: &Selector, rule_k: Option<usize>, known: &Known<'_>, wrong: &mut Vec<Diagnostic>) {
    let name = &selector.index.value;
    match known.indexes.iter().find(|index| index.name == *name) {
        Some(index) => check_at(selector, index, wrong),
        None => wrong.push(no_such("index", &selector.index, known.indexes.iter().map(|index| index.name.as_str()))),
    }
    if let Some(workload) = &selector.workload
        && !known.workloads.iter().any(|candidate| candidate.name == workload.value)
    {
        wrong.push(no_such("workload", workload, known.workloads.iter().map(|workload| workload.name.as_str())));
    }
    if let Some(k) = &selector.k {
        let k_in_rule = rule_k.is_none_or(|rule_k| rule_k as u64 == k.value);
        if !k_in_rule || !known.k.iter().any(|&measured| measured as u64 == k.value) {
            let expected = rule_k.map_or_else(|| one_of(known.k), |k| format!("{k}, as in the rule"));
            wrong
                .push(Diagnostic::new(k.place, "this k is not measured").expected(expected).found(k.value.to_string()));
        }
    }
    if let Some(threads) = &selector.threads {
        let counts: Vec<usize> = known.workloads.iter().flat_map(|workload| workload.threads.iter().copied()).collect();
        if !counts.iter().any(|&count| count as u64 == threads.value) {
            wrong.push(
                Diagnostic::new(threads.place, "no workload has so many threads")
                    .expected(one_of(&counts))
                    .found(threads.value.to_string()),
            );
        }
    }
}

fn check_at(selector: &Selector, index: &IndexSpec, wrong: &mut Vec<Diagnostic>) {
    for (name, wanted) in &selector.at.0 {
        let sweep = index.search.get(&name.value).or_else(|| index.build.get(&name.value));
        let Some(values) = sweep else {
            let names = index.build.keys().chain(index.search.keys()).map(String::as_str);
            wrong.push(no_such("parameter", name, names));
            continue;
        };
        // A sweep without values has been refused already, and so has a name whose value is null.
        let refused = values.is_empty() || values.contains(&Value::Null);
        if !refused && !values.contains(&wanted.value.0) {
            let listed: Vec<String> = values.iter().map(ToString::to_string).collect();
            let texts = values.iter().filter_map(Value::as_str);
            wrong.push(
                Diagnostic::new(wanted.place, format!("the sweep of `{}` does not have this value", name.value))
                    .expected(format!("one of {}", listed.join(", ")))
                    .found(wanted.value.0.to_string())
                    .near_miss(wanted.value.0.as_str().and_then(|text| nearest(text, texts))),
            );
        }
    }
}

/// An error about a name that something else in the file should have.
pub(super) fn no_such<'a>(
    what: &str,
    name: &Located<String>,
    known: impl Iterator<Item = &'a str> + Clone,
) -> Diagnostic {
    let listed: Vec<&str> = known.clone().collect();
    Diagnostic::new(name.place, format!("there is no {what} `{}` in this experiment", name.value))
        .expected(if listed.is_empty() { "nothing".to_owned() } else { format!("one of {}", listed.join(", ")) })
        .near_miss(nearest(&name.value, known))
}

fn one_of(numbers: &[usize]) -> String {
    format!("one of {}", numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))
}

fn describe(selector: &Selector) -> String {
    let mut parts = vec![format!("index {}", selector.index.value)];
    parts.extend(selector.workload.iter().map(|name| format!("workload {}", name.value)));
    parts.extend(selector.k.iter().map(|k| format!("k {}", k.value)));
    parts.extend(selector.threads.iter().map(|threads| format!("threads {}", threads.value)));
    parts.extend(selector.at.0.iter().map(|(name, value)| format!("{} {}", name.value, format::value(&value.value.0))));
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::spec::{Surroundings, parse};

    #[test]
    fn a_name_that_was_refused_is_drawn_once_whoever_uses_it() {
        // The sweep, a rule and an expectation have the name; only the sweep is to blame.
        let yaml = include_str!("../../tests/fixtures/small.yaml").replace("ef_search", "ef_serach");
        let error = parse(Path::new("bad.yaml"), &yaml, &Surroundings::of_process()).unwrap_err();
        assert_eq!(error.diagnostics().len(), 1, "{error}");
        assert!(error.to_string().contains("did you mean `ef_search`"), "{error}");
    }
}
