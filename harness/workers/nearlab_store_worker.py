"""The worker protocol for stores, for Python: everything but the library. docs/worker-protocol.md describes it.

A worker subclasses Store and calls main(). Only the standard library is used here, so that a store that needs nothing else
runs anywhere. What is timed is what a user of the library would wait for: rows are handed over in the form that the library
takes (`convert`, not timed), and come back as the library returns them.
"""

import array
import importlib.util
import json
import mmap
import os
import sys
import threading
import time

FOLDER = os.path.dirname(os.path.abspath(__file__))


def load_base():
    """nearlab_worker by its path: this folder must not be on sys.path, where it would hide libraries."""
    spec = importlib.util.spec_from_file_location("nearlab_worker", os.path.join(FOLDER, "nearlab_worker.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


base = load_base()
sys.path = base.without_own_folder(sys.path, FOLDER)
Refused = base.Refused
BATCH = 10_000
FILTER_SECONDS, PASS_SECONDS = 0.3, 2.0


class Store:
    """One library. A worker overrides what it offers; the experiment names the modes that it takes part in."""

    def load(self):
        """Imports the library; returns its name and version. ImportError means missing."""
        raise NotImplementedError

    def create(self, folder, d, durability):
        """Makes a store for vectors in an empty folder."""
        raise NotImplementedError

    def open(self, folder, d):
        """Opens what another process left."""
        raise NotImplementedError

    def convert(self, first, rows, n):
        """A batch in the form that write() takes: rows is a buffer of n x d f32, ids count from first."""
        raise NotImplementedError

    def write(self, batch):
        """Writes a batch as one change."""
        raise NotImplementedError

    def sync(self):
        """Makes everything outlive the power."""
        raise NotImplementedError

    def written(self):
        """After the last write, before the first read (indexes by id); not timed."""

    def read(self, ids):
        """The rows of ids, as many as there are ids, in any form that bytes_of() understands."""
        raise NotImplementedError

    def bytes_of(self, found):
        """The f32 bytes of the single row that read() found."""
        raise NotImplementedError

    def delete(self, ids):
        raise NotImplementedError

    def compact(self):
        raise NotImplementedError

    def another(self):
        """One that reads the same store from another thread."""
        raise NotImplementedError

    def close(self):
        raise NotImplementedError

    def create_fields(self, folder):
        raise NotImplementedError

    def convert_fields(self, first, records):
        """A list of dicts in the form that write_fields() takes; slots count from first."""
        raise NotImplementedError

    def write_fields(self, batch):
        raise NotImplementedError

    def filter(self, text):
        """The slots of the records that a filter finds, as something with a length."""
        raise NotImplementedError


def taken(path):
    """Bytes that the files below path take on the disk."""
    total = 0
    for folder, _, files in os.walk(path):
        for name in files:
            total += os.lstat(os.path.join(folder, name)).st_blocks * 512
    return total


def sync_files(path):
    """Syncs every file and folder below path: for libraries that do not."""
    for folder, _, files in os.walk(path):
        for name in [os.path.join(folder, name) for name in files] + [folder]:
            handle = os.open(name, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)


def numbers(path):
    with open(path, "rb") as file:
        found = array.array("Q", file.read())
    if sys.byteorder == "big":
        found.byteswap()
    return found.tolist()


def write_samples(trial, point, samples):
    with open(f"{trial['samples']}.{point}.ns.bin", "wb") as file:
        array.array("Q", samples).tofile(file)


class Rows:
    """The rows of a trial, mapped."""

    def __init__(self, matrix):
        if matrix["element"] != "f32" or sys.byteorder == "big":
            raise Refused("rows: expected f32 on a little-endian machine")
        self.n, self.d, self.offset = matrix["n"], matrix["d"], matrix["offset"]
        with open(matrix["path"], "rb") as file:
            self.map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self.map[self.offset : self.offset + self.n * self.d * 4 : base.PAGE]  # faults every page in, before any clock

    def buffer(self, first, last):
        return memoryview(self.map)[self.offset + first * self.d * 4 : self.offset + last * self.d * 4]

    def batches(self, store, size):
        for first in range(0, self.n, size):
            last = min(first + size, self.n)
            yield store.convert(first, self.buffer(first, last), last - first)


def write_check(trial, store):
    with open(f"{trial['samples']}.rows.bin", "wb") as file:
        for number in trial["check"]:
            file.write(store.bytes_of(store.read([number])))


def loaded(trial, store, rows, killed=False):
    """Writes all rows. What a process that will be killed has written is not synced: opening has to find its way in it."""
    store.create(trial["folder"], rows.d, "none")
    for batch in rows.batches(store, BATCH):
        store.write(batch)
    if not killed:
        store.sync()
    store.written()


def bulk_load(trial, store):
    rows, clock, samples, cpu = Rows(trial["train"]), time.perf_counter_ns, [], 0.0
    store.create(trial["folder"], rows.d, trial["params"]["durability"])
    with base.Uncollected():
        for batch in rows.batches(store, trial["params"]["batch"]):
            start, used = clock(), time.process_time()
            store.write(batch)
            samples.append(clock() - start)
            cpu += time.process_time() - used
        start, used = clock(), time.process_time()
        store.sync()
        sync = clock() - start
        cpu += time.process_time() - used
    write_samples(trial, 0, samples)
    disk = taken(trial["folder"])
    store.written()
    write_check(trial, store)
    return [
        {
            "rows": rows.n,
            "bytes": rows.n * rows.d * 4,
            "calls": len(samples),
            "wall_seconds": (sum(samples) + sync) * 1e-9,
            "cpu_seconds": cpu,
            "sync_seconds": sync * 1e-9,
            "disk_bytes": disk,
        }
    ]


def until(read, calls):
    """Makes calls until all are made or PASS_SECONDS are over; how many. A slow library reads the first of the ids only."""
    over = time.perf_counter() + PASS_SECONDS
    for done, ids in enumerate(calls, 1):
        read(ids)
        # Looking at the clock now and then costs nothing beside the calls.
        if done % 16 == 0 and time.perf_counter() > over:
            return done
    return len(calls)


def timed_pass(store, calls):
    samples, clock, read = [], time.perf_counter_ns, store.read
    for ids in calls:
        start = clock()
        read(ids)
        samples.append(clock() - start)
    return samples


def point_read(trial, store):
    rows, ids, points = Rows(trial["train"]), numbers(trial["ids"]), []
    loaded(trial, store, rows)
    for number, point in enumerate(trial["points"]):
        size = point["batch"]
        calls = [ids[first : first + size] for first in range(0, len(ids), size)]
        for _ in range(max(trial["warmup"], 1)):
            until(store.read, calls)
        with base.Uncollected():
            start, used = time.perf_counter(), time.process_time()
            done = until(store.read, calls)
            wall, cpu = time.perf_counter() - start, time.process_time() - used
            samples = timed_pass(store, calls[:done])
        read = min(done * size, len(ids))
        write_samples(trial, number, samples)
        points.append(
            {
                "rows": read,
                "bytes": read * rows.d * 4,
                "calls": len(samples),
                "wall_seconds": wall,
                "cpu_seconds": cpu,
            }
        )
    write_check(trial, store)
    return points


def compaction(trial, store):
    rows, ids, gone = Rows(trial["train"]), numbers(trial["ids"]), numbers(trial["delete"])
    loaded(trial, store, rows)
    store.delete(gone)
    store.sync()
    calls = [[number] for number in ids]
    timed_pass(store, calls)
    with base.Uncollected():
        start = time.perf_counter()
        samples = timed_pass(store, calls)
        wall = time.perf_counter() - start
    before = {"rows": len(ids), "bytes": len(ids) * rows.d * 4, "calls": len(ids), "wall_seconds": wall}
    write_samples(trial, 0, samples)
    full, during, over = taken(trial["folder"]), [], threading.Event()

    def reading():
        reader = store.another()
        while True:
            for call in calls:
                during.extend(timed_pass(reader, [call]))
                if over.is_set():
                    reader.close()
                    return

    thread = threading.Thread(target=reading)
    with base.Uncollected():
        thread.start()
        start = time.perf_counter()
        try:
            store.compact()
            wall = time.perf_counter() - start
        finally:
            over.set()
            thread.join()
    left = taken(trial["folder"])
    write_samples(trial, 1, during)
    write_check(trial, store)
    kept = rows.n - len(gone)
    return [
        before,
        {
            "rows": kept,
            "bytes": kept * rows.d * 4,
            "calls": len(during),
            "wall_seconds": wall,
            "disk_bytes": left,
            "freed_bytes": max(full - left, 0),
        },
    ]


def reopen(trial, store):
    rows = Rows(trial["train"])
    if trial["phase"] == "load":
        loaded(trial, store, rows, killed=trial["params"]["after"] == "kill")
        if trial["params"]["after"] == "close":
            store.close()
        return []
    with base.Uncollected():
        start, used = time.perf_counter(), time.process_time()
        store.open(trial["folder"], rows.d)
        store.read(trial["check"][:1])
        wall, cpu = time.perf_counter() - start, time.process_time() - used
    write_check(trial, store)
    return [
        {
            "rows": rows.n,
            "bytes": rows.n * rows.d * 4,
            "calls": 1,
            "wall_seconds": wall,
            "cpu_seconds": cpu,
            "disk_bytes": taken(trial["folder"]),
        }
    ]


def filters(trial, store):
    store.create_fields(trial["folder"])
    samples, size, records, first = [], 0, [], 0

    def put():
        batch = store.convert_fields(first, records)
        start = time.perf_counter_ns()
        store.write_fields(batch)
        samples.append(time.perf_counter_ns() - start)

    with base.Uncollected(), open(trial["fields"], encoding="utf-8") as file:
        for line in file:
            size += len(line)
            records.append(json.loads(line))
            if len(records) == 50_000:
                put()
                first, records = first + len(records), []
        if records:
            put()
        start = time.perf_counter_ns()
        store.sync()
        sync = time.perf_counter_ns() - start
    write_samples(trial, 0, samples)
    points = [
        {
            "rows": trial["records"],
            "bytes": size,
            "calls": len(samples),
            "wall_seconds": (sum(samples) + sync) * 1e-9,
            "sync_seconds": sync * 1e-9,
            "disk_bytes": taken(trial["folder"]),
        }
    ]
    for number, point in enumerate(trial["points"][1:], 1):
        found, samples = len(store.filter(point["filter"])), []
        with base.Uncollected():
            while len(samples) < 5 or (sum(samples) < FILTER_SECONDS * 1e9 and len(samples) < 1000):
                start = time.perf_counter_ns()
                store.filter(point["filter"])
                samples.append(time.perf_counter_ns() - start)
        write_samples(trial, number, samples)
        points.append(
            {
                "rows": trial["records"] * len(samples),
                "calls": len(samples),
                "wall_seconds": sum(samples) * 1e-9,
                "found": found,
            }
        )
    return points


MODES = {"bulk_load": bulk_load, "point_read": point_read, "compaction": compaction, "reopen": reopen, "filter": filters}


def main(store):
    """Runs one trial: `worker.py trial.json`. Exits with 0 unless the protocol itself broke."""
    base.end_with_the_harness()
    channel = base.Channel()
    with open(sys.argv[-1], encoding="utf-8") as file:
        trial = json.load(file)
    try:
        name = store.load()
    except ImportError as error:
        channel.send("failed", stage="missing", message=f"{base.sentence(error)} (in {sys.executable}; `just peers` installs it)")
        sys.exit(0)
    channel.send("hello", protocol=base.PROTOCOL, library=name, simd_tier=None)
    try:
        if trial["protocol"] != base.PROTOCOL:
            raise Refused(f"protocol: expected {base.PROTOCOL}, found {trial['protocol']}")
        if trial["element"] != "f32":
            raise Refused(f"element: this worker keeps f32, not {trial['element']}")
        points = MODES[trial["mode"]](trial, store)
    except Exception as error:  # whatever a library raises, the harness goes on with the next trial
        channel.send("failed", stage="store", message=base.sentence(error))
        sys.exit(0)
    channel.send("stored", points=points)
    # What is open stays open until the harness says so, or kills this process.
    sys.stdin.readline()
