# Every recipe is one command that plain cargo can run too; `just --list` shows them.

set shell := ["bash", "-euo", "pipefail", "-c"]

# Show the recipes.
default:
    @just --list

# Run an experiment: plan, build, search, record, report. Extra flags pass through (--plan, --new, --json).
experiment yaml *flags:
    cargo experiment {{ yaml }} {{ flags }}

# Pass the tests.
test *flags:
    cargo test --release {{ flags }}

# What CI checks besides the tests: format, lints, docs, dependencies.
check:
    bash .ci/check

# The kernels' tests on aarch64, emulated (installs the target, a linker and qemu once).
test-aarch64:
    bash .ci/aarch64

# Micro-benchmarks of kernels and searches (criterion); `just bench -- l2` filters by name.
bench *flags:
    cargo bench --package nearlab-benches --bench kernels --bench codes --bench search {{ flags }}

# Kernels beside simsimd and beside what the machine can do: the tables of reports/record/kernels.md.
roofline:
    cargo bench --package nearlab-benches --bench kernels --bench codes --bench parts -- '/(avx2|avx512|amx|neon|simsimd)/'

# Instruction counts of kernels and a fixed search under valgrind (needs valgrind; installs the runner once).
bench-instructions:
    command -v gungraun-runner >/dev/null || cargo install --locked gungraun-runner@0.20.0
    cargo bench --package nearlab-benches --bench kernel_instructions --bench search_instructions

# Compare exact counters with the golden file; `just gate --bless` accepts what changed.
gate *flags:
    cargo nearlab gate {{ flags }}

# Fuzz what reads files, for some seconds: `just fuzz index 3600` (needs a nightly toolchain; installs cargo-fuzz once). Targets:
# container, index, store, document, filter, metadata, collection. What it finds stays in fuzz/artifacts, what leads it on in fuzz/corpus.
fuzz target seconds:
    command -v cargo-fuzz >/dev/null || cargo install --locked cargo-fuzz
    cargo run --release --manifest-path fuzz/Cargo.toml --bin seeds
    mkdir -p fuzz/corpus
    tar -xJf fuzz/corpora/{{ target }}.tar.xz -C fuzz/corpus
    cargo +nightly fuzz run {{ target }} fuzz/corpus/{{ target }} fuzz/seeds/{{ target }} -- -max_total_time={{ seconds }} -max_len=65536 -timeout=20 -rss_limit_mb=4096

# Keep the fewest inputs that reach as far as all of fuzz/corpus does, in fuzz/corpora, for the next one.
fuzz-keep target:
    rm -rf fuzz/corpus/fewest
    mkdir -p fuzz/corpus/fewest/{{ target }}
    cargo +nightly fuzz run {{ target }} fuzz/corpus/fewest/{{ target }} fuzz/corpus/{{ target }} -- -merge=1 -max_len=65536 -timeout=20 -rss_limit_mb=4096
    tar --sort=name --mtime=@0 --owner=0 --group=0 -cJf fuzz/corpora/{{ target }}.tar.xz -C fuzz/corpus/fewest {{ target }}
    rm -r fuzz/corpus/fewest

# Rehearse disasters: histories with a crash at every call that reaches the disk, then processes killed while they write.
crash histories="10000" kills="200":
    NEARLAB_HISTORIES={{ histories }} NEARLAB_KILLS={{ kills }} cargo test --release --package nearlab-storage --test crash -- --nocapture --test-threads 1
    NEARLAB_HISTORIES=$(({{ histories }} / 10)) NEARLAB_KILLS={{ kills }} cargo test --release --package nearlab-index --test collection -- --nocapture rehearsed killed

# Run store and collection on schedules that shuttle chooses, a thread's turn ending at any lock or atomic.
schedules count="20000":
    NEARLAB_SCHEDULES={{ count }} CARGO_TARGET_DIR=target/schedules RUSTFLAGS="--cfg shuttle" cargo test --release --package nearlab-storage --package nearlab-index --test schedules

# Run what threads share under ThreadSanitizer (needs a nightly toolchain with rust-src).
races *flags:
    TSAN_OPTIONS="suppressions=$PWD/.ci/tsan-suppressions halt_on_error=1" CARGO_TARGET_DIR=target/races RUSTFLAGS="-Zsanitizer=thread" cargo +nightly test -Zbuild-std --target x86_64-unknown-linux-gnu --release --package nearlab-storage --package nearlab-index --test store --test live --test collection {{ flags }}

# Build the indexes that only ablations ask for: experiments/hnsw/walk.yaml, layout.yaml, churn.yaml, churn-glove.yaml.
laboratory:
    cargo build --release --package nearlab-laboratory

# Install the peers (hnswlib, faiss and others: harness/workers/requirements.txt) from PyPI into .venv-peers.
peers:
    python3 -m venv .venv-peers
    .venv-peers/bin/pip install --quiet --requirement harness/workers/requirements.txt
    .venv-peers/bin/python harness/workers/selftest.py

# Line coverage of the library crates; fails under 90 % (needs Debian's llvm-22 or a matching llvm-cov).
coverage:
    bash .ci/coverage

# Copy a finished run to reports/record/NAME, without samples and trial files, to be committed.
publish run name:
    rm -rf reports/record/{{ name }}
    mkdir -p reports/record/{{ name }}
    cp -r {{ run }}/experiment.yaml {{ run }}/records.jsonl {{ run }}/results.csv {{ run }}/results.parquet {{ run }}/report reports/record/{{ name }}/
    if [ -d {{ run }}/profiles ]; then cp -r {{ run }}/profiles reports/record/{{ name }}/; fi
