//! From the YAML to a [`Spec`]: defaults filled in, sweeps spelled out, every mistake of meaning collected.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{
    error::{Diagnostic, Place},
    located::{Entries, Located},
    model::{DatasetSource, DatasetSpec, IndexSpec, Kind, Mode, QuerySplit, Spec, Sweeps},
    names::{self, Known},
    params::{Phase, table},
    paths::{Surroundings, is_path},
    rule::{FACTS, RuleError},
    suggest::nearest,
    sweep::Sweep,
    yaml,
};

/// Largest k.
const MOST_K: u64 = 1_000_000;

/// What every step needs: where paths are looked up, and where mistakes go.
pub(super) struct Resolver<'a> {
    folder: PathBuf,
    text: &'a str,
    surroundings: &'a Surroundings<'a>,
    pub(super) wrong: Vec<Diagnostic>,
}

/// Resolves an experiment, or says everything that is wrong with it.
pub(super) fn resolve(
    path: &Path,
    text: &str,
    experiment: yaml::Experiment,
    surroundings: &Surroundings<'_>,
) -> Result<Spec, Vec<Diagnostic>> {
    let mut resolver = Resolver::new(path, text, surroundings);
    let question = resolver.question(&experiment.question);
    let dataset = resolver.dataset(&experiment.dataset, experiment.question.place);
    let k = resolver.whole_numbers("k", &experiment.k, 1..=MOST_K);
    let indexes = resolver.indexes(&experiment.indexes);
    let workloads = resolver.workloads(&experiment.workloads);
    let measure = resolver.measure(&experiment.measure);
    if let Some(baseline) = &experiment.baseline
        && !indexes.iter().any(|index| index.name == baseline.value)
    {
        let error = names::no_such("index", baseline, indexes.iter().map(|index| index.name.as_str()));
        resolver.wrong.push(error);
    }
    let profile = resolver.profile(&experiment.profile);
    let known = Known { yaml: text, indexes: &indexes, workloads: &workloads, k: &k };
    let mut expect = Vec::new();
    for (rule, selectors) in &experiment.expect.0 {
        expect.extend(names::expectations(rule, selectors, &known, &mut resolver.wrong));
    }
    let gate = experiment.gate.and_then(|gate| resolver.path(&gate.baseline));
    let yaml::SearchPolicy::Grid = experiment.search_policy;
    if !resolver.wrong.is_empty() {
        return Err(resolver.wrong);
    }
    let (Some(dataset), Some(measure)) = (dataset, measure) else { return Err(resolver.wrong) };
    let mut warnings = Vec::new();
    if measure.repeats == 1 {
        warnings.push("measure.repeats is 1: the report cannot show a spread".to_owned());
    }
    if workloads.iter().any(|workload| workload.mode == Mode::Filtered)
        && !indexes.iter().any(|index| index.kind == Kind::Flat)
    {
        let words = "a filtered workload without an index of kind flat: the report cannot say what an exact scan of the matches takes";
        warnings.push(words.to_owned());
    }
    Ok(Spec {
        path: path.to_owned(),
        name: path.file_stem().map_or_else(|| "experiment".to_owned(), |stem| stem.to_string_lossy().into_owned()),
        yaml: text.to_owned(),
        question,
        analysis: experiment.analysis,
        dataset,
        k,
        indexes,
        workloads,
        measure,
        baseline: experiment.baseline.map(|name| name.value),
        profile,
        expect,
        gate,
        warnings,
    })
}

impl<'a> Resolver<'a> {
    /// For the experiment `text` that stands at `path`.
    pub(super) fn new(path: &Path, text: &'a str, surroundings: &'a Surroundings<'a>) -> Self {
        let folder = path.parent().unwrap_or(Path::new("")).to_owned();
        Self { folder, text, surroundings, wrong: Vec::new() }
    }

    /// A rule that cannot be read.
    pub(super) fn misread(&mut self, rule: &Located<String>, error: RuleError) {
        self.wrong.push(names::misread(self.text, rule, error));
    }
}

