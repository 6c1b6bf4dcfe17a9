#!/usr/bin/env python3
"""Write the tiny HDF5 files beside this script: one per way in which ann-benchmarks files differ.

    make_fixtures.py

Needs numpy and h5py. Every file holds the same 24 x 6 base vectors and 4 queries, integers from 0 to 255, with exact
neighbours; the tests compare what they read across all of them. `angular.hdf5` has vectors of its own.
"""
import os
import h5py
import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
N, Q, D, K = 24, 4, 6, 5

rng = np.random.default_rng(11)
train = rng.integers(0, 256, (N, D)).astype(np.float32)
test = rng.integers(0, 256, (Q, D)).astype(np.float32)


def truth(train, test, angular=False):
    a, b = test.astype(np.float64), train.astype(np.float64)
    if angular:
        a, b = a / np.linalg.norm(a, axis=1)[:, None], b / np.linalg.norm(b, axis=1)[:, None]
        d = 1 - a @ b.T
    else:
        d = np.sqrt(((a[:, None] - b[None]) ** 2).sum(2))
    order = np.argsort(d, axis=1, kind="stable")[:, :K]
    return order, np.take_along_axis(d, order, 1)


neighbors, distances = truth(train, test)


def write(name, arrays=None, attrs=None, libver=None, **storage):
    data = dict(train=train, test=test, neighbors=neighbors.astype(np.int32), distances=distances.astype(np.float32))
    data.update(arrays or {})
    with h5py.File(os.path.join(HERE, name + ".hdf5"), "w", libver=libver) as f:
        f.attrs.update(dict(type="dense", distance="euclidean", dimension=D, point_type="float") if attrs is None else attrs)
        for key, value in data.items():
            if value is not None:
                f.create_dataset(key, data=value, track_times=False, **storage)


write("contiguous")
write("gzip-shuffle", chunks=(3, 2), compression="gzip", shuffle=True)
write("chunked", chunks=(3, 4))
write("latest", libver="latest", chunks=(4, 5), compression="gzip", fletcher32=True)
write("i64-f64", dict(neighbors=neighbors.astype(np.int64), distances=distances.astype(np.float64)))
write("f64-vectors", dict(train=train.astype(np.float64), test=test.astype(">f8")))
write("u8-vectors", dict(train=train.astype(np.uint8), test=test.astype(np.uint8)))
write("types-a", dict(train=train.astype(">i2"), test=test.astype(np.uint32), neighbors=neighbors.astype(np.uint16),
                      distances=distances.astype(np.float32)))
write("types-b", dict(train=train.astype(np.uint64), test=test.astype(np.float16), neighbors=neighbors.astype(np.int8),
                      distances=None))
write("no-attributes-euclidean", attrs={})
write("fixed-string", attrs=dict(distance=np.bytes_("euclidean"), dimension=np.int64(D)))
write("odd-attributes", attrs=dict(distance="euclidean", dimension="6", type=np.int32(7), extra=np.arange(3)))
write("no-truth", dict(neighbors=None, distances=None))
write("ids-only", dict(distances=None))

# Vectors of very different lengths, so that the metrics disagree.
train = (rng.standard_normal((N, D)) * np.exp(rng.standard_normal((N, 1)))).astype(np.float32)
test = rng.standard_normal((Q, D)).astype(np.float32)
neighbors, distances = truth(train, test, angular=True)
write("angular", attrs=dict(type="dense", distance="angular", dimension=D, point_type="float"))
