#!/usr/bin/env python3
"""ngt (ANNG, and ONNG made from it) under the worker protocol.

build: edges (edge_size_for_creation), outdegree and indegree (of ONNG; 0 and 0: the ANNG itself), object ("Float",
"Float16"); search: epsilon, edge_size (-2: as the index was tuned).
Metrics: l2 -> "L2", cosine -> "Normalized Cosine" over normalised vectors. ngt takes no seed.

ngt keeps its index in a folder, which goes when the worker ends. Batches run on OpenMP's threads, which ngt itself does
not set.
"""

import ctypes
import importlib.util
import os
import re
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

SPACES = {"l2": "L2", "cosine": "Normalized Cosine"}


def set_openmp_threads(threads):
    """Sets the threads of the OpenMP runtime that ngt brought along (others may be mapped too)."""
    with open("/proc/self/maps", encoding="utf-8") as file:
        runtime = re.search(r"/\S*ngt\.libs/libgomp\S*", file.read())
    if not runtime:
        raise base.Refused("ngt: no OpenMP runtime of its own is mapped, so its threads cannot be set")
    ctypes.CDLL(runtime.group()).omp_set_num_threads(threads)


class Ngt(base.Library):
    build_params = {"edges": (int, 100), "outdegree": (int, 10), "indegree": (int, 120), "object": (str, "Float")}
    search_params = {"epsilon": (float, None), "edge_size": (int, -2)}

    def load(self):
        import ngtpy
        from importlib.metadata import version

        self.ngtpy = ngtpy
        return f"ngt {version('ngt')}", None

    def build(self, trial, train, stages, building):
        params = base.choose(trial["build"], self.build_params, "build")
        if trial["metric"] not in SPACES:
            raise base.Refused(f"metric: expected {' or '.join(SPACES)}, found {trial['metric']}")
        self.metric, (self.n, self.d) = trial["metric"], train.shape
        set_openmp_threads(trial["threads"])
        self.folder = tempfile.TemporaryDirectory(prefix="nearlab-ngt-")
        anng, onng = os.path.join(self.folder.name, "anng"), os.path.join(self.folder.name, "onng")
        building("construct", 0, self.n)
        start = time.perf_counter()
        self.ngtpy.create(
            anng, self.d, edge_size_for_creation=params["edges"], distance_type=SPACES[self.metric],
            object_type=params["object"],
        )
        index = self.ngtpy.Index(anng)
        index.batch_insert(base.prepared(train, self.metric), num_threads=trial["threads"])
        index.save()
        index.close()
        stages["construct"] = time.perf_counter() - start
        building("optimise", 0, 0)
        start = time.perf_counter()
        path = anng
        if params["outdegree"] or params["indegree"]:
            optimizer = self.ngtpy.Optimizer(
                num_of_outgoings=params["outdegree"], num_of_incomings=params["indegree"], log_disabled=True
            )
            # Edges are reversed and shortcuts removed; trial searches over its own queries would take far longer than both.
            optimizer.set_processing_modes(True, False, False, False)
            optimizer.execute(anng, onng)
            path = onng
        self.index = self.ngtpy.Index(path, read_only=True)
        stages["optimise"] = time.perf_counter() - start

    def prepare(self, params, queries, k, threads):
        params = base.choose(params, self.search_params, "search")
        self.k = min(k, self.n)
        self.index.set(num_of_search_objects=self.k, epsilon=params["epsilon"], edge_size=params["edge_size"])
        set_openmp_threads(threads)
        return base.prepared(queries, self.metric)

    def search(self, queries, k):
        if len(queries) == 1:
            return self.index.search(queries[0], self.k, with_distance=False).reshape(1, -1)
        results = self.ngtpy.BatchResults()
        self.index.batch_search(queries, results, self.k, with_distance=False)
        return results.get_ids()


if __name__ == "__main__":
    base.main(Ngt())