impl Resolver<'_> {
    pub(super) fn question(&mut self, question: &Located<String>) -> String {
        if question.value.trim().is_empty() {
            self.wrong.push(Diagnostic::new(question.place, "the question is empty").expected("a question in prose"));
        }
        question.value.trim().to_owned()
    }

    pub(super) fn path(&mut self, text: &Located<String>) -> Option<PathBuf> {
        if text.value.trim().is_empty() {
            self.wrong.push(Diagnostic::new(text.place, "the path is empty"));
            return None;
        }
        match self.surroundings.expand(&text.value, text.place) {
            Ok(expanded) => Some(self.surroundings.locate(&self.folder, &expanded)),
            Err(diagnostic) => {
                self.wrong.push(diagnostic);
                None
            }
        }
    }

    pub(super) fn dataset(&mut self, dataset: &yaml::Dataset, fallback: Place) -> Option<DatasetSpec> {
        const FORMS: &str = "`use: name or file`, or `train: file` and `test: file`";
        let named = [&dataset.source, &dataset.train, &dataset.test, &dataset.neighbors];
        let place = named.into_iter().flatten().next().map_or(fallback, |text| text.place);
        let source = match (&dataset.source, &dataset.train, &dataset.test) {
            (Some(text), None, None) if dataset.neighbors.is_none() => self.named(text),
            (None, Some(train), Some(test)) => {
                let (train, test) = (self.path(train), self.path(test));
                let neighbors = dataset.neighbors.as_ref().and_then(|text| self.path(text));
                train.zip(test).map(|(train, test)| DatasetSource::Files { train, test, neighbors })
            }
            _ => {
                self.wrong.push(Diagnostic::new(place, "`dataset` does not say which data").expected(FORMS));
                None
            }
        };
        let limit = dataset.limit.as_ref().and_then(|limit| self.within("limit", limit, 1..=u64::MAX >> 1));
        let queries = dataset.queries.as_ref().and_then(|queries| {
            let report = self.within("report", &queries.report, 1..=u64::MAX >> 1)?;
            Some(QuerySplit { report: report as usize, calibrate: queries.calibrate as usize, seed: queries.seed })
        });
        let metric = dataset.metric.map(|metric| match metric {
            yaml::Metric::L2 => "l2".to_owned(),
            yaml::Metric::InnerProduct => "inner_product".to_owned(),
            yaml::Metric::Cosine => "cosine".to_owned(),
        });
        Some(DatasetSpec { source: source?, limit: limit.map(|limit| limit as usize), queries, metric, place })
    }

    fn named(&mut self, text: &Located<String>) -> Option<DatasetSource> {
        let written = text.value.trim();
        if is_path(written) || written.is_empty() || written.contains("${") {
            return self.path(text).map(|path| DatasetSource::Use(path.to_string_lossy().into_owned()));
        }
        Some(DatasetSource::Use(written.to_owned()))
    }

    pub(super) fn within(
        &mut self,
        name: &str,
        number: &Located<u64>,
        range: std::ops::RangeInclusive<u64>,
    ) -> Option<u64> {
        if range.contains(&number.value) {
            return Some(number.value);
        }
        self.wrong.push(
            Diagnostic::new(number.place, format!("`{name}` is out of range"))
                .expected(in_words(&range))
                .found(number.value.to_string()),
        );
        None
    }

    /// The values of a sweep of whole numbers; empty after a mistake.
    pub(super) fn whole_numbers(
        &mut self,
        name: &str,
        sweep: &Located<Sweep>,
        range: std::ops::RangeInclusive<u64>,
    ) -> Vec<usize> {
        let values = self.sweep(name, sweep);
        let numbers: Vec<usize> = values
            .iter()
            .filter_map(|value| value.as_u64().filter(|number| range.contains(number)).map(|number| number as usize))
            .collect();
        if let Some(bad) = values.iter().find(|value| !value.as_u64().is_some_and(|number| range.contains(&number))) {
            let place = value_place(sweep, bad);
            self.wrong.push(
                Diagnostic::new(place, format!("`{name}` cannot be {bad}"))
                    .expected(in_words(&range))
                    .found(bad.to_string()),
            );
        }
        numbers
    }

    pub(super) fn sweep(&mut self, name: &str, sweep: &Located<Sweep>) -> Vec<Value> {
        sweep.value.values(name, sweep.place).unwrap_or_else(|diagnostic| {
            self.wrong.push(diagnostic);
            Vec::new()
        })
    }

    fn indexes(&mut self, indexes: &Located<Vec<yaml::Index>>) -> Vec<IndexSpec> {
        if indexes.value.is_empty() {
            self.wrong.push(Diagnostic::new(indexes.place, "`indexes` is empty").expected("at least one index"));
        }
        names::unique("an index", indexes.value.iter().map(|index| &index.name), &mut self.wrong);
        indexes.value.iter().map(|index| self.index(index)).collect()
    }

    fn index(&mut self, index: &yaml::Index) -> IndexSpec {
        let kind = match index.kind {
            yaml::IndexKind::Flat => Kind::Flat,
            yaml::IndexKind::Hnsw => Kind::Hnsw,
            yaml::IndexKind::Ivf => Kind::Ivf,
            yaml::IndexKind::External => Kind::External,
        };
        let worker = match (&index.worker, kind) {
            (Some(text), Kind::External) => self.path(text),
            (None, Kind::External) => {
                self.wrong.push(
                    Diagnostic::new(index.name.place, format!("the index `{}` has no worker", index.name.value))
                        .expected("`worker: path of a program` for kind external"),
                );
                None
            }
            (Some(text), _) => {
                self.wrong.push(
                    Diagnostic::new(text.place, format!("an index of kind {kind} runs inside nearlab"))
                        .expected("`worker` only for kind external"),
                );
                None
            }
            (None, _) => None,
        };
        let build = self.parameters(kind, Phase::Build, &index.build);
        let search = self.parameters(kind, Phase::Search, &index.search);
        for (name, _) in &index.search.0 {
            // A value of null marks a name that has been refused already.
            let valid = |sweeps: &Sweeps| sweeps.get(&name.value).is_some_and(|values| !values.contains(&Value::Null));
            if valid(&build) && valid(&search) {
                self.wrong.push(
                    Diagnostic::new(name.place, format!("`{}` is a build parameter as well", name.value))
                        .expected("a name of its own for each parameter, since reports have one column for each"),
                );
            }
        }
        let require = names::rules(self.text, &index.require, (&build, &search), &mut self.wrong);
        IndexSpec { name: index.name.value.clone(), kind, worker, build, search, require, place: index.name.place }
    }

    fn parameters(&mut self, kind: Kind, phase: Phase, given: &Entries<Located<Sweep>>) -> Sweeps {
        let table = table(kind, phase);
        let mut sweeps: Sweeps =
            table.iter().map(|known| (known.name.to_owned(), vec![known.domain.default_value()])).collect();
        for (name, sweep) in &given.0 {
            let known = table.iter().find(|known| known.name == name.value);
            if known.is_none()
                && let Some(diagnostic) = foreign(kind, phase, name)
            {
                self.wrong.push(diagnostic);
                // A value that no file can give: the rules know the name, and one mistake is not drawn twice.
                sweeps.insert(name.value.clone(), vec![Value::Null]);
                continue;
            }
            let values = self.sweep(&name.value, sweep);
            if let Some(known) = known
                && let Some(bad) = values.iter().find(|value| !known.domain.accepts(value))
            {
                self.wrong.push(
                    Diagnostic::new(value_place(sweep, bad), format!("`{}` cannot be {bad}", name.value))
                        .expected(known.domain.to_string())
                        .found(bad.to_string())
                        .help(known.meaning)
                        .near_miss(known.domain.near_miss(bad)),
                );
            }
            sweeps.insert(name.value.clone(), values);
        }
        sweeps
    }
}

