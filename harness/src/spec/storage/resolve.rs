//! From the YAML of an experiment about stores to a [`StoreSpec`]: defaults filled in, every mistake of meaning collected.

use std::path::Path;

use nearlab_reports::format;
use nearlab_storage::metadata::Filter;
use serde_json::Value;

use super::{
    Durability, Kind, Mode, OneOrMany, Selector, Store, StoreEntry, StoreExpect, StoreExperiment, StoreKind, StoreMode,
    StoreSpec, StoreWorkload, Workload, expect,
};
use crate::{
    spec::{
        DatasetSource, DatasetSpec, Diagnostic, Place, ProfileSpec, QuerySplit, Spec, Surroundings,
        located::Located,
        names,
        resolve::{Resolver, value_place},
        suggest::nearest,
        sweep::Sweep,
    },
    storage::fields,
};

const ELEMENTS: [&str; 2] = ["f32", "f16"];
const ENDS: [&str; 2] = ["close", "kill"];
/// Most rows in a change, ids in a call, ids read.
const MOST: u64 = 100_000_000;
/// Most records of a filter workload: slots are 32 bits, and they are made in memory.
const MOST_RECORDS: u64 = 100_000_000;

/// Resolves an experiment about stores, or says everything that is wrong with it.
pub(in crate::spec) fn resolve(
    path: &Path,
    text: &str,
    experiment: StoreExperiment,
    surroundings: &Surroundings<'_>,
) -> Result<StoreSpec, Vec<Diagnostic>> {
    let mut resolver = Resolver::new(path, text, surroundings);
    let question = resolver.question(&experiment.question);
    let place = experiment.question.place;
    let written = experiment.dataset.as_ref().map_or(&[][..], OneOrMany::as_slice);
    let datasets: Vec<DatasetSpec> = written
        .iter()
        .filter_map(|dataset| resolver.dataset(dataset, place))
        // One query: a store is asked for rows, and exact neighbours of many would have to be computed for nothing.
        .map(|dataset| DatasetSpec { queries: Some(QuerySplit { report: 1, calibrate: 0, seed: 1 }), ..dataset })
        .collect();
    let stores = resolver.stores(&experiment.stores);
    let workloads = resolver.store_workloads(&experiment.workloads);
    if written.is_empty() && workloads.iter().any(|workload| workload.mode != StoreMode::Filter) {
        resolver.wrong.push(
            Diagnostic::new(place, "the key `dataset` is missing").expected(
                "`dataset: {use: name or file}`, or a list of such, for workloads of another mode than filter",
            ),
        );
    }
    if let Some(baseline) = &experiment.baseline
        && !stores.iter().any(|store| store.name == baseline.value)
    {
        resolver.wrong.push(names::no_such("store", baseline, stores.iter().map(|store| store.name.as_str())));
    }
    let measure = resolver.measure(&experiment.measure);
    if experiment.measure.save {
        let message = "`measure.save` saves indexes, and this experiment has none";
        resolver.wrong.push(Diagnostic::new(experiment.stores.place, message).expected("no `save` beside `stores`"));
    }
    let mut expects = Vec::new();
    for (rule, selectors) in &experiment.expect.0 {
        expects.extend(resolver.store_expectations(rule, selectors.as_slice(), (&stores, &workloads)));
    }
    if !resolver.wrong.is_empty() {
        return Err(resolver.wrong);
    }
    let Some(measure) = measure else { return Err(resolver.wrong) };
    let mut warnings = Vec::new();
    if measure.repeats == 1 {
        warnings.push("measure.repeats is 1: the report cannot show a spread".to_owned());
    }
    let no_data =
        DatasetSpec { source: DatasetSource::Use(String::new()), limit: None, queries: None, metric: None, place };
    let base = Spec {
        path: path.to_owned(),
        name: path.file_stem().map_or_else(|| "experiment".to_owned(), |stem| stem.to_string_lossy().into_owned()),
        yaml: text.to_owned(),
        question,
        analysis: experiment.analysis,
        dataset: datasets.first().cloned().unwrap_or(no_data),
        k: vec![1],
        indexes: Vec::new(),
        workloads: Vec::new(),
        measure,
        baseline: experiment.baseline.map(|name| name.value),
        profile: ProfileSpec::default(),
        expect: Vec::new(),
        gate: None,
        warnings,
    };
    Ok(StoreSpec { base, datasets, stores, workloads, expect: expects })
}

