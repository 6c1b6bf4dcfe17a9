//! Workloads, rules of measurement and profiles: from the YAML to the [`Spec`](super::Spec).

use super::{
    error::Diagnostic,
    located::Located,
    model::{Measure, Mode, Order, Pin, ProfileSpec, Workload},
    names,
    resolve::Resolver,
    suggest::nearest,
    units, yaml,
};

/// Most repeats and warm-up passes.
const MOST_PASSES: u64 = 10_000;
/// Most search threads.
const MOST_THREADS: u64 = 1_024;

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
        };
        let threads = workload
            .threads
            .as_ref()
            .map_or_else(|| vec![1], |sweep| self.whole_numbers("threads", sweep, 1..=MOST_THREADS));
        if let (Mode::Latency, Some(sweep)) = (mode, &workload.threads)
            && threads.iter().any(|&count| count != 1)
        {
            self.wrong.push(
                Diagnostic::new(sweep.place, "mode latency runs one query at a time on one thread")
                    .expected("no `threads` here, or mode throughput"),
            );
        }
        Workload { name: workload.name.value.clone(), mode, threads }
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