/// What is wrong with a parameter that the kind's table does not have.
fn foreign(kind: Kind, phase: Phase, name: &Located<String>) -> Option<Diagnostic> {
    let Located { value, place } = name;
    if phase == Phase::Search && (value == "threads" || value == "seed") {
        let place_of_it = if value == "threads" { "a workload (`threads: [1, 2]`)" } else { "`build`" };
        return Some(
            Diagnostic::new(*place, format!("`{value}` is no search parameter"))
                .expected(format!("`{value}` in {place_of_it}")),
        );
    }
    if kind == Kind::External {
        return FACTS.contains(&value.as_str()).then(|| {
            Diagnostic::new(*place, format!("`{value}` cannot be a parameter's name"))
                .expected("another name: k, n and d belong to the rules")
        });
    }
    let other = if phase == Phase::Build { Phase::Search } else { Phase::Build };
    let names = |phase| table(kind, phase).iter().map(|known| known.name);
    let listed: Vec<&str> = names(phase).collect();
    let diagnostic = Diagnostic::new(*place, format!("{kind} has no {} parameter `{value}`", phase.as_str())).expected(
        if listed.is_empty() { "no parameters here".to_owned() } else { format!("one of {}", listed.join(", ")) },
    );
    if names(other).any(|known| known == value) {
        return Some(diagnostic.help(format!("`{value}` belongs to `{}`", other.as_str())));
    }
    Some(diagnostic.near_miss(nearest(value, names(phase))))
}

/// Where a value of a sweep stands: in a list its own place, else the whole sweep.
pub(super) fn value_place(sweep: &Located<Sweep>, value: &Value) -> Place {
    match &sweep.value {
        Sweep::List(list) => list.iter().find(|item| item.value.0 == *value).map_or(sweep.place, |item| item.place),
        _ => sweep.place,
    }
}

fn in_words(range: &std::ops::RangeInclusive<u64>) -> String {
    if *range.end() >= u64::MAX >> 1 {
        format!("a whole number, at least {}", range.start())
    } else {
        format!("a whole number from {} to {}", range.start(), range.end())
    }
}
