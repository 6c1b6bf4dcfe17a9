//! Tells the program which compiler and commit it was built from.
//!
//! Everything that git cannot answer (no git, no repository, an exported tree) is left out; the program then records
//! "not known". The script watches the sources, what else decides the program (manifests, the lock, profiles, the compiler)
//! and git's own log, never a path that does not exist and never the index (which `git status` rewrites), so that a second
//! `cargo build` finds nothing to do.

use std::{env, path::Path, process::Command};

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    for folder in ["simd", "storage", "index", "datasets", "reports", "harness"] {
        watch(&format!("../{folder}/src"));
        watch(&format!("../{folder}/Cargo.toml"));
    }
    for file in ["Cargo.toml", "Cargo.lock", ".cargo/config.toml", "rust-toolchain.toml"] {
        watch(&format!("../{file}"));
    }
    set("NEARLAB_RUSTC", output(&env::var("RUSTC").unwrap_or_else(|_| "rustc".into()), &["--version"]));
    set("NEARLAB_OPT_LEVEL", env::var("OPT_LEVEL").ok());
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
