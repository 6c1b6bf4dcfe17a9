//! The machine and the program, as every session records them.
//!
//! Read from `/proc`, `/sys` and what the build script found. A fact that cannot be read is `None` or empty, never
//! guessed.

use std::{collections::BTreeMap, env, fs, io, path::PathBuf, sync::OnceLock};

use nearlab_reports::record::Environment;
use nearlab_storage::mmap::Map;
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

/// CPU flags that decide which kernels can run.
const KERNEL_FLAGS: [&str; 20] = [
    "sse4_2",
    "avx",
    "f16c",
    "fma",
    "avx2",
    "avx_vnni",
    "avx512f",
    "avx512bw",
    "avx512cd",
    "avx512dq",
    "avx512vl",
    "avx512_vnni",
    "avx512_bf16",
    "avx512_fp16",
    "avx512_vpopcntdq",
    "avx512vbmi",
    "asimd",
    "asimddp",
    "asimdhp",
    "sve",
];

/// Describes the machine and this program now.
pub fn describe() -> Environment {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let mut environment = Environment {
        id: String::new(),
        cpu_model: cpu_field(&cpuinfo, "model name").unwrap_or_else(|| "not known".to_owned()),
        cpu_flags: kernel_flags(&cpuinfo),
        cores_online: cores_online(),
        cores_allowed: cores_allowed(),
        memory_bytes: memory_bytes(),
        hypervisor: all_flags(&cpuinfo).any(|flag| flag == "hypervisor"),
        simd_tier: nearlab_simd::kernels().tier().to_string(),
        simd_tier_codes: Some(nearlab_simd::code_kernels().tier().to_string()),
        transparent_huge_pages: read_line("/sys/kernel/mm/transparent_hugepage/enabled").map(|line| chosen(&line)),
        governor: read_line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        kernel: read_line("/proc/sys/kernel/osrelease").unwrap_or_else(|| "not known".to_owned()),
        load_before: load(),
        steal_ticks_before: steal_ticks(),
        rustc: option_env!("NEARLAB_RUSTC").unwrap_or("not known").to_owned(),
        rustflags: BUILT.rustflags.map(str::to_owned),
        git_commit: BUILT.commit.map(str::to_owned),
        git_dirty: BUILT.dirty.map(|dirty| dirty == "true"),
        allocator: "system".to_owned(),
        crate_versions: crate_versions(),
        argv: env::args().collect(),
    };
    environment.id = identity(&environment);
    environment
}

/// How this program was built, as the build script found.
#[derive(Debug, Clone, Copy)]
struct Built {
    commit: Option<&'static str>,
    dirty: Option<&'static str>,
    rustflags: Option<&'static str>,
    profile: Option<&'static str>,
}

const BUILT: Built = Built {
    commit: option_env!("NEARLAB_GIT_COMMIT"),
    dirty: option_env!("NEARLAB_GIT_DIRTY"),
    rustflags: option_env!("NEARLAB_RUSTFLAGS"),
    profile: option_env!("NEARLAB_PROFILE"),
};

impl Built {
    /// The commit, where it decides the program: no file was changed, and the compiler was told what release says.
    fn deciding_commit(self) -> Option<&'static str> {
        let plain = self.dirty == Some("false") && self.rustflags.is_none() && self.profile == Some("release");
        self.commit.filter(|_| plain)
    }
}

/// Version of the code that measures: crate version, optimisation level, and the commit; where the commit does not say
/// it all (changed files, no git, flags for the compiler, a profile other than release), a hash of the program itself.
/// Part of every trial's hash.
pub fn code_version() -> String {
    let level = option_env!("NEARLAB_OPT_LEVEL").unwrap_or("?");
    let code = BUILT.deciding_commit().map_or_else(program_hash, str::to_owned);
    format!("{} opt-level={level} {code}", env!("CARGO_PKG_VERSION"))
}

/// Hash of the running program's file, computed once.
fn program_hash() -> String {
    static HASH: OnceLock<String> = OnceLock::new();
    let hash = || {
        let program = program().and_then(|path| Map::open(&path));
        program.map_or_else(|_| "program-unknown".to_owned(), |bytes| format!("program-{:016x}", xxh3_64(&bytes)))
    };
    HASH.get_or_init(hash).clone()
}

/// Where this program is, for whoever starts or reads it once more. On Linux the kernel's own link to what runs: the name that
/// the program was started by may have gone to a newer build since, or to nothing.
pub fn program() -> io::Result<PathBuf> {
    if cfg!(target_os = "linux") { Ok(PathBuf::from("/proc/self/exe")) } else { env::current_exe() }
}

/// Load averages over 1, 5 and 15 minutes.
pub fn load() -> Option<[f64; 3]> {
    parse_load(&fs::read_to_string("/proc/loadavg").ok()?)
}

/// Ticks that the hypervisor took from all processors since boot.
pub fn steal_ticks() -> Option<u64> {
    parse_steal(&fs::read_to_string("/proc/stat").ok()?)
}

/// Processors this process may use, in order.
pub fn cores_allowed() -> Vec<u32> {
    let Ok(set) = rustix::thread::sched_getaffinity(None) else { return Vec::new() };
    (0..rustix::thread::CpuSet::MAX_CPU).filter(|&core| set.is_set(core)).map(|core| core as u32).collect()
}

fn cores_online() -> u32 {
    read_line("/sys/devices/system/cpu/online")
        .and_then(|list| count_ranges(&list))
        .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, |cores| cores.get() as u32))
}

fn memory_bytes() -> u64 {
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix("kB")?.trim().parse::<u64>().ok())
        .map_or(0, |kib| kib * 1024)
}

fn read_line(path: &str) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
}

