//! Tells the program which compiler and commit it was built from, and what the compiler was told.
//!
//! Everything that git cannot answer (no git, no repository, an exported tree) is left out; the program then records
//! "not known". The script watches the sources, what else decides the program and git's own log, never a path that does
//! not exist and never the index (which `git status` rewrites), so that a second `cargo build` finds nothing to do.

use std::{env, path::Path, process::Command};

/// What decides the program beside the sources: what is compiled in, manifests, the lock, profiles, the compiler.
const BESIDE: [&str; 8] = [
    "datasets/catalog.yaml",
    "reports/fonts",
    "reports/templates",
    "reports/vendor",
    "Cargo.toml",
    "Cargo.lock",
    ".cargo/config.toml",
    "rust-toolchain.toml",
];

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    for folder in ["simd", "storage", "index", "datasets", "reports", "harness"] {
        watch(&format!("../{folder}/src"));
        watch(&format!("../{folder}/Cargo.toml"));
    }
    for path in BESIDE {
        watch(&format!("../{path}"));
    }
    set("NEARLAB_RUSTC", output(&env::var("RUSTC").unwrap_or_else(|_| "rustc".into()), &["--version"]));
    set("NEARLAB_OPT_LEVEL", env::var("OPT_LEVEL").ok());
    set("NEARLAB_PROFILE", profile());
    println!("cargo:rerun-if-env-changed=CARGO_ENCODED_RUSTFLAGS");
    // Cargo puts this character between flags, which may have spaces themselves.
    let flags = env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default().replace('\u{1f}', " ");
    set("NEARLAB_RUSTFLAGS", Some(flags).filter(|flags| !flags.is_empty()));
    if let Some(log) = git(&["rev-parse", "--git-path", "logs/HEAD"]) {
        watch(&log);
    }
    set("NEARLAB_GIT_COMMIT", git(&["rev-parse", "HEAD"]).filter(|commit| commit.len() >= 40));
    // `-uno` would miss new source files; `:/` looks at the whole tree.
    set(
        "NEARLAB_GIT_DIRTY",
        git(&["--no-optional-locks", "status", "--porcelain", ":/"]).map(|changes| (!changes.is_empty()).to_string()),
    );
}

/// The profile by its folder: ours is `target/<profile>/build/<package>/out`. `PROFILE` says `release` of all that
/// inherit from it.
fn profile() -> Option<String> {
    let out = env::var("OUT_DIR").ok()?;
    Some(Path::new(&out).ancestors().nth(3)?.file_name()?.to_string_lossy().into_owned())
}

fn set(name: &str, value: Option<String>) {
    if let Some(value) = value {
        println!("cargo:rustc-env={name}={value}");
    }
}

fn watch(path: &str) {
    if Path::new(path).exists() {
        println!("cargo:rerun-if-changed={path}");
    }
}

fn git(arguments: &[&str]) -> Option<String> {
    output("git", arguments)
}

fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
