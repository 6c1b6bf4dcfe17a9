"""The worker protocol, version 1, for Python: everything but the library. docs/worker-protocol.md describes it.

A worker subclasses Library and calls main(). This module maps the vectors, talks JSON lines with the harness, times
searches, and writes ids and latencies. Standard output belongs to the protocol: whatever a library prints goes to
standard error. numpy is imported late, so that its absence is reported like that of the library.
"""

import gc
import json
import os
import resource
import select
import signal
import sys
import tempfile
import time

PROTOCOL = 1
PAGE = 4096


class Refused(Exception):
    """A build or search that cannot be done; the text goes to the harness."""


class Unsupported(Exception):
    """A search that the library has no call for; the text goes to the harness, and nothing went wrong."""


class Library:
    """One library. A worker overrides everything that raises NotImplementedError."""

    # Parameters by name, each with the types it may have; `build` may hold defaults as the second element.
    build_params = {}
    search_params = {}

    def load(self):
        """Imports the library; returns (name and version, instruction set or None). ImportError means missing."""
        raise NotImplementedError

    def build(self, trial, train, stages, building):
        """Builds over train (n x d, float32, read-only).

        Adds the seconds of `train`, `construct` and `optimise` to the dict stages; calls building(stage, done, total).
        """
        raise NotImplementedError

    def save(self, path):
        """Saves the index."""
        raise NotImplementedError

    def memory(self):
        """Logical bytes by component."""
        return {}

    def prepare(self, params, queries, k, threads):
        """Sets parameters and threads for one search; returns the queries in the form that search() takes."""
        raise NotImplementedError

    def search(self, queries, k):
        """Searches all rows of queries (m x d); returns ids (m x at most k). This call is what is timed."""
        raise NotImplementedError

    def admit(self, bitmaps):
        """Makes what search_among() needs of each filter, one per row of bitmaps; called after prepare().

        bitmaps: filters x bytes, uint8; bit `id % 8` of byte `id / 8` says whether the filter admits `id`.
        """
        raise Unsupported("this worker's library has no filtered search, or none from Python")

    def search_among(self, query, k, admitted):
        """Searches one row (1 x d) among what a filter admits, an item of admit(); returns ids. This call is what is timed."""
        raise NotImplementedError


class Channel:
    """The protocol's end of standard output. Made before any library is imported."""

    def __init__(self):
        sys.stdout.flush()
        self.out = os.fdopen(os.dup(1), "w", encoding="utf-8", newline="\n")
        os.dup2(2, 1)
        sys.stdout = sys.stderr

    def send(self, kind, **fields):
        self.out.write(json.dumps({kind: fields}) + "\n")
        self.out.flush()


def end_with_the_harness():
    """Ends this process when the harness ends, however that is: a long build would go on without anyone to hear of it."""
    if sys.platform != "linux":
        return  # the end of the input comes all the same, when the build is done
    try:
        import ctypes  # which some builds of Python lack
    except ImportError:
        return
    ctypes.CDLL(None).prctl(1, ctypes.c_ulong(signal.SIGKILL))  # PR_SET_PDEATHSIG
    # It may have ended before that: nobody holds the other end of the input, and nothing is left in it.
    poll = select.poll()
    poll.register(0, select.POLLIN)
    if poll.poll(0) == [(0, select.POLLHUP)]:
        sys.exit(1)


def without_own_folder(path, folder):
    """sys.path without the workers' folder: `import faiss` there would find the worker and not the library."""
    own = os.path.realpath(folder)
    return [entry for entry in path if os.path.realpath(entry or os.getcwd()) != own]


