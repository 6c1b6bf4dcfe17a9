#!/usr/bin/env python3
"""Drives each worker through tiny trials over the protocol and compares its neighbours with exact ones.

    .venv-peers/bin/python harness/workers/selftest.py [worker.py ...]    (every worker where none is named)
"""

import json
import os
import subprocess
import sys
import tempfile

FOLDER = os.path.dirname(os.path.abspath(__file__))
sys.path = [entry for entry in sys.path if os.path.realpath(entry or os.getcwd()) != os.path.realpath(FOLDER)]

import numpy  # noqa: E402  (after this folder has left sys.path)

N, D, QUERIES, K = 2000, 24, 50, 10

# worker, build parameters, [(search parameters, least recall)]
INDEXES = [
    ("hnswlib.py", {"M": 16, "efConstruction": 100}, [({"ef": 10}, 0.7), ({"ef": 400}, 0.99)]),
    ("faiss.py", {"factory": "Flat"}, [({}, 1.0)]),
    ("faiss.py", {"factory": "HNSW16", "efConstruction": 100}, [({"efSearch": 10}, 0.6), ({"efSearch": 400}, 0.99)]),
    ("faiss.py", {"factory": "IVF16,Flat"}, [({"nprobe": 1}, 0.15), ({"nprobe": 16}, 1.0)]),
    ("faiss.py", {"factory": "IVF16,PQ12x4fs,RFlat"}, [({"nprobe": 16, "k_factor_rf": 50}, 0.95)]),
    ("faiss.py", {"factory": "RR24,IVF16,Flat"}, [({"nprobe": 16}, 0.99)]),
    ("usearch.py", {"expansion_add": 100}, [({"expansion_search": 10}, 0.6), ({"expansion_search": 400}, 0.99)]),
    ("usearch.py", {"dtype": "f16"}, [({"expansion_search": 400}, 0.98)]),
    ("voyager.py", {"ef_construction": 100}, [({"ef": 10}, 0.6), ({"ef": 400}, 0.99)]),
    ("scann.py", {"num_leaves": 16}, [
        ({"leaves_to_search": 1, "reorder_neighbors": 100}, 0.1),
        ({"leaves_to_search": 16, "reorder_neighbors": 400}, 0.97),
    ]),
    ("glass.py", {"search_quant": "FP32", "refine_quant": ""}, [({"ef": 400}, 0.97)]),
    ("glass.py", {"index": "NSG", "search_quant": "SQ8"}, [({"ef": 400}, 0.9)]),
    ("vsag.py", {"ef_construction": 100}, [({"ef": 10}, 0.6), ({"ef": 400}, 0.98)]),
    ("svs.py", {"window_size": 100}, [({"window": 10}, 0.6), ({"window": 400}, 0.99)]),
    ("svs.py", {"codes": "f16"}, [({"window": 400, "capacity": 500}, 0.98)]),
    ("svs.py", {"codes": "lvq4x8"}, [({"window": 400}, 0.98)]),
    ("svs.py", {"codes": "leanvec4x8", "leanvec_dims": 12}, [({"window": 400}, 0.9)]),
    ("ngt.py", {"edges": 30, "outdegree": 10, "indegree": 30}, [({"epsilon": 0.0}, 0.5), ({"epsilon": 0.3}, 0.98)]),
    ("ngt.py", {"edges": 30, "outdegree": 0, "indegree": 0}, [({"epsilon": 0.3}, 0.98)]),
    ("rabitqlib.py", {"ef_construction": 100}, [({"ef": 20}, 0.5), ({"ef": 400}, 0.98)]),
    ("rabitqlib.py", {"bits": 8}, [({"ef": 400}, 0.9)]),
    ("rabitqlib.py", {"index": "hnsw", "bits": 8}, [({"ef": 400}, 0.9)]),
    ("rabitqlib.py", {"index": "ivf", "clusters": 16, "bits": 32}, [({"nprobe": 16}, 0.97)]),
    ("diskann.py", {"R": 32, "L": 100}, [({"L_search": 10}, 0.6), ({"L_search": 400}, 0.99)]),
]
SCRIPTS = sorted({script for script, _, _ in INDEXES})
# Workers with save(); those whose graphs are not for inner products; those that search on one thread; where not D.
SAVES = ("hnswlib.py", "faiss.py", "usearch.py", "voyager.py", "vsag.py", "rabitqlib.py")
NO_INNER_PRODUCT = ("ngt.py", "NSG")
ONE_THREAD = ("vsag.py",)
# Codes that their package refuses on other processors than Intel's.
INTEL_ONLY = ("lvq", "leanvec")
# Workers with a filtered search.
FILTERS = ("hnswlib.py", "faiss.py")
DIMENSIONS = {"rabitqlib.py": 64}  # its clustering and rotation take no fewer