fn cpu_field(cpuinfo: &str, name: &str) -> Option<String> {
    cpuinfo.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then(|| value.trim().to_owned())
    })
}

fn all_flags(cpuinfo: &str) -> impl Iterator<Item = &str> {
    cpuinfo
        .lines()
        .find_map(|line| {
            let (key, value) = line.split_once(':')?;
            matches!(key.trim(), "flags" | "Features").then_some(value)
        })
        .unwrap_or_default()
        .split_whitespace()
}

fn kernel_flags(cpuinfo: &str) -> Vec<String> {
    all_flags(cpuinfo).filter(|flag| KERNEL_FLAGS.contains(flag)).map(str::to_owned).collect()
}

/// `always [madvise] never` -> `madvise`.
fn chosen(line: &str) -> String {
    line.split_whitespace().find_map(|word| word.strip_prefix('[')?.strip_suffix(']')).unwrap_or(line).to_owned()
}

/// Members of a list such as `0-3,8`.
fn count_ranges(list: &str) -> Option<u32> {
    list.split(',').try_fold(0, |count, range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        Some(count + last.trim().parse::<u32>().ok()?.checked_sub(first.trim().parse().ok()?)? + 1)
    })
}

fn parse_load(text: &str) -> Option<[f64; 3]> {
    let mut averages = text.split_whitespace().map_while(|word| word.parse().ok());
    Some([averages.next()?, averages.next()?, averages.next()?])
}

/// Eighth number of the `cpu` line (see `proc_stat(5)`).
fn parse_steal(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("cpu "))?.split_whitespace().nth(7)?.parse().ok()
}

fn crate_versions() -> BTreeMap<String, String> {
    // The crates of the workspace share one version.
    ["simd", "storage", "index", "datasets", "reports", "harness"]
        .into_iter()
        .map(|name| (format!("nearlab-{name}"), env!("CARGO_PKG_VERSION").to_owned()))
        .collect()
}

/// Hash of what identifies the machine and the program; load, steal time and arguments stay out.
fn identity(environment: &Environment) -> String {
    let mut hash = Xxh3::new();
    let mut add = |text: &str| {
        hash.update(text.as_bytes());
        hash.update(&[0]);
    };
    add(&environment.cpu_model);
    add(&environment.cpu_flags.join(" "));
    add(&format!("{:?}", environment.cores_allowed));
    add(&environment.memory_bytes.to_string());
    add(&environment.simd_tier);
    add(environment.simd_tier_codes.as_deref().unwrap_or(""));
    add(environment.transparent_huge_pages.as_deref().unwrap_or(""));
    add(environment.governor.as_deref().unwrap_or(""));
    add(&environment.kernel);
    add(&environment.rustc);
    add(&code_version());
    format!("{:016x}", hash.digest())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_descriptions_of_one_machine_have_one_identity() {
        let (first, second) = (describe(), describe());
        assert_eq!(first.id, second.id);
        assert!(!first.cores_allowed.is_empty());
        assert!(first.cores_online as usize >= first.cores_allowed.len());
        assert!(first.memory_bytes > 0);
        assert_eq!(first.crate_versions.len(), 6);
    }

    #[test]
    fn the_identity_moves_with_the_machine_and_not_with_the_load() {
        let environment = describe();
        let mut busy = environment.clone();
        busy.load_before = Some([9.0; 3]);
        busy.argv = vec![];
        assert_eq!(identity(&busy), environment.id);
        let mut other = environment.clone();
        other.cpu_model = "another".into();
        assert_ne!(identity(&other), environment.id);
        let mut scored_otherwise = environment.clone();
        scored_otherwise.simd_tier_codes = Some("another".into());
        assert_ne!(identity(&scored_otherwise), environment.id);
    }

    #[test]
    fn a_commit_decides_the_program_only_as_release_builds_it() {
        let (commit, dirty) = (Some("c0de"), Some("false"));
        let release = Built { commit, dirty, rustflags: None, profile: Some("release") };
        assert_eq!(release.deciding_commit(), Some("c0de"));
        for other in [
            Built { commit: None, ..release },
            Built { dirty: Some("true"), ..release },
            Built { dirty: None, ..release },
            Built { rustflags: Some("-C target-cpu=native"), ..release },
            Built { profile: Some("debug"), ..release },
            Built { profile: None, ..release },
        ] {
            assert_eq!(other.deciding_commit(), None, "{other:?}");
        }
        assert_eq!(describe().rustflags.as_deref(), BUILT.rustflags);
    }

    #[test]
    fn this_program_can_be_read() {
        assert!(fs::metadata(program().unwrap()).unwrap().len() > 0);
        assert!(program_hash().len() > "program-".len() && program_hash() != "program-unknown");
    }

    #[test]
    fn kernel_files_are_read_as_their_manual_pages_say() {
        assert_eq!(chosen("always [madvise] never"), "madvise");
        assert_eq!(chosen("odd"), "odd");
        assert_eq!(count_ranges("0-3,8"), Some(5));
        assert_eq!(count_ranges("x"), None);
        assert_eq!(parse_load("0.5 1.0 2.25 1/90 33"), Some([0.5, 1.0, 2.25]));
        assert_eq!(parse_load("half"), None);
        assert_eq!(parse_steal("cpu  1 2 3 4 5 6 7 88 9 10\ncpu0 1"), Some(88));
        let cpuinfo = "model name\t: A chip\nflags\t\t: fpu avx2 fma hypervisor\n";
        assert_eq!(cpu_field(cpuinfo, "model name").as_deref(), Some("A chip"));
        assert_eq!(kernel_flags(cpuinfo), ["avx2", "fma"]);
    }
}
