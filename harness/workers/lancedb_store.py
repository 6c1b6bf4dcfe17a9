#!/usr/bin/env python3
"""LanceDB under the worker protocol for stores: a table of ids and vectors with a BTREE index on the ids; fields likewise.

It does not sync what it writes, so the only durability is `none`; the last sync is an fsync of every file, by this worker.
"""

import importlib.util
import os

FOLDER = os.path.dirname(os.path.abspath(__file__))
SPEC = importlib.util.spec_from_file_location("nearlab_store_worker", os.path.join(FOLDER, "nearlab_store_worker.py"))
worker = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(worker)
SQLITE = importlib.util.spec_from_file_location("sqlite_store", os.path.join(FOLDER, "sqlite_store.py"))
sqlite = importlib.util.module_from_spec(SQLITE)
SQLITE.loader.exec_module(sqlite)


class Lance(worker.Store):
    wanted = []

    def load(self):
        import lancedb
        import numpy
        import pyarrow

        self.lancedb, self.arrow, self.numpy = lancedb, pyarrow, numpy
        return f"lancedb {lancedb.__version__}"

    def create(self, folder, d, durability):
        if durability != "none":
            raise worker.Refused("durability: LanceDB does not sync its changes")
        self.folder, self.d = folder, d
        vector = self.arrow.list_(self.arrow.float32(), d)
        self.schema = self.arrow.schema([("id", self.arrow.int64()), ("vector", vector)])
        self.table = self.lancedb.connect(folder).create_table("vectors", schema=self.schema)

    def open(self, folder, d):
        self.folder, self.d = folder, d
        self.table = self.lancedb.connect(folder).open_table("vectors")

    def convert(self, first, rows, n):
        ids = self.arrow.array(self.numpy.arange(first, first + n))
        values = self.arrow.array(self.numpy.frombuffer(rows, dtype="<f4"))
        vectors = self.arrow.FixedSizeListArray.from_arrays(values, self.d)
        return self.arrow.Table.from_arrays([ids, vectors], schema=self.schema)

    def write(self, batch):
        self.table.add(batch)

    def sync(self):
        for name, kind in self.wanted:
            self.table.create_scalar_index(name, index_type=kind)
        self.wanted = []
        worker.sync_files(self.folder)

    def written(self):
        self.table.create_scalar_index("id")

    def read(self, ids):
        among = ",".join(map(str, ids))
        return self.table.search().where(f"id IN ({among})").limit(len(ids)).select(["vector"]).to_arrow()

    def bytes_of(self, found):
        return found["vector"].combine_chunks().flatten().to_numpy().astype("<f4").tobytes()

    def close(self):
        # There is nothing to close: every change is whole once it has returned.
        self.table = None

    def create_fields(self, folder):
        self.folder = folder
        kinds = {"slot": "int64", "price": "float64", "color": "string", "stock": "int64", "sold": "bool_"}
        self.schema = self.arrow.schema([(name, getattr(self.arrow, kind)()) for name, kind in kinds.items()])
        self.table = self.lancedb.connect(folder).create_table("fields", schema=self.schema)
        # An index over what is there is made at once, so it is a part of the load, and counted with the last sync.
        self.wanted = [("price", "BTREE"), ("stock", "BTREE"), ("color", "BITMAP"), ("sold", "BITMAP")]

    def convert_fields(self, first, records):
        return self.arrow.Table.from_pylist([{"slot": first + at, **r} for at, r in enumerate(records)], schema=self.schema)

    def write_fields(self, batch):
        self.table.add(batch)

    def filter(self, text):
        rows = self.table.count_rows()
        return self.table.search().where(sqlite.sql(text)).limit(rows).select(["slot"]).to_arrow()


if __name__ == "__main__":
    worker.main(Lance())