def is_intel():
    with open("/proc/cpuinfo") as file:
        return "GenuineIntel" in file.read()


def data(folder, d=D):
    """Writes base and queries into one file behind 4096 bytes of something else; returns arrays and matrices."""
    rng = numpy.random.default_rng(7)
    # Vectors of different lengths, so that the three metrics have different neighbours.
    train = (rng.standard_normal((N, d)) * rng.uniform(0.5, 2.0, (N, 1))).astype("<f4")
    test = rng.standard_normal((QUERIES, d)).astype("<f4")
    path = os.path.join(folder, "data.bin")
    with open(path, "wb") as file:
        file.write(b"\xff" * 4096 + train.tobytes() + test.tobytes())

    def matrix(rows, offset):
        return {"path": path, "offset": offset, "n": len(rows), "d": d, "element": "f32"}

    return train, test, matrix(train, 4096), matrix(test, 4096 + train.nbytes)


def exact(train, test, metric, k):
    a, b = train.astype("f8"), test.astype("f8")
    if metric == "cosine":
        a = a / numpy.linalg.norm(a, axis=1, keepdims=True)
        b = b / numpy.linalg.norm(b, axis=1, keepdims=True)
    distances = -(b @ a.T)
    if metric == "l2":
        distances = (a * a).sum(1)[None, :] + 2 * distances
    return numpy.argsort(distances, axis=1, kind="stable")[:, :k]


def recall(ids, truth):
    return float(numpy.mean([len(set(found) & set(true)) / len(true) for found, true in zip(ids, truth)]))


class Worker:
    """A worker process and the conversation with it."""

    def __init__(self, folder, script, trial, flags=()):
        path = os.path.join(folder, "trial.json")
        with open(path, "w", encoding="utf-8") as file:
            json.dump(trial, file)
        command = [sys.executable, *flags, os.path.join(FOLDER, script), path]
        # Started inside the workers' folder: the place where a name clash would show.
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=FOLDER
        )

    def read(self):
        line = self.process.stdout.readline()
        assert line, "the worker ended without an answer"
        ((kind, fields),) = json.loads(line).items()
        return kind, fields

    def read_past(self, *progress):
        kind, fields = self.read()
        while kind in progress:
            kind, fields = self.read()
        return kind, fields

    def ask(self, kind, **fields):
        self.process.stdin.write(json.dumps({kind: fields}) + "\n")
        self.process.stdin.flush()

    def end(self):
        self.process.stdin.close()
        rest = self.process.stdout.read()
        self.process.stdout.close()
        assert rest == "", f"unexpected: {rest!r}"
        return self.process.wait(timeout=60)


def trial_of(build, metric, matrices, save=None):
    train, test = matrices
    return {
        "protocol": 1, "trial": "selftest", "kind": "peer", "build": build, "threads": 2, "seed": 5, "metric": metric,
        "train": train, "test": test, "save": save, "profile": None,
    }


