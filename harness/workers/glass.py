#!/usr/bin/env python3
"""glass (pyglass; HNSW and NSG searched over quantised vectors) under the worker protocol.

build: index ("HNSW", "NSG"), R, L, build_quant (codes the graph is built over), search_quant (codes it is searched over),
refine_quant ("": the search's own distances rank), optimise (1: glass tunes its prefetching, 0: it does not); search: ef.
Metrics: l2 -> "L2", inner_product -> "IP", cosine -> "IP" over normalised vectors. glass takes no seed.
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

SPACES = {"l2": "L2", "inner_product": "IP", "cosine": "IP"}
# glass takes a name that it does not know for FP32, and says nothing.
QUANTS = ("FP32", "FP16", "BF16", "E5M2", "SQ8", "SQ8U", "SQ6", "SQ4", "SQ4U", "SQ4UA", "SQ2U", "PQ8")


class Glass(base.Library):
    build_params = {
        "index": (str, "HNSW"),
        "R": (int, 32),
        "L": (int, 200),
        "build_quant": (str, "SQ8U"),
        "search_quant": (str, "SQ4U"),
        "refine_quant": (str, "FP16"),
        "optimise": (int, 1),
    }
    search_params = {"ef": (int, None)}

    def load(self):
        import glass
        from importlib.metadata import version

        self.glass = glass
        return f"glass {version('pyglass-portable')} (pyglass-portable)", "avx2"

    def build(self, trial, train, stages, building):
        params = base.choose(trial["build"], self.build_params, "build")
        for name in ("build_quant", "search_quant", "refine_quant"):
            if params[name] not in QUANTS and (name, params[name]) != ("refine_quant", ""):
                raise base.Refused(f"build parameter {name}: expected one of {', '.join(QUANTS)}, found {params[name]!r}")
        self.metric, (self.n, self.d) = trial["metric"], train.shape
        space = SPACES[self.metric]
        self.glass.set_num_threads(trial["threads"])
        building("construct", 0, self.n)
        start = time.perf_counter()
        train = base.prepared(train, self.metric)
        graph = self.glass.Index(params["index"], space, params["build_quant"], params["R"], params["L"]).build(train)
        # The searcher takes the graph over: a second searcher of the same graph would find it empty.
        self.index = self.glass.Searcher(graph, train, space, params["search_quant"], params["refine_quant"])
        stages["construct"] = time.perf_counter() - start
        building("optimise", 0, 0)
        start = time.perf_counter()
        if params["optimise"]:
            self.index.set_ef(32)
            self.index.optimize(1)
        stages["optimise"] = time.perf_counter() - start

    def prepare(self, params, queries, k, threads):
        self.index.set_ef(base.choose(params, self.search_params, "search")["ef"])
        self.k, self.threads = min(k, self.n), threads
        return base.prepared(queries, self.metric)

    def search(self, queries, k):
        if len(queries) == 1:
            return self.index.search(queries[0], self.k)[0].reshape(1, -1)
        return self.index.batch_search(queries, self.k, self.threads)[0].reshape(len(queries), -1)


if __name__ == "__main__":
    base.main(Glass())
