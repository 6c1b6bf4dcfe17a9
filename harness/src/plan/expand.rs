//! The product of the sweeps, judged by the rules.

use std::collections::{BTreeMap, BTreeSet};

use nearlab_datasets::FilterOptions;
use nearlab_index::hnsw::RerankCodes;
use nearlab_reports::record::Params;
use serde_json::Value;

use super::{Facts, Plan, PlannedSearch, PlannedTrial, RejectedPoint, cost, hash, impossible, order, own_parameters};
use crate::spec::{Diagnostic, IndexSpec, Kind, Operand, Phase, Rule, Spec, SpecError, Sweeps, goes_without_saying};

/// Most measurements of one experiment: beyond it the file does not say what its author meant.
const MOST: u64 = 1_000_000;

/// Expands an experiment. The error is a rule that cannot be judged, an index of which no point is left (an impossible
/// `require`), or a sweep beyond all measure; it is drawn at its place in the file.
pub fn expand(spec: &Spec, facts: &Facts) -> Result<Plan, SpecError> {
    let mut expansion = Expansion { spec, facts, trials: Vec::new(), rejected: Vec::new(), deferred: BTreeSet::new() };
    let mut wrong = Vec::new();
    measurable(spec)
        .and_then(|()| matchable(spec, facts))
        .map_err(|diagnostic| SpecError::invalid(&spec.path, &spec.yaml, vec![diagnostic]))?;
    for index in &spec.indexes {
        let (trials, rejected) = (expansion.trials.len(), expansion.rejected.len());
        match expansion.index(index) {
            Err(diagnostic) => wrong.push(*diagnostic),
            Ok(()) if expansion.trials.len() == trials => {
                wrong.push(nothing_left(index, &expansion.rejected[rejected..]));
            }
            Ok(()) => {}
        }
    }
    if !wrong.is_empty() {
        return Err(SpecError::invalid(&spec.path, &spec.yaml, wrong));
    }
    let Expansion { mut trials, rejected, deferred, .. } = expansion;
    order::arrange(&mut trials, spec.measure.order, spec.measure.seed);
    let warnings = warnings(spec, &trials);
    Ok(Plan {
        spec_hash: hash::plan(&trials, &spec.measure),
        trials,
        rejected,
        deferred,
        warnings,
        order: spec.measure.order,
    })
}

/// What is legal but probably a mistake.
fn warnings(spec: &Spec, trials: &[PlannedTrial]) -> Vec<String> {
    let mut warnings = spec.warnings.clone();
    for index in spec.indexes.iter().filter(|index| index.kind == Kind::Hnsw) {
        let trials = || trials.iter().filter(|trial| trial.index == index.name);
        if trials().any(raises_ef_search) {
            warnings.push(format!(
                "{}: the index raises an ef_search below k to k, so such points are all the same; require \"ef_search >= k\"",
                index.name
            ));
        }
        if trials().any(reranks_nothing) {
            warnings.push(format!(
                "{}: without rerank codes rerank changes nothing, so such points are all the same; require \"rerank == 0 or rerank_codes != 'none'\"",
                index.name
            ));
        }
    }
    for expect in &spec.expect {
        let selected = |trial: &PlannedTrial| trial.searches.iter().any(|search| expect.selects(&trial.row(search)));
        if !trials.iter().any(selected) {
            warnings.push(format!("expect: no point left speaks to `{}`, so it cannot be met", expect.text));
        }
    }
    warnings
}

fn raises_ef_search(trial: &PlannedTrial) -> bool {
    let raised = |search: &PlannedSearch| {
        search.params.get("ef_search").and_then(Value::as_u64).is_some_and(|ef_search| ef_search < search.k as u64)
    };
    trial.searches.iter().any(raised)
}

fn reranks_nothing(trial: &PlannedTrial) -> bool {
    let asked = |search: &PlannedSearch| search.params.get("rerank").and_then(Value::as_u64) > Some(0);
    let codes = trial.build.get("rerank_codes").and_then(Value::as_str);
    codes == Some(RerankCodes::None.name()) && trial.searches.iter().any(asked)
}

/// Refuses a product of sweeps beyond [`MOST`] before any of it is built.
fn measurable(spec: &Spec) -> Result<(), Diagnostic> {
    let product =
        |sweeps: &Sweeps| sweeps.values().fold(1_u64, |points, values| points.saturating_mul(values.len() as u64));
    let runs: u64 =
        spec.workloads.iter().map(|workload| (workload.threads.len() * workload.filters.len().max(1)) as u64).sum();
    let each = runs.saturating_mul(u64::from(spec.measure.repeats)).saturating_mul(spec.k.len() as u64);
    let mut total = 0_u64;
    for index in &spec.indexes {
        total = total.saturating_add(product(&index.build).saturating_mul(product(&index.search)).saturating_mul(each));
        if total > MOST {
            return Err(Diagnostic::new(index.place, "the sweeps mean too many measurements")
                .expected(format!("at most {MOST} in one experiment"))
                .found(format!("{total} up to and with this index")));
        }
    }
    Ok(())
}

