//! The text of `run --plan` for an experiment about stores: every trial, what is rejected, the room that is needed.

use std::fmt::Write as _;

use comfy_table::{Table, presets};
use nearlab_reports::format;

use super::{StoreFacts, StorePlan};
use crate::spec::StoreSpec;

/// The whole text, ending in a newline.
pub(super) fn text(plan: &StorePlan, spec: &StoreSpec, facts: &[StoreFacts]) -> String {
    let mut out = format!("{}: {}\n", spec.base.name, spec.base.question);
    // Writing to a String cannot fail.
    for fact in facts {
        let size = |letter, size: Option<u64>| size.map(|size| format!(", {letter} = {}", format::count(size)));
        let sizes: String = [size("n", fact.n), size("d", fact.d)].into_iter().flatten().collect();
        let _ = writeln!(
            out,
            "data: {}{}",
            fact.name,
            if sizes.is_empty() { ", sizes not known yet".into() } else { sizes }
        );
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["workload", "data", "store", "element", "trial", "points", "repeats", "disk"]);
    for trial in &plan.trials {
        let of = &spec.workloads[trial.workload];
        table.add_row([
            format!("{} ({})", of.name, of.mode.as_str()),
            trial.dataset.and_then(|at| facts.get(at)).map_or_else(|| "-".to_owned(), |fact| fact.name.clone()),
            spec.stores[trial.store].name.clone(),
            trial.element.clone().unwrap_or_else(|| "-".to_owned()),
            format::params(&trial.params),
            trial.points.len().to_string(),
            spec.base.measure.repeats.to_string(),
            trial.disk_bytes.map_or_else(|| "?".to_owned(), |bytes| format::bytes(bytes as f64)),
        ]);
    }
    let _ = writeln!(out, "\n{}\n", table.trim_fmt());
    for rejected in &plan.rejected {
        let _ = writeln!(out, "rejected: {} ({}): {}", rejected.index, format::params(&rejected.params), rejected.rule);
    }
    for warning in &plan.warnings {
        let _ = writeln!(out, "warning: {warning}");
    }
    let disk = plan.disk_bytes().map_or_else(|| "not known yet".to_owned(), |bytes| format::bytes(bytes as f64));
    let _ = writeln!(
        out,
        "{} trials in {} processes, {} measurements; disk needed at once: {disk}",
        plan.trials.len(),
        plan.schedule.len(),
        plan.measurements()
    );
    out
}
