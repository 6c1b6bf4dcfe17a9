#!/usr/bin/env python3
"""Cut the quickstart set out of a larger SIFT set: 20,000 base rows, 500 queries, exact top 100 in float64.

    make_quickstart.py sift-photos-100k-128-euclidean.gz.hdf5 sift-photos-20k-128-euclidean.hdf5

Needs numpy and h5py. Rows are a seeded random sample, kept in their order; the result is the same file every time.
"""
import os, sys
import h5py
import numpy as np

N, Q, K, SEED = 20_000, 500, 100, 20240611

source, target = sys.argv[1:3]
rng = np.random.default_rng(SEED)
with h5py.File(source) as f:
    base_rows = np.sort(rng.choice(len(f["train"]), N, replace=False))
    query_rows = np.sort(rng.choice(len(f["test"]), Q, replace=False))
    train, test = f["train"][:][base_rows], f["test"][:][query_rows]
    note = f"random subset of {os.path.basename(source)}; {f.attrs.get('note', '')}"

base, queries = train.astype(np.float64), test.astype(np.float64)
squared = (base**2).sum(1)
neighbors, distances = np.empty((Q, K), np.int32), np.empty((Q, K), np.float32)
for i, q in enumerate(queries):
    # SIFT is integral: these sums are exact in float64, so ties are real ties and go to the smaller id.
    d = squared - 2 * (base @ q) + q @ q
    order = np.lexsort((np.arange(N), d))[:K]
    neighbors[i], distances[i] = order, np.sqrt(d[order])

with h5py.File(target + ".tmp", "w") as f:
    f.attrs.update(distance="euclidean", dimension=128, type="dense", point_type="float", note=note)
    for name, data in dict(train=train, test=test, neighbors=neighbors, distances=distances).items():
        f.create_dataset(name, data=data, compression="gzip", compression_opts=9, shuffle=True, track_times=False)
os.replace(target + ".tmp", target)