/// Refuses a selectivity that admits no vector of the base.
fn matchable(spec: &Spec, facts: &Facts) -> Result<(), Diagnostic> {
    let Some(n) = facts.n else { return Ok(()) };
    for workload in &spec.workloads {
        if let Some(filter) = workload.filters.iter().find(|filter| filter.matches(n as usize) == 0) {
            let share = filter.selectivity;
            return Err(Diagnostic::new(workload.place, format!("no vector matches at selectivity {share}"))
                .expected(format!("at least 1 match: a selectivity of {} or more", 1.0 / n as f64))
                .found(format!("{share} of {n} base vectors")));
        }
    }
    Ok(())
}

fn nothing_left(index: &IndexSpec, rejected: &[RejectedPoint]) -> Diagnostic {
    let mut by_rule: BTreeMap<&str, u64> = BTreeMap::new();
    for point in rejected {
        *by_rule.entry(&point.rule).or_default() += point.points;
    }
    let worst = by_rule.iter().max_by_key(|(_, points)| **points).map(|(rule, _)| *rule);
    let found: Vec<String> = by_rule.iter().map(|(rule, points)| format!("{points} by `{rule}`")).collect();
    let found = format!("every point rejected: {}", found.join(", "));
    let left = format!("no point of `{}` is left", index.name);
    match index.require.iter().find(|rule| Some(rule.text.as_str()) == worst) {
        Some(rule) => Diagnostic::new(rule.place, format!("impossible require: {left}"))
            .expected("rules that at least one point of the sweep obeys")
            .found(found),
        None => Diagnostic::new(index.place, left)
            .expected("parameters that the index can combine in at least one point")
            .found(found),
    }
}

/// Every combination of a sweep's values, the last name varying fastest.
fn product(sweeps: &Sweeps) -> Vec<Params> {
    let mut points = vec![Params::new()];
    for (name, values) in sweeps {
        let with = |point: &Params, value: &Value| {
            let mut point = point.clone();
            point.insert(name.clone(), value.clone());
            point
        };
        points = points.iter().flat_map(|point| values.iter().map(move |value| with(point, value))).collect();
    }
    points
}

/// A build or a search point without what goes without saying.
fn said(index: &IndexSpec, phase: Phase, params: &Params) -> Params {
    let sweeps = if phase == Phase::Build { &index.build } else { &index.search };
    let mut said = params.clone();
    said.retain(|name, value| sweeps[name].len() > 1 || !goes_without_saying((index.kind, phase), name, value));
    said
}

/// What the rules look at: a build, and a search point of it unless the build alone is judged.
struct Point<'a> {
    build: &'a Params,
    search: Option<(&'a Params, usize)>,
    facts: &'a Facts,
}

impl Point<'_> {
    fn lookup(&self, name: &str) -> Operand {
        let size = |size: Option<u64>| size.map_or(Operand::Unknown, |size| Operand::Number(size as f64));
        let search = self.search.and_then(|(params, _)| params.get(name));
        match (search.or_else(|| self.build.get(name)), name) {
            (Some(value), _) => Operand::of(value),
            (None, "k") => size(self.search.map(|(_, k)| k as u64)),
            (None, "n") => size(self.facts.n),
            (None, "d") => size(self.facts.d),
            (None, _) => Operand::Unknown,
        }
    }

    /// Why the index could not do it, whatever the rules say.
    fn impossible(&self, kind: Kind) -> Option<String> {
        match self.search {
            None => impossible::build(kind, self.build, self.facts),
            Some(search) => impossible::search(kind, self.build, search, self.facts),
        }
    }
}

enum Verdict {
    Kept,
    Rejected(String),
}

struct Expansion<'a> {
    spec: &'a Spec,
    facts: &'a Facts,
    trials: Vec<PlannedTrial>,
    rejected: Vec<RejectedPoint>,
    deferred: BTreeSet<String>,
}

