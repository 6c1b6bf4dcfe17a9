#!/usr/bin/env python3
"""faiss under the worker protocol.

build: `factory`, a string of faiss.index_factory ("Flat", "HNSW32", "IVF1024,Flat", "IVF1024,PQ64x4fs,RFlat"), and any
build parameter that faiss.ParameterSpace knows for it ("efConstruction").
search: any search parameter that faiss.ParameterSpace knows for it ("nprobe", "efSearch", "k_factor_rf" for a refined
index, ...).
Filtered search: an IDSelectorBitmap in the search parameters of every index inside that compares vectors.
Metrics: l2, inner_product; cosine is inner product over normalised vectors.
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


class Faiss(base.Library):
    def load(self):
        import faiss

        self.faiss = faiss
        return f"faiss {faiss.__version__}", simd_tier(faiss)

    def build(self, trial, train, stages, building):
        faiss = self.faiss
        params = dict(trial["build"])
        factory = params.pop("factory", None)
        if not isinstance(factory, str):
            raise base.Refused(f"build parameter factory: expected a string of faiss.index_factory, found {factory!r}")
        faiss.omp_set_num_threads(trial["threads"])
        metric = faiss.METRIC_L2 if trial["metric"] == "l2" else faiss.METRIC_INNER_PRODUCT
        self.n, self.d = train.shape
        # Batches of 20 queries and more as products of matrices, as up to 1.14: 1.15 counts components, and would compare 1000 queries of
        # 100 of them one by one, at an eighth of the speed.
        faiss.cvar.distance_compute_blas_threshold = 20 * self.d
        self.metric = trial["metric"]
        self.index = faiss.index_factory(self.d, factory, metric)
        self.space = faiss.ParameterSpace()
        for name, value in params.items():
            self.set(name, value, "build")
        seed_everything(faiss, self.index, trial["seed"] % 2**31)

        building("train", 0, self.n)
        start = time.perf_counter()
        train = base.prepared(train, self.metric)
        self.index.train(train)
        stages["train"] = time.perf_counter() - start
        building("construct", 0, self.n)
        start = time.perf_counter()
        self.index.add(train)
        stages["construct"] = time.perf_counter() - start
        building("construct", self.n, self.n)

    def set(self, name, value, what):
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise base.Refused(f"{what} parameter {name}: expected a number, found {value!r}")
        try:
            self.space.set_index_parameter(self.index, name, value)
        except RuntimeError as error:
            raise base.Refused(f"{what} parameter {name} = {value}: {error}") from error

    def save(self, path):
        self.faiss.write_index(self.index, path)

    def memory(self):
        """The length of the serialised index, counted without keeping it."""
        counted = [0]

        def count(block):
            counted[0] += len(block)

        writer = self.faiss.PyCallbackIOWriter(count)
        self.faiss.write_index(self.index, writer)
        del writer  # flushes
        return {"index": counted[0]}

    def prepare(self, params, queries, k, threads):
        for name, value in params.items():
            self.set(name, value, "search")
        self.faiss.omp_set_num_threads(threads)
        return base.prepared(queries, self.metric)

    def search(self, queries, k):
        return self.index.search(queries, k)[1]

    def admit(self, bitmaps):
        """Search parameters of each filter: an IDSelectorBitmap wherever the vectors are compared."""
        # The selectors read the bitmaps where they lie.
        self.bitmaps = bitmaps
        selectors = [self.faiss.IDSelectorBitmap(bitmap) for bitmap in bitmaps]
        return [selecting(self.faiss, self.index, selector) for selector in selectors]

    def search_among(self, query, k, admitted):
        return self.index.search(query, k, params=admitted)[1]


def selecting(faiss, index, selector):
    """Search parameters that add a selector to what prepare() has set on the index and those inside of it."""
    index = faiss.downcast_index(index)
    if isinstance(index, faiss.IndexPreTransform):
        inner = selecting(faiss, index.index, selector)
        return faiss.SearchParametersPreTransform(index_params=inner)
    if isinstance(index, faiss.IndexRefine):
        inner = selecting(faiss, index.base_index, selector)
        return faiss.IndexRefineSearchParameters(k_factor=index.k_factor, base_index_params=inner)
    if isinstance(index, faiss.IndexHNSW):
        return faiss.SearchParametersHNSW(sel=selector, efSearch=index.hnsw.efSearch)
    if isinstance(index, faiss.IndexIVF):
        return faiss.SearchParametersIVF(sel=selector, nprobe=index.nprobe, max_codes=index.max_codes)
    if isinstance(index, (faiss.IndexFlat, faiss.IndexScalarQuantizer)):
        return faiss.SearchParameters(sel=selector)
    raise base.Unsupported(f"{type(index).__name__} of faiss takes no selector")


def simd_tier(faiss):
    """The instruction set that faiss dispatched to, where this version can say it."""
    try:
        return faiss.SIMDConfig.get_level_name().lower()
    except AttributeError:
        return None


def seed_everything(faiss, index, seed):
    """Seeds the clustering of an IVF index and the levels of an HNSW index, wherever they are inside."""
    try:
        faiss.extract_index_ivf(index).cp.seed = seed
    except RuntimeError:
        pass  # no inverted lists inside
    inner = faiss.downcast_index(index)
    while isinstance(inner, (faiss.IndexPreTransform, faiss.IndexRefine, faiss.IndexIDMap)):
        deeper = inner.base_index if isinstance(inner, faiss.IndexRefine) else inner.index
        inner = faiss.downcast_index(deeper)
    if isinstance(inner, faiss.IndexHNSW):
        inner.hnsw.rng = faiss.RandomGenerator(seed)


if __name__ == "__main__":
    base.main(Faiss())
