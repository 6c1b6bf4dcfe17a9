#!/usr/bin/env python3
"""usearch (HNSW) under the worker protocol.

build: connectivity, expansion_add, dtype ("f32", "bf16", "f16", "i8"); search: expansion_search.
Metrics: l2 -> "l2sq", inner_product -> "ip", cosine -> "ip" over normalised vectors ("cos" for i8, which it scales by).
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

SPACES = {"l2": "l2sq", "inner_product": "ip", "cosine": "ip"}
DTYPES = ("f32", "bf16", "f16", "i8")
BLOCKS = 20


class Usearch(base.Library):
    build_params = {"connectivity": (int, 16), "expansion_add": (int, 128), "dtype": (str, "f32")}
    search_params = {"expansion_search": (int, None)}

    def load(self):
        import usearch
        import usearch.index

        self.usearch = usearch.index
        return f"usearch {usearch.__version__}", None

    def build(self, trial, train, stages, building):
        import numpy

        params = base.choose(trial["build"], self.build_params, "build")
        if params["dtype"] not in DTYPES:
            raise base.Refused(f"build parameter dtype: expected one of {', '.join(DTYPES)}, found {params['dtype']!r}")
        self.metric, (self.n, self.d) = trial["metric"], train.shape
        start = time.perf_counter()
        space = "cos" if self.metric == "cosine" and params["dtype"] == "i8" else SPACES[self.metric]
        self.index = self.usearch.Index(ndim=self.d, metric=space, **params)
        train = base.prepared(train, self.metric)
        step = max(self.n // BLOCKS, 1000)
        for first in range(0, self.n, step):
            building("construct", first, self.n)
            last = min(first + step, self.n)
            self.index.add(numpy.arange(first, last), train[first:last], threads=trial["threads"])
        stages["construct"] = time.perf_counter() - start
        building("construct", self.n, self.n)

    def save(self, path):
        self.index.save(path)

    def memory(self):
        return {"index": self.index.serialized_length}

    def prepare(self, params, queries, k, threads):
        params = base.choose(params, self.search_params, "search")
        self.index.expansion_search = params["expansion_search"]
        self.k, self.threads = min(k, self.n), threads
        return base.prepared(queries, self.metric)

    def search(self, queries, k):
        found = self.index.search(queries, self.k, threads=self.threads).keys
        return found.reshape(len(queries), -1)


if __name__ == "__main__":
    base.main(Usearch())