def sentence(error):
    """An exception in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())


def choose(given, known, what):
    """The parameters by name: given ones checked against known ones, the others at their defaults.

    known: {name: (types, default)}; a default of None means that the parameter must be given.
    """
    for name, value in given.items():
        if name not in known:
            raise Refused(f"unknown {what} parameter {name!r}; known: {', '.join(known) or 'none'}")
        types = known[name][0]
        whole = types is float and isinstance(value, int)  # the harness writes 1.0 as 1
        if not (isinstance(value, types) or whole) or isinstance(value, bool):
            raise Refused(f"{what} parameter {name}: expected {types.__name__}, found {value!r}")
    missing = [name for name, (_, default) in known.items() if default is None and name not in given]
    if missing:
        raise Refused(f"{what} parameter {missing[0]} is needed")
    values = {name: given.get(name, default) for name, (_, default) in known.items()}
    return {name: float(value) if known[name][0] is float else value for name, value in values.items()}


def map_matrix(matrix, element="f32", dtype="<f4"):
    """A Matrix of the trial as a read-only array over the file."""
    import numpy

    if matrix["element"] != element:
        raise Refused(f"element: expected {element}, found {matrix['element']}")
    shape = (matrix["n"], matrix["d"])
    return numpy.memmap(matrix["path"], dtype=dtype, mode="r", offset=matrix["offset"], shape=shape)


def fault_in(mapped):
    """Touches every page of a mapped array: reading the data is a part of `read`, not of the first build that looks."""
    import numpy

    numpy.asarray(mapped).reshape(-1).view("u1")[::PAGE].sum()


def map_filters(filters, queries):
    """The filters of a request: (filters x bytes, which of them each query uses)."""
    import numpy

    bitmaps, of_query = map_matrix(filters["bitmaps"], "u8", "u1"), map_matrix(filters["of_query"], "i32", "<i4")
    if of_query.shape != (queries, 1) or of_query.min() < 0 or of_query.max() >= len(bitmaps):
        raise Refused(f"filters: expected one of {len(bitmaps)} for each of {queries} queries, found {of_query.shape}")
    # In memory: a mapped page is no part of a search.
    return numpy.array(bitmaps), of_query[:, 0].tolist()


def ids_of(bitmap):
    """The ids that a filter admits, ascending."""
    import numpy

    return numpy.flatnonzero(numpy.unpackbits(bitmap, bitorder="little"))


def write_whole(path, array):
    """Writes the bytes of an array to path: all of them, or no file of that name."""
    handle, temporary = tempfile.mkstemp(prefix=".", suffix=".tmp", dir=os.path.dirname(os.path.abspath(path)))
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(memoryview(array).cast("B"))
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def fixed_width(found, rows, k):
    """The ids that a library returned as i32, rows x k, -1 where it found fewer."""
    import numpy

    ids = numpy.full((rows, k), -1, dtype="<i4")
    ids[:, : found.shape[1]] = found
    return ids


def unit_length(rows):
    """Whether every row has length 1 already."""
    import numpy

    return bool(numpy.allclose(numpy.einsum("ij,ij->i", rows, rows), 1.0, atol=1e-5))


def prepared(rows, metric):
    """Rows for a library that does not normalise: float32, contiguous, and of length 1 where the metric is cosine.

    No copy where the rows are so already; a row of zeros stays one.
    """
    import numpy

    if metric != "cosine" or unit_length(rows):
        return numpy.ascontiguousarray(rows, dtype="f4")
    lengths = numpy.linalg.norm(rows, axis=1, keepdims=True)
    return numpy.divide(rows, lengths, out=numpy.zeros(rows.shape, dtype="f4"), where=lengths > 0)


class Uncollected:
    """A `with` block without the garbage collector, which would run on the library's time."""

    def __enter__(self):
        gc.collect()
        gc.disable()

    def __exit__(self, *_):
        gc.enable()


class Timed(Uncollected):
    """Wall and CPU seconds and page faults of a `with` block, without the garbage collector."""

    def __enter__(self):
        super().__enter__()
        self.usage = resource.getrusage(resource.RUSAGE_SELF)
        self.cpu = time.process_time()
        self.wall = time.perf_counter()
        return self

    def __exit__(self, *_):
        self.wall = time.perf_counter() - self.wall
        self.cpu = time.process_time() - self.cpu
        after = resource.getrusage(resource.RUSAGE_SELF)
        self.major = after.ru_majflt - self.usage.ru_majflt
        self.minor = after.ru_minflt - self.usage.ru_minflt
        super().__exit__()


def latency_pass(library, queries, k):
    """All queries one by one: (ids, nanoseconds of each)."""
    import numpy

    rows = [queries[i : i + 1] for i in range(len(queries))]
    ids = numpy.full((len(rows), k), -1, dtype="<i4")
    times = numpy.empty(len(rows), dtype="<u8")
    search, clock = library.search, time.perf_counter_ns
    with Timed() as timed:
        for i, row in enumerate(rows):
            start = clock()
            found = search(row, k)
            times[i] = clock() - start
            ids[i, : found.shape[1]] = found[0]
    return timed, ids, times


def filtered_pass(library, queries, k, admitted):
    """All queries one by one, each among what its filter admits: (ids, nanoseconds of each)."""
    import numpy

    rows = [queries[i : i + 1] for i in range(len(queries))]
    ids = numpy.full((len(rows), k), -1, dtype="<i4")
    times = numpy.empty(len(rows), dtype="<u8")
    search, clock = library.search_among, time.perf_counter_ns
    with Timed() as timed:
        for i, (row, one) in enumerate(zip(rows, admitted)):
            start = clock()
            found = search(row, k, one)
            times[i] = clock() - start
            ids[i, : found.shape[1]] = found[0]
    return timed, ids, times


def throughput_pass(library, queries, k):
    """All queries in one call: (ids, None)."""
    with Timed() as timed:
        found = library.search(queries, k)
    return timed, fixed_width(found, len(queries), k), None