def search(worker, folder, params, k=K, mode="latency", threads=1, warmup=1, **changed):
    ids, nanoseconds = os.path.join(folder, "ids.bin"), os.path.join(folder, "ns.bin")
    for path in (ids, nanoseconds):
        if os.path.exists(path):
            os.unlink(path)
    request = {
        "key": "k1", "k": k, "params": params, "mode": mode, "threads": threads, "warmup": warmup,
        "ids": ids, "latencies": nanoseconds if mode in ("latency", "filtered") else None,
    }
    worker.ask("search", **{**request, **changed})
    kind, fields = worker.read_past("searching")
    if kind == "failed":
        assert not os.path.exists(ids) and not os.path.exists(nanoseconds), "a failed search leaves no files"
        return kind, fields, None
    assert kind == "searched" and fields["key"] == "k1", (kind, fields)
    assert fields["wall_seconds"] > 0 and fields["cpu_seconds"] >= 0 and fields["faults_minor"] >= 0
    found = numpy.fromfile(ids, dtype="<i4").reshape(QUERIES, k)
    if mode in ("latency", "filtered"):
        times = numpy.fromfile(nanoseconds, dtype="<u8")
        assert len(times) == QUERIES and 0 < times.sum() <= fields["wall_seconds"] * 1e9
    return kind, fields, found


def check_recall(folder, metric, script, build, points):
    train, test, *matrices = data(folder, DIMENSIONS.get(script, D))
    truth = exact(train, test, metric, K)
    save = os.path.join(folder, "saved.index") if script in SAVES else None
    worker = Worker(folder, script, trial_of(build, metric, matrices, save=save))
    kind, hello = worker.read()
    assert kind == "hello" and hello["protocol"] == 1 and hello["library"].split()[0] == script.removesuffix(".py"), hello
    kind, built = worker.read_past("building")
    if kind == "failed" and not is_intel() and any(word in str(build) for word in INTEL_ONLY):
        print(f"--  {script:14}{metric:15}{json.dumps(build)} refused here: {built['message']}")
        return
    assert kind == "built", (kind, built)
    assert built["stages"]["construct"] > 0 and built["cpu_seconds"] > 0
    assert not save or built["stages"]["save"] > 0
    assert not built["memory"] or sum(built["memory"].values()) >= N * D * 2, "an index that says its bytes holds vectors"
    assert not save or os.path.getsize(save) > 0
    for params, least in points:
        answers = []
        for mode, threads in (("latency", 1), ("throughput", 1), ("throughput", 2)):
            kind, fields, ids = search(worker, folder, params, mode=mode, threads=threads)
            if script in ONE_THREAD and threads > 1:
                assert kind == "failed" and "threads: expected 1" in fields["message"], fields
                continue
            assert kind == "searched", fields
            reached = recall(ids, truth)
            assert reached >= least, f"{script} {build} {params} {metric} {mode}: recall {reached} < {least}"
            answers.append(ids)
        assert recall(answers[-1], answers[0]) > 0.99, "one by one and in a batch, the same neighbours"
    check_filtered(worker, folder, script, (train, test, metric), points[-1])
    worker.ask("exit")
    assert worker.end() == 0
    print(f"ok  {script:14}{metric:15}{json.dumps(build)}")


