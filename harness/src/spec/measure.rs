//! Workloads, rules of measurement and profiles: from the YAML to the [`Spec`](super::Spec).

use nearlab_datasets::{Correlation, FilterOptions};

use super::{
    error::Diagnostic,
    located::Located,
    model::{Measure, Mode, Order, Pin, ProfileSpec, Workload},
    names,
    resolve::{Resolver, value_place},
    suggest::nearest,
    sweep::Sweep,
    units, yaml,
};

/// Most repeats and warm-up passes.
const MOST_PASSES: u64 = 10_000;
/// Most search threads.
const MOST_THREADS: u64 = 1_024;
/// Most filters of a point.
const MOST_FILTERS: u64 = 10_000;
/// Filters of a point when the file does not say: with as many pivots, a query's nearest has it in a ball of about a hundredth of
/// the base vectors.
const FILTERS: u64 = 100;

impl Resolver<'_> {
    pub(super) fn workloads(&mut self, workloads: &Located<Vec<yaml::Workload>>) -> Vec<Workload> {
        if workloads.value.is_empty() {
            self.wrong.push(Diagnostic::new(workloads.place, "`workloads` is empty").expected("at least one workload"));
        }
        names::unique("a workload", workloads.value.iter().map(|workload| &workload.name), &mut self.wrong);
        workloads.value.iter().map(|workload| self.workload(workload)).collect()
    }

    fn workload(&mut self, workload: &yaml::Workload) -> Workload {
        let mode = match workload.mode {
            yaml::WorkloadMode::Latency => Mode::Latency,
            yaml::WorkloadMode::Throughput => Mode::Throughput,
            yaml::WorkloadMode::Filtered => Mode::Filtered,
        };
        let threads = workload
            .threads
            .as_ref()
            .map_or_else(|| vec![1], |sweep| self.whole_numbers("threads", sweep, 1..=MOST_THREADS));
        if let (true, Some(sweep)) = (mode.times_queries(), &workload.threads)
            && threads.iter().any(|&count| count != 1)
        {
            self.wrong.push(
                Diagnostic::new(sweep.place, format!("mode {mode} runs one query at a time on one thread"))
                    .expected("no `threads` here, or mode throughput"),
            );
        }
        let filters = self.filters(mode, workload);
        Workload { name: workload.name.value.clone(), mode, threads, filters, place: workload.name.place }
    }

    /// The filters of a workload: every selectivity of every correlation.
    fn filters(&mut self, mode: Mode, workload: &yaml::Workload) -> Vec<FilterOptions> {
        let yaml::Workload { selectivity, correlation, filters, seed, .. } = workload;
        if mode != Mode::Filtered {
            let places = [
                ("selectivity", selectivity.as_ref().map(|sweep| sweep.place)),
                ("correlation", correlation.as_ref().map(|sweep| sweep.place)),
                ("filters", filters.as_ref().map(|number| number.place)),
                ("seed", seed.as_ref().map(|number| number.place)),
            ];
            for (name, place) in places.into_iter().filter_map(|(name, place)| Some((name, place?))) {
                let message = format!("`{name}` is for mode filtered, this is mode {mode}");
                self.wrong.push(Diagnostic::new(place, message).expected("no such key here, or mode filtered"));
            }
            return Vec::new();
        }
        let Some(selectivity) = selectivity else {
            self.wrong.push(
                Diagnostic::new(workload.name.place, "mode filtered does not say how many vectors match")
                    .expected("`selectivity: [0.5, 0.1, ...]` in this mapping"),
            );
            return Vec::new();
        };
        let selectivities = self.selectivities(selectivity);
        let correlations = correlation.as_ref().map_or(vec![Correlation::None], |sweep| self.correlations(sweep));
        let filters =
            filters.as_ref().map_or(Some(FILTERS), |filters| self.within("filters", filters, 1..=MOST_FILTERS));
        let (filters, seed) = (filters.unwrap_or(1) as usize, seed.as_ref().map_or(1, |seed| seed.value));
        let each = |correlation| {
            let of = move |&selectivity: &f64| FilterOptions { selectivity, correlation, filters, seed };
            selectivities.iter().map(of)
        };
        correlations.iter().copied().flat_map(each).collect()
    }

    fn selectivities(&mut self, sweep: &Located<Sweep>) -> Vec<f64> {
        let values = self.sweep("selectivity", sweep);
        let share = |value: &serde_json::Value| value.as_f64().filter(|share| *share > 0.0 && *share <= 1.0);
        if let Some(bad) = values.iter().find(|value| share(value).is_none()) {
            self.wrong.push(
                Diagnostic::new(value_place(sweep, bad), format!("`selectivity` cannot be {bad}"))
                    .expected("a share of the base vectors: above 0, at most 1")
                    .found(bad.to_string()),
            );
        }
        values.iter().filter_map(share).collect()
    }

    fn correlations(&mut self, sweep: &Located<Sweep>) -> Vec<Correlation> {
        let values = self.sweep("correlation", sweep);
        let known = |word: &str| Correlation::ALL.into_iter().find(|correlation| correlation.as_str() == word);
        let words = Correlation::ALL.map(Correlation::as_str);
        if let Some(bad) = values.iter().find(|value| value.as_str().and_then(known).is_none()) {
            self.wrong.push(
                Diagnostic::new(value_place(sweep, bad), format!("`correlation` cannot be {bad}"))
                    .expected(format!("one of {}", words.join(", ")))
                    .found(bad.to_string())
                    .near_miss(bad.as_str().and_then(|word| nearest(word, words))),
            );
        }
        values.iter().filter_map(|value| known(value.as_str()?)).collect()
    }

    pub(super) fn measure(&mut self, measure: &yaml::Measure) -> Option<Measure> {
        let yaml::Cache::Warm = measure.cache;
        let repeats = self.within("repeats", &measure.repeats, 1..=MOST_PASSES);
        let warmup = self.within("warmup", &measure.warmup, 0..=MOST_PASSES);
        let timeout = units::duration(&measure.timeout.value);
        if timeout.is_none() {
            self.unreadable("timeout", &measure.timeout, units::DURATION);
        }
        let memory_bytes = measure.memory.as_ref().and_then(|text| {
            let bytes = units::size(&text.value);
            if bytes.is_none() {
                self.unreadable("memory", text, units::SIZE);
            }
            bytes
        });
        let pin = self.pin(&measure.pin);
        let order = match measure.order {
            yaml::Order::Shuffled => Order::Shuffled,
            yaml::Order::Sequential => Order::Sequential,
            yaml::Order::Interleaved => Order::Interleaved,
        };
        Some(Measure {
            repeats: repeats? as u32,
            warmup: warmup? as u32,
            order,
            seed: measure.seed,
            timeout: timeout?,
            memory_bytes,
            pin,
            save: measure.save,
        })
    }

    fn unreadable(&mut self, name: &str, text: &Located<String>, expected: &str) {
        self.wrong.push(
            Diagnostic::new(text.place, format!("`{name}` cannot be read"))
                .expected(expected)
                .found(format!("`{}`", text.value)),
        );
    }

    fn pin(&mut self, pin: &Located<yaml::Pin>) -> Pin {
        match &pin.value {
            yaml::Pin::Named(yaml::PinName::Auto) => Pin::Auto,
            yaml::Pin::Named(yaml::PinName::None) => Pin::None,
            yaml::Pin::Cores(cores) => {
                let repeated = cores.iter().enumerate().any(|(i, core)| cores[..i].contains(core));
                if cores.is_empty() || repeated {
                    self.wrong.push(
                        Diagnostic::new(pin.place, "this is no set of processors")
                            .expected("auto, none, or a list of processors, each once"),
                    );
                }
                Pin::Cores(cores.clone())
            }
            yaml::Pin::Other(word) => {
                self.wrong.push(
                    Diagnostic::new(pin.place, format!("`{word}` is no way to pin"))
                        .expected("auto, none, or a list of processors, each once")
                        .near_miss(nearest(word, ["auto", "none"])),
                );
                Pin::None
            }
        }
    }

    pub(super) fn profile(&mut self, profile: &yaml::Profile) -> ProfileSpec {
        let cpu_hz = profile.cpu.as_ref().map(|cpu| cpu.hz.value);
        if let Some(cpu) = &profile.cpu
            && !(1..=1_000).contains(&cpu.hz.value)
        {
            self.wrong.push(
                Diagnostic::new(cpu.hz.place, "`hz` is out of range")
                    .expected("a whole number from 1 to 1000")
                    .found(cpu.hz.value.to_string()),
            );
        }
        ProfileSpec { cpu_hz, heap: profile.heap }
    }
}
