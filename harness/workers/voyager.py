#!/usr/bin/env python3
"""voyager (HNSW) under the worker protocol.

build: M, ef_construction, storage ("Float32", "Float8", "E4M3"), and the trial's threads and seed; search: ef.
Metrics: l2 -> Euclidean, inner_product -> InnerProduct, cosine -> Cosine (voyager normalises, in the build and per
query).
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

SPACES = {"l2": "Euclidean", "inner_product": "InnerProduct", "cosine": "Cosine"}
STORAGES = ("Float32", "Float8", "E4M3")
BLOCKS = 50


class Voyager(base.Library):
    build_params = {"M": (int, 16), "ef_construction": (int, 200), "storage": (str, "Float32")}
    search_params = {"ef": (int, None)}

    def load(self):
        import voyager
        from importlib.metadata import version

        self.voyager = voyager
        return f"voyager {version('voyager')}", None

    def build(self, trial, train, stages, building):
        import numpy

        params = base.choose(trial["build"], self.build_params, "build")
        storage = params["storage"]
        if storage not in STORAGES:
            raise base.Refused(f"build parameter storage: expected one of {', '.join(STORAGES)}, found {storage!r}")
        self.n, self.d = train.shape
        start = time.perf_counter()
        self.index = self.voyager.Index(
            getattr(self.voyager.Space, SPACES[trial["metric"]]),
            num_dimensions=self.d,
            M=params["M"],
            ef_construction=params["ef_construction"],
            random_seed=trial["seed"] % 2**31,
            max_elements=self.n,
            storage_data_type=getattr(self.voyager.StorageDataType, storage),
        )
        step = max(self.n // BLOCKS, 1000)
        for first in range(0, self.n, step):
            building("construct", first, self.n)
            last = min(first + step, self.n)
            block = numpy.array(train[first:last])  # voyager takes writable arrays only
            self.index.add_items(block, list(range(first, last)), num_threads=trial["threads"])
        stages["construct"] = time.perf_counter() - start
        building("construct", self.n, self.n)

    def save(self, path):
        self.index.save(path)

    def prepare(self, params, queries, k, threads):
        import numpy

        self.ef = base.choose(params, self.search_params, "search")["ef"]
        self.k, self.threads = min(k, self.n), threads
        return numpy.array(queries)

    def search(self, queries, k):
        return self.index.query(queries, self.k, self.threads, self.ef)[0]


if __name__ == "__main__":
    base.main(Voyager())