def write_filters(folder, masks, of_query):
    """The filters of a request: masks (filters x N, bool), and which of them each query uses."""
    path = os.path.join(folder, "filters.bin")
    bits = numpy.packbits(masks, axis=1, bitorder="little")
    width = -(-bits.shape[1] // 8) * 8
    bits = numpy.pad(bits, ((0, 0), (0, width - bits.shape[1])))
    with open(path, "wb") as file:
        file.write(bits.tobytes() + numpy.asarray(of_query, dtype="<i4").tobytes())
    return {
        "bitmaps": {"path": path, "offset": 0, "n": len(masks), "d": width, "element": "u8"},
        "of_query": {"path": path, "offset": bits.nbytes, "n": len(of_query), "d": 1, "element": "i32"},
    }


def check_filtered(worker, folder, script, data, point):
    """Only what a query's filter admits is found, and most of it; a library without filters says so and goes on."""
    train, test, metric = data
    params, least = point
    rng = numpy.random.default_rng(11)
    masks = rng.random((3, N)) < [[0.5], [0.2], [0.1]]
    of_query = [i % 3 for i in range(QUERIES)]
    filters = write_filters(folder, masks, of_query)
    kind, fields, ids = search(worker, folder, params, mode="filtered", filters=filters)
    if script not in FILTERS:
        assert kind == "failed" and fields["stage"] == "unsupported", (kind, fields)
        assert search(worker, folder, params)[0] == "searched", "the worker goes on"
        return
    assert kind == "searched", fields
    hits = 0
    for query, of in enumerate(of_query):
        found, allowed = ids[query][ids[query] >= 0], numpy.flatnonzero(masks[of])
        assert numpy.isin(found, allowed).all() and len(set(found.tolist())) == len(found), (script, found)
        truth = allowed[exact(train[allowed], test[query : query + 1], metric, K)[0]]
        hits += len(set(found.tolist()) & set(truth.tolist()))
    # A list that is not probed holds matches too, and a graph meets fewer of them.
    assert hits >= QUERIES * K * least * 0.8, f"{script} {metric}: {hits} of {QUERIES * K} among what matches"
    for changed, expected in [
        ({"filters": None}, "do not go together"),
        ({"mode": "latency"}, "do not go together"),
        ({"filters": {**filters, "of_query": {**filters["of_query"], "n": 3}}}, "one of 3 for each of"),
        ({"filters": {**filters, "bitmaps": {**filters["bitmaps"], "element": "u64"}}}, "expected u8, found u64"),
    ]:
        kind, fields, _ = search(worker, folder, params, **{"mode": "filtered", "filters": filters, **changed})
        assert kind == "failed" and fields["stage"] == "search" and expected in fields["message"], (kind, fields)


def check_unit_length(folder):
    """Vectors that are of unit length already take the path without normalising; neighbours stay the same."""
    train, test, *_ = data(folder)
    train = train / numpy.linalg.norm(train, axis=1, keepdims=True)
    test = test / numpy.linalg.norm(test, axis=1, keepdims=True)
    path = os.path.join(folder, "unit.bin")
    with open(path, "wb") as file:
        file.write(train.tobytes() + test.tobytes())
    matrices = [
        {"path": path, "offset": 0, "n": N, "d": D, "element": "f32"},
        {"path": path, "offset": train.nbytes, "n": QUERIES, "d": D, "element": "f32"},
    ]
    worker = Worker(folder, "faiss.py", trial_of({"factory": "Flat"}, "cosine", matrices))
    assert worker.read_past("hello", "building")[0] == "built"
    assert recall(search(worker, folder, {})[2], exact(train, test, "cosine", K)) > 0.99
    assert worker.end() == 0, "the end of input ends the worker"
    print("ok  faiss.py      vectors of unit length")


def check_failures(folder, script, build, good, bad):
    _, _, *matrices = data(folder)
    worker = Worker(folder, script, trial_of(build, "l2", matrices))
    assert worker.read_past("hello", "building")[0] == "built"
    for params, changed, expected in [
        (bad, {}, next(iter(bad))),
        (good, {"mode": "closed_loop"}, "latency or throughput"),
        (good, {"k": 0}, "at least 1"),
        (good, {"ids": os.path.join(folder, "no", "such", "folder", "ids.bin")}, "No such file"),
        (good, {"latencies": os.path.join(folder, "no", "such", "folder", "ns.bin")}, "No such file"),
        (good, {"mode": "throughput", "latencies": os.path.join(folder, "ns.bin")}, "latencies were asked for"),
    ]:
        kind, fields, _ = search(worker, folder, params, **changed)
        assert kind == "failed" and fields["stage"] == "search" and expected in fields["message"], (kind, fields)
    kind, _, ids = search(worker, folder, good, k=K, mode="throughput", threads=2)
    assert kind == "searched" and ids.min() >= 0, "after a failed search the worker goes on"
    worker.ask("dance")
    assert worker.end() == 2, "what is not the protocol ends the worker (and is quoted on standard error)"

    for changed, expected in [
        ({"build": {**build, "m": 16}}, "m"),
        ({"protocol": 2}, "protocol: expected 1, found 2"),
        ({"profile": {"heap": {"file": "x"}}}, "profiles"),
        ({"train": {**matrices[0], "element": "u8"}}, "expected f32"),
        ({"train": {**matrices[0], "n": N * 100}}, "mmap length"),
    ]:
        worker = Worker(folder, script, {**trial_of(build, "l2", matrices), **changed})
        kind, fields = worker.read_past("hello", "building")
        assert kind == "failed" and fields["stage"] == "build" and expected in fields["message"], (kind, fields)
        assert worker.end() == 0
    print(f"ok  {script:14}failures")


def check_bounded(folder):
    """What bounds an unfiltered search of faiss' inverted lists bounds a filtered one."""
    _, _, *matrices = data(folder)
    worker = Worker(folder, "faiss.py", trial_of({"factory": "IVF16,Flat"}, "l2", matrices))
    assert worker.read_past("hello", "building")[0] == "built"
    filters = write_filters(folder, numpy.ones((1, N), dtype=bool), [0] * QUERIES)
    for bound, same in [(0, True), (N // 10, False)]:
        params = {"nprobe": 16, "max_codes": bound}
        plain = search(worker, folder, params)[2]
        filtered = search(worker, folder, params, mode="filtered", filters=filters)[2]
        assert (plain == filtered).all(), f"max_codes {bound}"
        assert (plain == search(worker, folder, {"nprobe": 16, "max_codes": 0})[2]).all() == same, f"max_codes {bound}"
    assert worker.end() == 0
    print("ok  faiss.py      max_codes with a filter")


def check_abandoned(folder, script):
    """A worker whose harness has ended before it could ask for the kernel's help says nothing and builds nothing."""
    _, _, *matrices = data(folder)
    assert Worker(folder, script, trial_of({}, "l2", matrices)).end() == 1
    print(f"ok  {script:14}without a harness")


def check_missing(folder, script):
    """Without site-packages the library is missing: said in one line, with status 0."""
    _, _, *matrices = data(folder)
    worker = Worker(folder, script, trial_of({}, "l2", matrices), flags=("-I", "-S"))
    kind, fields = worker.read()
    assert kind == "failed" and fields["stage"] == "missing" and "just peers" in fields["message"], (kind, fields)
    assert worker.end() == 0
    print(f"ok  {script:14}missing library")


def check_small(folder, script, build, params):
    """k larger than n: every vector once, then -1."""
    train, test, small, queries = data(folder)
    small = {**small, "n": 7}
    worker = Worker(folder, script, trial_of(build, "l2", [small, queries]))
    assert worker.read_past("hello", "building")[0] == "built"
    for mode in ("latency", "throughput"):
        kind, fields, ids = search(worker, folder, params, k=10, mode=mode)
        assert kind == "searched", fields
        assert (numpy.sort(ids[:, :7]) == numpy.arange(7)).all() and (ids[:, 7:] == -1).all(), ids[0]
    assert worker.end() == 0
    print(f"ok  {script:14}k larger than n")


def main():
    scripts = sys.argv[1:] or SCRIPTS
    with tempfile.TemporaryDirectory() as folder:
        for script, build, points in INDEXES:
            if script not in scripts:
                continue
            for metric in ("l2", "inner_product", "cosine"):
                if metric == "inner_product" and any(word in f"{script} {build}" for word in NO_INNER_PRODUCT):
                    continue
                if metric == "inner_product" and "IVF" not in str(build) and "Flat" not in str(build):
                    # Graphs by inner product over vectors of different lengths have no such floor.
                    points = [(params, 0.2) for params, _ in points]
                check_recall(folder, metric, script, build, points)
        check_unit_length(folder)
        check_failures(folder, "hnswlib.py", {"M": 8}, {"ef": 20}, {"efSearch": 20})
        check_failures(folder, "faiss.py", {"factory": "HNSW8"}, {"efSearch": 20}, {"ef": 20})
        check_bounded(folder)
        check_abandoned(folder, "faiss.py")
        for script in scripts:
            check_missing(folder, script)
        check_small(folder, "hnswlib.py", {}, {"ef": 10})
        check_small(folder, "faiss.py", {"factory": "Flat"}, {})
        check_small(folder, "usearch.py", {}, {"expansion_search": 10})
        check_small(folder, "svs.py", {}, {"window": 10})
    print("all workers speak the protocol")


if __name__ == "__main__":
    main()
