#!/usr/bin/env python3
"""SQLite (Python's own module) under the worker protocol for stores: a table of ids and blobs; fields with an index each.

Durability by its own pragmas, in WAL mode: none is synchronous=OFF, flush is NORMAL, sync is FULL. The last sync is a
checkpoint of the log with FULL.
"""

import importlib.util
import os
import re

FOLDER = os.path.dirname(os.path.abspath(__file__))
SPEC = importlib.util.spec_from_file_location("nearlab_store_worker", os.path.join(FOLDER, "nearlab_store_worker.py"))
worker = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(worker)

SYNCHRONOUS = {"none": "OFF", "flush": "NORMAL", "sync": "FULL"}
WORDS = re.compile(r'"(?:[^"\\]|\\.)*"|\[|\]|==')


def sql(text):
    """A filter of ours as a condition of SQL: the two differ in quotes, brackets and the sign of equality."""
    swapped = {"[": "(", "]": ")", "==": "="}
    return WORDS.sub(lambda word: swapped.get(word[0]) or "'" + word[0][1:-1].replace("'", "''") + "'", text)


class Sqlite(worker.Store):
    def load(self):
        import sqlite3

        self.sqlite3 = sqlite3
        return f"SQLite {sqlite3.sqlite_version}"

    def connect(self, folder):
        self.path = os.path.join(folder, "store.sqlite")
        self.db = self.sqlite3.connect(self.path, isolation_level=None, timeout=600)
        self.db.execute("PRAGMA mmap_size = 8589934592")

    def create(self, folder, d, durability):
        self.connect(folder)
        self.db.execute("PRAGMA journal_mode = WAL")
        self.db.execute(f"PRAGMA synchronous = {SYNCHRONOUS[durability]}")
        self.db.execute("CREATE TABLE vectors (id INTEGER PRIMARY KEY, vector BLOB NOT NULL)")

    def open(self, folder, d):
        self.connect(folder)

    def convert(self, first, rows, n):
        size = len(rows) // n
        return [(first + row, bytes(rows[row * size : (row + 1) * size])) for row in range(n)]

    def write(self, batch):
        self.change("INSERT INTO vectors VALUES (?, ?)", batch)

    def change(self, statement, batch):
        self.db.execute("BEGIN")
        self.db.executemany(statement, batch)
        self.db.execute("COMMIT")

    def sync(self):
        self.db.execute("PRAGMA synchronous = FULL")
        self.db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        worker.sync_files(os.path.dirname(self.path))

    def read(self, ids):
        if len(ids) == 1:
            return self.db.execute("SELECT vector FROM vectors WHERE id = ?", ids).fetchall()
        marks = ",".join("?" * len(ids))
        return self.db.execute(f"SELECT id, vector FROM vectors WHERE id IN ({marks})", ids).fetchall()

    def bytes_of(self, found):
        return found[0][0]

    def delete(self, ids):
        self.change("DELETE FROM vectors WHERE id = ?", [(number,) for number in ids])

    def compact(self):
        self.db.execute("VACUUM")
        # In WAL mode the new file lies in the log until then; readers may hold the checkpoint up for a while.
        while self.db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
            pass

    def another(self):
        reader = Sqlite()
        reader.load()
        reader.connect(os.path.dirname(self.path))
        return reader

    def close(self):
        self.db.close()

    def create_fields(self, folder):
        self.connect(folder)
        self.db.execute("PRAGMA journal_mode = WAL")
        self.db.execute("PRAGMA synchronous = OFF")
        self.db.execute("CREATE TABLE fields (slot INTEGER PRIMARY KEY, price REAL, color TEXT, stock INTEGER, sold INTEGER)")
        for name in ("price", "color", "stock", "sold"):
            self.db.execute(f"CREATE INDEX by_{name} ON fields ({name})")

    def convert_fields(self, first, records):
        return [(first + at, r["price"], r["color"], r["stock"], r["sold"]) for at, r in enumerate(records)]

    def write_fields(self, batch):
        self.change("INSERT INTO fields VALUES (?, ?, ?, ?, ?)", batch)

    def filter(self, text):
        return self.db.execute(f"SELECT slot FROM fields WHERE {sql(text)}").fetchall()


if __name__ == "__main__":
    worker.main(Sqlite())
