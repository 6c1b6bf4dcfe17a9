#!/usr/bin/env python3
"""rabitqlib (SymphonyQG, HNSW and IVF over RaBitQ codes) under the worker protocol.

build: index ("symqg", "hnsw", "ivf"), then by index
  symqg: degree (a multiple of 32), ef_construction, bits (0: raw vectors, 4, 8), init ("pipnn", ...);
  hnsw: M, ef_construction, bits (1 to 9), clusters;
  ivf: clusters, bits (1 to 9, or 32: ranked by raw vectors).
search: ef (symqg, hnsw), nprobe (ivf).
Metrics: l2 -> "l2", inner_product -> "ip", cosine -> "l2" over normalised vectors.
"""

import importlib.util
import os
import sys
import time

FOLDER = os.path.dirname(os.path.abspath(__file__))


def load_base():
    """nearlab_worker by its path: this folder must not be on sys.path, where it would hide the library itself."""
    path = os.path.join(FOLDER, "nearlab_worker.py")
    spec = importlib.util.spec_from_file_location("nearlab_worker", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


base = load_base()
sys.path = base.without_own_folder(sys.path, FOLDER)

SPACES = {"l2": "l2", "inner_product": "ip", "cosine": "l2"}
INDEXES = {
    "symqg": {"degree": (int, 32), "ef_construction": (int, 400), "bits": (int, 0), "init": (str, "pipnn")},
    "hnsw": {"M": (int, 16), "ef_construction": (int, 200), "bits": (int, 5), "clusters": (int, 16)},
    "ivf": {"clusters": (int, None), "bits": (int, 4)},
}


class Rabitqlib(base.Library):
    def load(self):
        import rabitqlib
        from importlib.metadata import version

        self.rabitqlib = rabitqlib
        return f"rabitqlib {version('rabitqlib')}", None

    def build(self, trial, train, stages, building):
        params = dict(trial["build"])
        self.kind = params.pop("index", "symqg")
        if self.kind not in INDEXES:
            raise base.Refused(f"build parameter index: expected one of {', '.join(INDEXES)}, found {self.kind!r}")
        params = base.choose(params, INDEXES[self.kind], "build")
        self.metric, (self.n, self.d) = trial["metric"], train.shape
        start = time.perf_counter()
        train = base.prepared(train, self.metric)
        prepared = time.perf_counter() - start
        make = {"symqg": self.build_symqg, "hnsw": self.build_hnsw, "ivf": self.build_ivf}[self.kind]
        make(params, trial, train, stages, building)
        stages["construct"] += prepared

    def build_symqg(self, params, trial, train, stages, building):
        building("construct", 0, self.n)
        start = time.perf_counter()
        space = SPACES[self.metric]
        self.index = self.rabitqlib.SymqgIndex(self.d, params["degree"], space, params["bits"])
        self.index.build(train, params["ef_construction"], trial["threads"], params["init"])
        stages["construct"] = time.perf_counter() - start

    def build_hnsw(self, params, trial, train, stages, building):
        clusters = self.train_clusters(params["clusters"], trial, train, stages, building)
        start = time.perf_counter()
        self.index = self.rabitqlib.HnswIndex(
            self.d, self.n, params["M"], params["ef_construction"], params["bits"], SPACES[self.metric],
            trial["seed"] % 2**31,
        )
        self.index.build(train, clusters.centroids, clusters.assignments, trial["threads"])
        stages["construct"] = time.perf_counter() - start

    def build_ivf(self, params, trial, train, stages, building):
        clusters = self.train_clusters(params["clusters"], trial, train, stages, building)
        start = time.perf_counter()
        self.index = self.rabitqlib.IvfIndex(self.d, self.n, params["clusters"], params["bits"], SPACES[self.metric])
        self.index.build(train, clusters.centroids, clusters.assignments, trial["threads"])
        stages["construct"] = time.perf_counter() - start

    def train_clusters(self, count, trial, train, stages, building):
        building("train", 0, self.n)
        start = time.perf_counter()
        # As the library's manual has it: by a graph for many centroids, flat for few.
        kind = self.rabitqlib.QGKMeans if count > 1000 else self.rabitqlib.RaBitQKMeans
        clusters = kind(self.d, count, num_threads=trial["threads"], seed=trial["seed"] % 2**31)
        clusters.train(train)
        stages["train"] = time.perf_counter() - start
        building("construct", 0, self.n)
        return clusters

    def save(self, path):
        self.index.save(path)

    def prepare(self, params, queries, k, threads):
        name = "nprobe" if self.kind == "ivf" else "ef"
        value = base.choose(params, {name: (int, None)}, "search")[name]
        self.given = {name: value, "num_threads": threads}
        self.k = min(k, self.n)
        return base.prepared(queries, self.metric)

    def search(self, queries, k):
        return self.index.search(queries, self.k, **self.given)[0].astype("i4")


if __name__ == "__main__":
    base.main(Rabitqlib())
