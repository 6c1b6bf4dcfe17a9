#!/usr/bin/env python3
"""hnswlib under the worker protocol.

build: M, efConstruction (and the trial's threads and seed); search: ef.
Filtered search: knn_query's `filter`, a Python callable that hnswlib asks about every vector that it meets, which is what
its users have; here the quickest one there is, membership in a frozenset.
Metrics: l2 -> space "l2", inner_product -> "ip", cosine -> "cosine" (hnswlib normalises, in the build and per query).
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

SPACES = {"l2": "l2", "inner_product": "ip", "cosine": "cosine"}
BLOCKS = 50


class Hnswlib(base.Library):
    build_params = {"M": (int, 16), "efConstruction": (int, 200)}
    search_params = {"ef": (int, None)}

    def load(self):
        import hnswlib
        from importlib.metadata import version

        self.hnswlib = hnswlib
        # Compiled for the machine it was installed on; which of its kernels runs is not to be seen from outside.
        return f"hnswlib {version('hnswlib')}", None

    def build(self, trial, train, stages, building):
        import numpy

        params = base.choose(trial["build"], self.build_params, "build")
        self.n, self.d = train.shape
        self.threads = trial["threads"]
        start = time.perf_counter()
        self.index = self.hnswlib.Index(space=SPACES[trial["metric"]], dim=self.d)
        self.index.init_index(
            max_elements=self.n,
            M=params["M"],
            ef_construction=params["efConstruction"],
            random_seed=trial["seed"] % 2**31,
        )
        step = max(self.n // BLOCKS, 1000)
        for first in range(0, self.n, step):
            building("construct", first, self.n)
            last = min(first + step, self.n)
            ids = numpy.arange(first, last)
            self.index.add_items(train[first:last], ids, num_threads=self.threads)
        stages["construct"] = time.perf_counter() - start
        building("construct", self.n, self.n)

    def save(self, path):
        self.index.save_index(path)

    def memory(self):
        vectors = self.n * self.d * 4
        labels = self.n * 8
        return {"vectors": vectors, "labels": labels, "graph": self.index.index_file_size() - vectors - labels}

    def prepare(self, params, queries, k, threads):
        import numpy

        params = base.choose(params, self.search_params, "search")
        self.index.set_ef(params["ef"])
        self.index.set_num_threads(threads)
        self.k = min(k, self.n)
        self.threads = threads
        self.nothing = numpy.empty((1, 0), dtype="u8")
        return queries

    def search(self, queries, k):
        return self.index.knn_query(queries, self.k, self.threads)[0]

    def admit(self, bitmaps):
        return [frozenset(base.ids_of(bitmap).tolist()) for bitmap in bitmaps]

    def search_among(self, query, k, admitted):
        try:
            return self.index.knn_query(query, min(self.k, len(admitted)), 1, admitted.__contains__)[0]
        except RuntimeError as error:
            # It has no answer of fewer than k: where it finds fewer, its users get this error and nothing else.
            if "contiguous" not in str(error):
                raise
            return self.nothing


if __name__ == "__main__":
    base.main(Hnswlib())