impl Expansion<'_> {
    fn index(&mut self, index: &IndexSpec) -> Result<(), Box<Diagnostic>> {
        let searches = product(&index.search);
        let points = (searches.len() * self.spec.k.len()) as u64;
        for build in product(&index.build) {
            if let Verdict::Rejected(rule) = self.judge(index, &build, None)? {
                let params = said(index, Phase::Build, &build);
                let index = index.name.clone();
                self.rejected.push(RejectedPoint { index, params, search: None, k: None, rule, points });
                continue;
            }
            self.build(index, &build, &searches)?;
        }
        Ok(())
    }

    fn build(&mut self, index: &IndexSpec, build: &Params, searches: &[Params]) -> Result<(), Box<Diagnostic>> {
        let mut kept = Vec::new();
        for &k in &self.spec.k {
            for search in searches {
                match self.judge(index, build, Some((search, k)))? {
                    Verdict::Kept => kept.push((search, k)),
                    Verdict::Rejected(rule) => self.rejected.push(RejectedPoint {
                        index: index.name.clone(),
                        params: said(index, Phase::Build, build),
                        search: Some(said(index, Phase::Search, search)),
                        k: Some(k),
                        rule,
                        points: 1,
                    }),
                }
            }
        }
        if kept.is_empty() {
            return Ok(());
        }
        let of = |name: &str| build.get(name).and_then(Value::as_u64).unwrap_or(1);
        let mut trial = PlannedTrial {
            hash: String::new(),
            index: index.name.clone(),
            kind: index.kind,
            worker: index.worker.clone(),
            worker_version: self.facts.worker_versions.get(&index.name).cloned(),
            build: own_parameters(&said(index, Phase::Build, build)),
            threads: of("threads") as usize,
            seed: of("seed"),
            searches: Vec::new(),
            cost: cost::Cost::default(),
            written: self.trials.len(),
        };
        trial.hash = hash::trial(&trial, self.facts);
        trial.cost = cost::build(&trial, self.facts);
        for (search, k) in kept {
            self.measurements(&mut trial, &said(index, Phase::Search, search), k);
        }
        self.trials.push(trial);
        Ok(())
    }

    fn measurements(&self, trial: &mut PlannedTrial, params: &Params, k: usize) {
        let measure = &self.spec.measure;
        for workload in &self.spec.workloads {
            // Without filters there is one way to ask: without one.
            let with = workload.filters.iter().copied().map(Some);
            let filters: Vec<Option<FilterOptions>> =
                if workload.filters.is_empty() { vec![None] } else { with.collect() };
            let each =
                filters.iter().flat_map(|&filter| workload.threads.iter().map(move |&threads| (filter, threads)));
            for ((filter, threads), repeat) in
                each.flat_map(|one| (0..measure.repeats).map(move |repeat| (one, repeat)))
            {
                let mut search = PlannedSearch {
                    key: String::new(),
                    params: params.clone(),
                    k,
                    workload: workload.name.clone(),
                    mode: workload.mode,
                    filter,
                    threads,
                    repeat,
                    order: 0,
                    seconds: None,
                    written: trial.searches.len(),
                };
                search.seconds = cost::search(trial, &search, 1 + measure.warmup, self.facts);
                search.key = hash::search(&search, (trial.kind, &trial.hash), measure.warmup);
                trial.searches.push(search);
            }
        }
    }

    fn judge(
        &mut self,
        index: &IndexSpec,
        build: &Params,
        search: Option<(&Params, usize)>,
    ) -> Result<Verdict, Box<Diagnostic>> {
        let point = Point { build, search, facts: self.facts };
        if let Some(reason) = point.impossible(index.kind) {
            return Ok(Verdict::Rejected(reason));
        }
        let mut open: Vec<&Rule> = Vec::new();
        for rule in &index.require {
            match rule.judge(&|name| point.lookup(name)) {
                Ok(Some(true)) => {}
                Ok(Some(false)) => return Ok(Verdict::Rejected(rule.text.clone())),
                Ok(None) => open.push(rule),
                Err(message) => {
                    return Err(Box::new(Diagnostic::new(rule.place, message).found(format!("`{}`", rule.text))));
                }
            }
        }
        if search.is_some() {
            self.deferred.extend(open.iter().map(|rule| format!("{}: {}", index.name, rule.text)));
        }
        Ok(Verdict::Kept)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::spec::{Surroundings, parse};

    #[test]
    fn an_expectation_may_name_what_goes_without_saying() {
        for at in
            ["patience: 0", "sub_dim: 0", "alpha: 100", "ahead: auto", "interleave: 0", "layers: all", "rerank: 0"]
        {
            let yaml = include_str!("../../tests/fixtures/small.yaml").replace("at: {", &format!("at: {{{at}, "));
            let spec = parse(Path::new("x.yaml"), &yaml, &Surroundings::of_process()).unwrap();
            let plan = expand(&spec, &Facts::default()).unwrap();
            assert_eq!(plan.warnings, Vec::<String>::new(), "{at}");
        }
    }
}
