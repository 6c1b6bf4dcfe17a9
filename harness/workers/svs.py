#!/usr/bin/env python3
"""svs (Scalable Vector Search; a static Vamana graph) under the worker protocol.

build: graph_max_degree, window_size, alpha (0.0: the library's own), codes ("f32", "f16"), space ("l2" or "mip" under
cosine); search: window, capacity (0: the window).
Metrics: l2 -> L2, inner_product -> MIP, cosine -> `space` over normalised vectors. alpha is above 1 under L2, below 1
under MIP. svs takes no seed. The package refuses its LVQ and LeanVec codes on processors that are not Intel's, so this
worker has none of them.
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


class Svs(base.Library):
    build_params = {
        "graph_max_degree": (int, 32),
        "window_size": (int, 200),
        "alpha": (float, 0.0),
        "codes": (str, "f32"),
        "space": (str, "l2"),
    }
    search_params = {"window": (int, None), "capacity": (int, 0)}

    def load(self):
        import svs
        from importlib.metadata import version

        self.svs = svs
        return f"svs {version('scalable-vs')}", None

    def build(self, trial, train, stages, building):
        params = base.choose(trial["build"], self.build_params, "build")
        for name, known in (("codes", ("f32", "f16")), ("space", ("l2", "mip"))):
            if params[name] not in known:
                raise base.Refused(f"build parameter {name}: expected {' or '.join(known)}, found {params[name]!r}")
        self.metric, (self.n, self.d) = trial["metric"], train.shape
        space = {"l2": "l2", "inner_product": "mip", "cosine": params["space"]}[self.metric]
        building("construct", 0, self.n)
        start = time.perf_counter()
        train = base.prepared(train, self.metric)
        if params["codes"] == "f16":
            train = train.astype("f2")
        graph = self.svs.VamanaBuildParameters(
            graph_max_degree=params["graph_max_degree"], window_size=params["window_size"]
        )
        if params["alpha"]:
            graph.alpha = params["alpha"]
        distance = self.svs.DistanceType.L2 if space == "l2" else self.svs.DistanceType.MIP
        self.index = self.svs.Vamana.build(graph, train, distance, trial["threads"])
        stages["construct"] = time.perf_counter() - start
        building("construct", self.n, self.n)
        bytes_each = 2 if params["codes"] == "f16" else 4
        # One row of the graph: the number of its neighbours, then as many places as it may have.
        self.bytes = {"vectors": self.n * self.d * bytes_each, "graph": self.n * (params["graph_max_degree"] + 1) * 4}

    def memory(self):
        return self.bytes

    def prepare(self, params, queries, k, threads):
        params = base.choose(params, self.search_params, "search")
        window = max(params["window"], k)
        search = self.index.search_parameters
        search.buffer_config = self.svs.SearchBufferConfig(window, max(params["capacity"], window))
        self.index.search_parameters = search
        self.index.num_threads = threads
        self.k = min(k, self.n)
        return base.prepared(queries, self.metric)

    def search(self, queries, k):
        return self.index.search(queries, self.k)[0]


if __name__ == "__main__":
    base.main(Svs())