impl Resolver<'_> {
    fn stores(&mut self, stores: &Located<Vec<Store>>) -> Vec<StoreEntry> {
        if stores.value.is_empty() {
            self.wrong.push(Diagnostic::new(stores.place, "`stores` is empty").expected("at least one store"));
        }
        names::unique("a store", stores.value.iter().map(|store| &store.name), &mut self.wrong);
        stores.value.iter().map(|store| self.store(store)).collect()
    }

    fn store(&mut self, store: &Store) -> StoreEntry {
        let kind = match store.kind {
            Kind::Store => StoreKind::Store,
            Kind::PlainFile => StoreKind::PlainFile,
            Kind::External => StoreKind::External,
        };
        let (name, place) = (&store.name.value, store.name.place);
        let worker = match (&store.worker, kind) {
            (Some(text), StoreKind::External) => self.path(text),
            (None, StoreKind::External) => {
                self.wrong.push(
                    Diagnostic::new(place, format!("the store `{name}` has no worker"))
                        .expected("`worker: path of a program` for kind external"),
                );
                None
            }
            (Some(text), _) => {
                self.wrong.push(
                    Diagnostic::new(text.place, format!("a store of kind {} runs inside nearlab", kind.as_str()))
                        .expected("`worker` only for kind external"),
                );
                None
            }
            (None, _) => None,
        };
        let elements = self.words("element", store.element.as_ref(), &ELEMENTS, &ELEMENTS[..1]);
        let all: Vec<&str> = Durability::ALL.iter().map(|one| one.as_str()).collect();
        let unsaid = if kind == StoreKind::External { &all[..1] } else { &all[..] };
        let durabilities = self.words("durability", store.durability.as_ref(), &all, unsaid);
        let modes: Vec<&str> = StoreMode::ALL.iter().map(|one| one.as_str()).collect();
        let modes = self.words("modes", store.modes.as_ref(), &modes, &modes);
        StoreEntry {
            name: name.clone(),
            kind,
            worker,
            elements,
            durabilities: durabilities.iter().filter_map(|word| Durability::of(word)).collect(),
            modes: modes.iter().filter_map(|word| StoreMode::of(word)).collect(),
            place,
        }
    }

    /// The words of a sweep, each one of `known`; `unsaid` when it is left out.
    fn words(&mut self, name: &str, sweep: Option<&Located<Sweep>>, known: &[&str], unsaid: &[&str]) -> Vec<String> {
        let Some(sweep) = sweep else { return unsaid.iter().map(|&word| word.to_owned()).collect() };
        let mut words = Vec::new();
        for value in self.sweep(name, sweep) {
            match value.as_str().filter(|word| known.contains(word)) {
                Some(word) => words.push(word.to_owned()),
                None => self.wrong.push(
                    Diagnostic::new(value_place(sweep, &value), format!("`{name}` cannot be {value}"))
                        .expected(format!("one of {}", known.join(", ")))
                        .found(value.to_string())
                        .near_miss(value.as_str().and_then(|word| nearest(word, known.iter().copied()))),
                ),
            }
        }
        words
    }

    fn store_workloads(&mut self, workloads: &Located<Vec<Workload>>) -> Vec<StoreWorkload> {
        if workloads.value.is_empty() {
            self.wrong.push(Diagnostic::new(workloads.place, "`workloads` is empty").expected("at least one workload"));
        }
        names::unique("a workload", workloads.value.iter().map(|workload| &workload.name), &mut self.wrong);
        workloads.value.iter().map(|workload| self.store_workload(workload)).collect()
    }

    fn store_workload(&mut self, workload: &Workload) -> StoreWorkload {
        let mode = match workload.mode {
            Mode::BulkLoad => StoreMode::BulkLoad,
            Mode::PointRead => StoreMode::PointRead,
            Mode::Compaction => StoreMode::Compaction,
            Mode::Reopen => StoreMode::Reopen,
            Mode::Filter => StoreMode::Filter,
        };
        self.keys_of_mode(workload, mode);
        let unsaid = if mode == StoreMode::PointRead { 1 } else { 10_000 };
        let batch =
            workload.batch.as_ref().map_or_else(|| vec![unsaid], |sweep| self.whole_numbers("batch", sweep, 1..=MOST));
        let all: Vec<&str> = Durability::ALL.iter().map(|one| one.as_str()).collect();
        let durability = self.words("durability", workload.durability.as_ref(), &all, &all[..1]);
        let mut number = |name, given: Option<&Located<u64>>, unsaid, most| {
            given.and_then(|number| self.within(name, number, 1..=most)).unwrap_or(unsaid) as usize
        };
        let ids = number("ids", workload.ids.as_ref(), 100_000, MOST);
        let rows = number("rows", workload.rows.as_ref(), 1_000_000, MOST_RECORDS);
        let delete = self.shares("delete", workload.delete.as_ref());
        let after = self.words("after", workload.after.as_ref(), &ENDS, &ENDS);
        let filters = self.filter_texts(workload, mode);
        StoreWorkload {
            name: workload.name.value.clone(),
            mode,
            batch,
            durability: durability.iter().filter_map(|word| Durability::of(word)).collect(),
            ids,
            delete,
            after,
            rows,
            filters,
        }
    }

    /// Refuses keys that say nothing in this mode.
    fn keys_of_mode(&mut self, workload: &Workload, mode: StoreMode) {
        let keys: [(&str, Option<Place>, &[StoreMode]); 7] = [
            ("batch", workload.batch.as_ref().map(|x| x.place), &[StoreMode::BulkLoad, StoreMode::PointRead]),
            ("durability", workload.durability.as_ref().map(|x| x.place), &[StoreMode::BulkLoad]),
            ("ids", workload.ids.as_ref().map(|x| x.place), &[StoreMode::PointRead, StoreMode::Compaction]),
            ("delete", workload.delete.as_ref().map(|x| x.place), &[StoreMode::Compaction]),
            ("after", workload.after.as_ref().map(|x| x.place), &[StoreMode::Reopen]),
            ("rows", workload.rows.as_ref().map(|x| x.place), &[StoreMode::Filter]),
            ("filters", workload.filters.as_ref().map(|x| x.place), &[StoreMode::Filter]),
        ];
        for (key, place, modes) in keys {
            if let Some(place) = place.filter(|_| !modes.contains(&mode)) {
                let known: Vec<&str> =
                    keys.iter().filter(|(.., modes)| modes.contains(&mode)).map(|key| key.0).collect();
                let known = if known.is_empty() { "no keys beside name and mode".into() } else { known.join(", ") };
                self.wrong
                    .push(Diagnostic::new(place, format!("mode {} has no `{key}`", mode.as_str())).expected(known));
            }
        }
    }

    fn shares(&mut self, name: &str, sweep: Option<&Located<Sweep>>) -> Vec<f64> {
        let Some(sweep) = sweep else { return vec![0.3] };
        let values = self.sweep(name, sweep);
        let share = |value: &Value| value.as_f64().filter(|share| *share > 0.0 && *share < 1.0);
        if let Some(bad) = values.iter().find(|value| share(value).is_none()) {
            self.wrong.push(
                Diagnostic::new(value_place(sweep, bad), format!("`{name}` cannot be {bad}"))
                    .expected("a share above 0 and below 1")
                    .found(bad.to_string()),
            );
        }
        values.iter().filter_map(share).collect()
    }

    fn filter_texts(&mut self, workload: &Workload, mode: StoreMode) -> Vec<String> {
        let given: &[Located<String>] = workload.filters.as_ref().map_or(&[], |filters| &filters.value);
        if mode == StoreMode::Filter && given.is_empty() {
            self.wrong.push(
                Diagnostic::new(workload.name.place, format!("the workload `{}` has no filters", workload.name.value))
                    .expected("`filters: [\"price < 30\", ...]`"),
            );
        }
        let schema = fields::schema();
        for filter in given {
            if let Err(error) = Filter::parse(&schema, &filter.value) {
                self.wrong.push(
                    Diagnostic::new(filter.place, "this filter cannot be used")
                        .expected("a filter over price (float), color (string), stock (integer), sold (bool)")
                        .found(error.to_string()),
                );
            }
        }
        given.iter().map(|filter| filter.value.clone()).collect()
    }

    fn store_expectations(
        &mut self,
        rule: &Located<String>,
        selectors: &[Selector],
        (stores, workloads): (&[StoreEntry], &[StoreWorkload]),
    ) -> Vec<StoreExpect> {
        let (metric, comparison, value) = match expect::parse(&rule.value) {
            Ok(condition) => condition,
            Err(error) => {
                self.misread(rule, error);
                return Vec::new();
            }
        };
        if selectors.is_empty() {
            self.wrong
                .push(Diagnostic::new(rule.place, "this rule speaks of nothing").expected("at least one {store: ...}"));
        }
        let mut expects = Vec::new();
        for selector in selectors {
            let before = self.wrong.len();
            self.check_store_selector(selector, &metric, (stores, workloads));
            if self.wrong.len() == before {
                expects.push(StoreExpect {
                    text: format!("{} ({})", rule.value, described(selector)),
                    place: rule.place,
                    metric: metric.clone(),
                    comparison,
                    value,
                    store: selector.store.value.clone(),
                    workload: selector.workload.as_ref().map(|name| name.value.clone()),
                    dataset: selector.dataset.as_ref().map(|name| name.value.clone()),
                    at: selector.at.0.iter().map(|(name, value)| (name.value.clone(), value.value.0.clone())).collect(),
                });
            }
        }
        expects
    }

    fn check_store_selector(
        &mut self,
        selector: &Selector,
        metric: &str,
        (stores, workloads): (&[StoreEntry], &[StoreWorkload]),
    ) {
        const AT: [&str; 7] = ["element", "batch", "durability", "delete", "after", "phase", "filter"];
        if !stores.iter().any(|store| store.name == selector.store.value) {
            let known = stores.iter().map(|store| store.name.as_str());
            self.wrong.push(names::no_such("store", &selector.store, known));
        }
        if let Some(name) = &selector.workload {
            match workloads.iter().find(|workload| workload.name == name.value) {
                None => {
                    let known = workloads.iter().map(|workload| workload.name.as_str());
                    self.wrong.push(names::no_such("workload", name, known));
                }
                Some(workload) => {
                    if let Some(mode) = expect::mode_of(metric).filter(|mode| *mode != workload.mode) {
                        self.wrong.push(
                            Diagnostic::new(name.place, format!("this workload has no {metric}"))
                                .expected(format!("a workload of mode {}", mode.as_str()))
                                .found(format!("mode {}", workload.mode.as_str())),
                        );
                    }
                }
            }
        }
        for (name, _) in &selector.at.0 {
            if !AT.contains(&name.value.as_str()) {
                self.wrong.push(names::no_such("parameter", name, AT.into_iter()));
            }
        }
    }
}

fn described(selector: &Selector) -> String {
    let mut parts = vec![format!("store {}", selector.store.value)];
    parts.extend(selector.workload.iter().map(|name| format!("workload {}", name.value)));
    parts.extend(selector.dataset.iter().map(|name| format!("data set {}", name.value)));
    parts.extend(selector.at.0.iter().map(|(name, value)| format!("{} {}", name.value, format::value(&value.value.0))));
    parts.join(", ")
}
