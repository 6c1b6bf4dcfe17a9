//! Kernels timed by criterion, whose samples also go to the table at the end.

use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput};
use nearlab_benches::roofline::{Case, Roofline};

/// What times, and where the times go.
pub(crate) struct Bench {
    criterion: Criterion,
    roofline: Roofline,
}

impl Bench {
    /// With the command line's options; the table is about the kernels of the tier `ours`.
    pub(crate) fn new(ours: &'static str) -> Self {
        Self { criterion: Criterion::default().configure_from_args(), roofline: Roofline::new(ours) }
    }

    /// Times the kernels of `who`.
    pub(crate) fn time(&mut self, case: &Case, who: &str, mut work: impl FnMut()) {
        let mut group = self.criterion.benchmark_group(&case.name);
        group.warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1)).sample_size(50);
        let (elements, bytes) = (case.vectors as u64, (case.vectors * case.bytes) as u64);
        group.throughput(Throughput::ElementsAndBytes { elements, bytes });
        group.bench_function(BenchmarkId::new(who, case.d), |bencher| {
            bencher.iter_custom(|count| self.roofline.time(case, who, count, &mut work));
        });
    }

    /// Ends the run with the table.
    pub(crate) fn finish(self) {
        self.criterion.final_summary();
        self.roofline.print();
    }
}
