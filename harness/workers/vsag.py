#!/usr/bin/env python3
"""vsag (HGraph) under the worker protocol.

build: max_degree, ef_construction, base_quantization ("fp32", "sq8", "sq8_uniform", "sq4_uniform", "rabitq", ...),
precise_quantization ("": no reordering), graph ("nsw", "odescent"), optimise (1: vsag tunes its prefetching); search: ef.
Metrics: l2 -> "l2", inner_product -> "ip", cosine -> "l2" over normalised vectors, because uniform codes lose far more
recall under "ip". vsag takes no seed.

The Python package searches one query a call and holds the interpreter's lock meanwhile: throughput is a loop on one
thread, and more threads are refused.
"""

import importlib.util
import json
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


class Vsag(base.Library):
    build_params = {
        "max_degree": (int, 32),
        "ef_construction": (int, 400),
        "base_quantization": (str, "sq8_uniform"),
        "precise_quantization": (str, "fp32"),
        "graph": (str, "nsw"),
        "optimise": (int, 0),
    }
    search_params = {"ef": (int, None)}

    def load(self):
        import pyvsag

        pyvsag.set_logger_off()
        self.vsag = pyvsag
        return f"vsag {pyvsag.__version__}", None

    def build(self, trial, train, stages, building):
        import numpy

        params = base.choose(trial["build"], self.build_params, "build")
        self.metric, (self.n, self.d) = trial["metric"], train.shape
        index = {
            "max_degree": params["max_degree"],
            "ef_construction": params["ef_construction"],
            "base_quantization_type": params["base_quantization"],
            "graph_type": params["graph"],
            "build_thread_count": trial["threads"],
            "use_elp_optimizer": bool(params["optimise"]),
            "use_reorder": bool(params["precise_quantization"]),
        }
        if params["precise_quantization"]:
            index["precise_quantization_type"] = params["precise_quantization"]
        space = {"dtype": "float32", "metric_type": SPACES[self.metric], "dim": self.d}
        building("construct", 0, self.n)
        start = time.perf_counter()
        # pyvsag ends the process where an array is read-only, as the map of the file is.
        train = numpy.require(base.prepared(train, self.metric), requirements="W")
        self.index = self.vsag.Index("hgraph", json.dumps({**space, "index_param": index}))
        self.index.build(train.reshape(-1), numpy.arange(self.n), self.n, self.d)
        stages["construct"] = time.perf_counter() - start
        building("construct", self.n, self.n)

    def save(self, path):
        self.index.save(path)

    def prepare(self, params, queries, k, threads):
        import numpy

        if threads > 1:
            raise base.Refused(f"threads: expected 1 (pyvsag holds the interpreter's lock), found {threads}")
        self.params = json.dumps({"hgraph": {"ef_search": base.choose(params, self.search_params, "search")["ef"]}})
        self.k = min(k, self.n)
        return numpy.require(base.prepared(queries, self.metric), requirements="W")

    def search(self, queries, k):
        import numpy

        found = [self.index.knn_search(query, self.k, self.params)[0] for query in queries]
        return numpy.array(found)


if __name__ == "__main__":
    base.main(Vsag())
