#!/usr/bin/env python3
"""scann (a partition of the vectors, anisotropic 4-bit codes, exact reordering) under the worker protocol.

build: num_leaves (0: no partition), dimensions_per_block, threshold (anisotropic quantisation; 0: none), training_sample,
soar_lambda (0: none), reorder ("float32", "bfloat16", "int8").
search: leaves_to_search, reorder_neighbors.
Metrics: l2 -> squared_l2, inner_product -> dot_product, cosine -> dot_product over normalised vectors. soar_lambda needs
dot_product. scann takes no seed.
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

MEASURES = {"l2": "squared_l2", "inner_product": "dot_product", "cosine": "dot_product"}
REORDERS = {"float32": "FLOAT32", "bfloat16": "BFLOAT16", "int8": "INT8"}


class Scann(base.Library):
    build_params = {
        "num_leaves": (int, None),
        "dimensions_per_block": (int, 2),
        "threshold": (float, 0.2),
        "training_sample": (int, 100_000),
        "soar_lambda": (float, 0.0),
        "reorder": (str, "float32"),
    }
    search_params = {"leaves_to_search": (int, None), "reorder_neighbors": (int, None)}

    def load(self):
        import scann
        from importlib.metadata import version

        self.scann = scann
        return f"scann {version('scann')}", None

    def build(self, trial, train, stages, building):
        params = base.choose(trial["build"], self.build_params, "build")
        if params["reorder"] not in REORDERS:
            raise base.Refused(f"build parameter reorder: expected one of {', '.join(REORDERS)}, found {params['reorder']!r}")
        self.metric, (self.n, self.d) = trial["metric"], train.shape
        building("construct", 0, self.n)
        start = time.perf_counter()
        train = base.prepared(train, self.metric)
        builder = self.scann.scann_ops_pybind.builder(train, 10, MEASURES[self.metric])
        builder = builder.set_n_training_threads(trial["threads"])
        sample = min(params["training_sample"], self.n)
        if params["num_leaves"]:
            builder = builder.tree(
                num_leaves=params["num_leaves"],
                num_leaves_to_search=params["num_leaves"],
                training_sample_size=sample,
                soar_lambda=params["soar_lambda"] or None,
            )
        builder = builder.score_ah(
            params["dimensions_per_block"],
            anisotropic_quantization_threshold=params["threshold"] or float("nan"),
            training_sample_size=sample,
        )
        builder = builder.reorder(100, quantize=self.scann.ReorderType[REORDERS[params["reorder"]]])
        self.index = builder.build()
        stages["construct"] = time.perf_counter() - start
        building("construct", self.n, self.n)

    def prepare(self, params, queries, k, threads):
        params = base.choose(params, self.search_params, "search")
        self.k = min(k, self.n)
        self.reorder = max(params["reorder_neighbors"], self.k)
        self.leaves = params["leaves_to_search"]
        self.index.set_num_threads(threads)
        self.parallel = threads > 1
        return base.prepared(queries, self.metric)

    def search(self, queries, k):
        if len(queries) == 1:
            return self.index.search(queries[0], self.k, self.reorder, self.leaves)[0][None]
        batched = self.index.search_batched_parallel if self.parallel else self.index.search_batched
        return batched(queries, self.k, self.reorder, self.leaves)[0]


if __name__ == "__main__":
    base.main(Scann())
