#!/usr/bin/env python3
"""svs (Scalable Vector Search; a static Vamana graph) under the worker protocol.

build: graph_max_degree, window_size, alpha (0.0: the library's own), codes ("f32", "f16"; "lvq" or "leanvec" with bits
and bits of the remainder, as in "lvq4x8"), leanvec_dims (dimensions that LeanVec keeps; 0: a quarter of them), space
("l2" or "mip" under cosine); search: window, capacity (0: the window).
Metrics: l2 -> L2, inner_product -> MIP, cosine -> `space` over normalised vectors. alpha is above 1 under L2, below 1
under MIP. svs takes no seed. The package refuses LVQ and LeanVec on processors that are not Intel's.
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

# Bits of each component, and of what they leave.
LVQ = {"lvq4": (4, 0), "lvq8": (8, 0), "lvq4x4": (4, 4), "lvq4x8": (4, 8), "lvq8x8": (8, 8)}
LEANVEC = {"leanvec4x4": (4, 4), "leanvec4x8": (4, 8), "leanvec8x8": (8, 8)}
CODES = ("f32", "f16", *LVQ, *LEANVEC)


def leanvec_dims(d, params):
    return params["leanvec_dims"] or max(d // 4, 1)


def row_bytes(d, params):
    """Bytes of a vector's codes, without the few that scale them."""
    codes = params["codes"]
    if codes in LVQ:
        return d * sum(LVQ[codes]) // 8
    if codes in LEANVEC:
        primary, secondary = LEANVEC[codes]
        return (leanvec_dims(d, params) * primary + d * secondary) // 8
    return d * (2 if codes == "f16" else 4)


class Svs(base.Library):
    build_params = {
        "graph_max_degree": (int, 32),
        "window_size": (int, 200),
        "alpha": (float, 0.0),
        "codes": (str, "f32"),
        "leanvec_dims": (int, 0),
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
        for name, known in (("codes", CODES), ("space", ("l2", "mip"))):
            if params[name] not in known:
                raise base.Refused(f"build parameter {name}: expected {' or '.join(known)}, found {params[name]!r}")
        self.metric, (self.n, self.d) = trial["metric"], train.shape
        space = {"l2": "l2", "inner_product": "mip", "cosine": params["space"]}[self.metric]
        building("construct", 0, self.n)
        start = time.perf_counter()
        train = base.prepared(train, self.metric)
        graph = self.svs.VamanaBuildParameters(
            graph_max_degree=params["graph_max_degree"], window_size=params["window_size"]
        )
        if params["alpha"]:
            graph.alpha = params["alpha"]
        distance = self.svs.DistanceType.L2 if space == "l2" else self.svs.DistanceType.MIP
        with tempfile.TemporaryDirectory(prefix="nearlab-svs-") as folder:
            vectors = self.encoded(train, params, os.path.join(folder, "train.fvecs"))
            self.index = self.svs.Vamana.build(graph, vectors, distance, trial["threads"])
        stages["construct"] = time.perf_counter() - start
        building("construct", self.n, self.n)
        # One row of the graph: the number of its neighbours, then as many places as it may have.
        self.bytes = {"graph": self.n * (params["graph_max_degree"] + 1) * 4}
        self.bytes["vectors"] = self.n * row_bytes(self.d, params)

    def encoded(self, train, params, path):
        """What the library builds over: an array, or a loader of the file at `path` that encodes what it reads."""
        codes, svs = params["codes"], self.svs
        if codes == "f32":
            return train
        if codes == "f16":
            return train.astype("f2")
        svs.write_vecs(train, path)
        loader = svs.VectorDataLoader(path, svs.DataType.float32, dims=self.d)
        if codes in LVQ:
            return svs.LVQLoader(loader, *LVQ[codes])
        kinds = [{4: svs.LeanVecKind.lvq4, 8: svs.LeanVecKind.lvq8}[bits] for bits in LEANVEC[codes]]
        return svs.LeanVecLoader(loader, leanvec_dims(self.d, params), *kinds)

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