def write_samples(request, ids, times):
    """Writes the ids and, where they are asked for, the latencies: both files, or neither."""
    write_whole(request["ids"], ids)
    if request.get("latencies"):
        try:
            write_whole(request["latencies"], times)
        except BaseException:
            os.unlink(request["ids"])
            raise


def measure(library, queries, request, channel):
    """One `search` request; returns the fields of `searched`."""
    key, k, mode = request["key"], request["k"], request["mode"]
    passes = {"latency": latency_pass, "throughput": throughput_pass}
    filters = request.get("filters")
    if mode not in passes and mode != "filtered":
        raise Refused(f"mode: expected latency or throughput or filtered, found {mode}")
    if (mode == "filtered") != bool(filters):
        raise Refused(f"filters: mode {mode} and its filters do not go together")
    if request.get("latencies") and mode == "throughput":
        raise Refused("latencies were asked for in throughput mode, which times the whole pass only")
    if k < 1:
        raise Refused(f"k: expected at least 1, found {k}")
    threads = request["threads"] if mode == "throughput" else 1
    prepared = library.prepare(request["params"], queries, k, threads)
    if filters:
        bitmaps, of_query = map_filters(filters, len(queries))
        made = library.admit(bitmaps)
        admitted = [made[of] for of in of_query]
        passes["filtered"] = lambda library, queries, k: filtered_pass(library, queries, k, admitted)
    total = (request["warmup"] + 1) * len(queries)
    for done in range(request["warmup"]):
        channel.send("searching", key=key, done=done * len(queries), total=total)
        passes[mode](library, prepared, k)
    channel.send("searching", key=key, done=request["warmup"] * len(queries), total=total)
    timed, ids, times = passes[mode](library, prepared, k)
    write_samples(request, ids, times)
    return {
        "key": key,
        "wall_seconds": timed.wall,
        "cpu_seconds": timed.cpu,
        "faults_major": timed.major,
        "faults_minor": timed.minor,
    }


def build(library, trial, channel):
    """Maps the data and builds; returns the queries."""
    stages = {"read": 0.0, "train": 0.0, "construct": 0.0, "optimise": 0.0, "save": 0.0}

    def building(stage, done, total):
        channel.send("building", stage=stage, done=done, total=total)

    if trial.get("profile"):
        raise Refused("profiles are taken of nearlab's own indexes only")
    start = time.perf_counter()
    train, test = map_matrix(trial["train"]), map_matrix(trial["test"])
    fault_in(train)
    fault_in(test)
    stages["read"] = time.perf_counter() - start
    library.build(trial, train, stages, building)
    if trial.get("save"):
        building("save", 0, 0)
        start = time.perf_counter()
        library.save(trial["save"])
        stages["save"] = time.perf_counter() - start
    cpu = time.process_time()
    channel.send("built", stages=stages, cpu_seconds=cpu, memory=library.memory())
    return test


def serve(library, queries, requests, channel):
    """Answers requests until `exit` or the end of input; returns the exit status."""
    for line in requests:
        if not line.strip():
            continue
        try:
            ((kind, fields),) = json.loads(line).items()
        except (ValueError, AttributeError):
            print(f"expected a request, found {line!r}", file=sys.stderr)
            return 2
        if kind == "exit":
            return 0
        if kind != "search":
            print(f"expected search or exit, found {kind!r}", file=sys.stderr)
            return 2
        try:
            searched = measure(library, queries, fields, channel)
        except Unsupported as error:
            channel.send("failed", stage="unsupported", message=str(error))
        except Exception as error:  # whatever a library raises, the harness goes on with the next point
            channel.send("failed", stage="search", message=sentence(error))
        else:
            channel.send("searched", **searched)
    return 0


def main(library):
    """Runs one trial: `worker.py [options] trial.json`. Exits with 0 unless the protocol itself broke."""
    end_with_the_harness()
    channel = Channel()
    with open(sys.argv[-1], encoding="utf-8") as file:
        trial = json.load(file)
    try:
        name, simd_tier = library.load()
        __import__("numpy")  # missing here is missing like the library
    except ImportError as error:
        channel.send("failed", stage="missing", message=f"{sentence(error)} (in {sys.executable}; `just peers` installs it)")
        sys.exit(0)
    channel.send("hello", protocol=PROTOCOL, library=name, simd_tier=simd_tier)
    try:
        if trial["protocol"] != PROTOCOL:
            raise Refused(f"protocol: expected {PROTOCOL}, found {trial['protocol']}")
        queries = build(library, trial, channel)
    except Exception as error:  # as in serve()
        channel.send("failed", stage="build", message=sentence(error))
        sys.exit(0)
    sys.exit(serve(library, queries, sys.stdin, channel))
