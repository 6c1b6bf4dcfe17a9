//! The machine and the program, as rows of words, and what differs between two of them.

use crate::{format, record::Environment};

/// Name and value of everything recorded.
pub fn rows(environment: &Environment) -> Vec<(&'static str, String)> {
    let unknown = || "unknown".to_owned();
    let word = |value: &Option<String>| value.clone().unwrap_or_else(unknown);
    let cores: Vec<String> = environment.cores_allowed.iter().map(u32::to_string).collect();
    let load =
        environment.load_before.map_or_else(unknown, |load| format!("{:.2} {:.2} {:.2}", load[0], load[1], load[2]));
    let rustc = match &environment.rustflags {
        Some(flags) => format!("{} with flags {flags}", environment.rustc),
        None => environment.rustc.clone(),
    };
    let commit = match (&environment.git_commit, environment.git_dirty) {
        (Some(commit), Some(true)) => format!("{commit} with uncommitted changes"),
        (Some(commit), _) => commit.clone(),
        (None, _) => unknown(),
    };
    let versions: Vec<String> =
        environment.crate_versions.iter().map(|(name, version)| format!("{name} {version}")).collect();
    vec![
        ("CPU", environment.cpu_model.clone()),
        ("CPU features", environment.cpu_flags.join(" ")),
        ("cores online", environment.cores_online.to_string()),
        ("cores allowed", cores.join(" ")),
        ("memory", format::bytes(environment.memory_bytes as f64)),
        ("hypervisor", if environment.hypervisor { "yes" } else { "no" }.to_owned()),
        ("kernels dispatched to", kernels(&environment.simd_tier, environment.simd_tier_codes.as_deref())),
        ("transparent huge pages", word(&environment.transparent_huge_pages)),
        ("frequency governor", word(&environment.governor)),
        ("kernel", environment.kernel.clone()),
        ("load before", load),
        ("steal ticks before", environment.steal_ticks_before.map_or_else(unknown, format::count)),
        ("rustc", rustc),
        ("commit", commit),
        ("allocator", environment.allocator.clone()),
        ("versions", versions.join(", ")),
        ("environment id", environment.id.clone()),
        ("arguments", environment.argv.join(" ")),
    ]
}

/// The instruction sets of the kernels for vectors and for codes, one word where they are the same.
pub fn kernels(vectors: &str, codes: Option<&str>) -> String {
    match codes {
        Some(codes) if codes != vectors => format!("{vectors}, for codes {codes}"),
        _ => vectors.to_owned(),
    }
}

/// What differs and is not expected to: load, steal time, arguments and the id that sums up the rest are left out, as are
/// kernels for codes that only one of the two recorded.
pub fn differences(a: &Environment, b: &Environment) -> Vec<(&'static str, String, String)> {
    let expected = ["load before", "steal ticks before", "arguments", "environment id"];
    let both_say_codes = a.simd_tier_codes.is_some() && b.simd_tier_codes.is_some();
    let comparable = |environment: &Environment| {
        let codes = environment.simd_tier_codes.clone().filter(|_| both_say_codes);
        rows(&Environment { simd_tier_codes: codes, ..environment.clone() })
    };
    comparable(a)
        .into_iter()
        .zip(comparable(b))
        .filter(|(before, after)| before.1 != after.1 && !expected.contains(&before.0))
        .map(|(before, after)| (before.0, before.1, after.1))
        .collect()
}
