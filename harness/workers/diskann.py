#!/usr/bin/env python3
"""diskann (the Vamana graph in memory of diskannpy-rust) under the worker protocol.

build: R, L, alpha, slack; search: L_search (its L, under a name of its own).
Metrics: l2 -> "l2", cosine -> "l2" over normalised vectors; inner_product -> "innerproduct". diskann takes no seed.

The package builds into files and loads them: the build's time holds both, and the files go when the worker ends.
"""

import importlib.util
import os
import sys
import tempfile
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

SPACES = {"l2": "l2", "inner_product": "innerproduct", "cosine": "l2"}


class Diskann(base.Library):
    build_params = {"R": (int, 64), "L": (int, 100), "alpha": (float, 1.2), "slack": (float, 1.3)}
    search_params = {"L_search": (int, None)}

    def load(self):
        import diskannpy
        from importlib.metadata import version

        self.diskannpy = diskannpy
        return f"diskann {version('diskannpy-rust')} (diskannpy-rust)", None

    def build(self, trial, train, stages, building):
        import numpy

        params = base.choose(trial["build"], self.build_params, "build")
        self.metric, (self.n, self.d) = trial["metric"], train.shape
        self.folder = tempfile.TemporaryDirectory(prefix="nearlab-diskann-")
        building("construct", 0, self.n)
        start = time.perf_counter()
        self.diskannpy.build_async_index(
            data=numpy.asarray(base.prepared(train, self.metric)),
            distance_metric=SPACES[self.metric],
            index_directory=self.folder.name,
            complexity=params["L"],
            graph_degree=params["R"],
            num_start_pts=1,
            num_threads=trial["threads"],
            graph_slack_factor=params["slack"],
            max_fp_vecs_per_prune=0,
            num_tasks=trial["threads"],
            pq_seed=trial["seed"] % 2**31,
            insert_minibatch_size=1,
            alpha=params["alpha"],
        )
        self.params, self.threads = params, None
        self.open(1)
        stages["construct"] = time.perf_counter() - start
        building("construct", self.n, self.n)

    def open(self, threads):
        if threads == self.threads:
            return
        self.index = self.diskannpy.AsyncDiskIndex(self.folder.name, num_threads=threads)
        self.threads = threads

    def prepare(self, params, queries, k, threads):
        self.complexity = max(base.choose(params, self.search_params, "search")["L_search"], k)
        self.open(threads)
        self.k = min(k, self.n)
        return base.prepared(queries, self.metric)

    def search(self, queries, k):
        if len(queries) == 1:
            return self.index.search(queries[0], self.k, self.complexity).identifiers[None]
        return self.index.batch_search(queries, self.k, self.complexity, self.threads).identifiers


if __name__ == "__main__":
    base.main(Diskann())
