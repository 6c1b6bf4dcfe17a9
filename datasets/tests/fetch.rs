//! Fetching against a server on the loopback that cuts, lies, forgets ranges, and changes its file.

#![expect(clippy::unwrap_used, reason = "a test that cannot set up its world should stop")]

use std::{
    cell::RefCell,
    fs,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::JoinHandle,
};

use nearlab_datasets::{
    Cache, Progress,
    catalog::{Entry, Place},
    fetch::{FetchError, Options, fetch, fetch_with, sha256, verify},
};
use nearlab_simd::Metric;

/// What the server does with one request.
#[derive(Clone, Default)]
struct Script {
    /// Bytes of body to send before the connection is cut.
    cut_after: Option<usize>,
    /// Answer with this status and no file.
    status: Option<u16>,
    /// Send the whole file with 200 whatever range was asked for.
    ignore_range: bool,
    /// `ETag` of this moment; none for `None`.
    etag: Option<&'static str>,
    /// Redirect to this path instead.
    redirect: Option<&'static str>,
    /// Lie about where the range begins.
    wrong_range: bool,
    /// Leave out Content-Length and end the body by closing.
    no_length: bool,
    /// Serve these bytes from now on.
    body: Option<Vec<u8>>,
}

fn whole() -> Script {
    Script { etag: Some("\"one\""), ..Script::default() }
}

fn cut(bytes: usize) -> Script {
    Script { cut_after: Some(bytes), ..whole() }
}

fn status(status: u16) -> Script {
    Script { status: Some(status), ..Script::default() }
}

/// A server that plays a list of scripts, the last one again and again, and remembers what it was asked.
struct Server {
    address: String,
    requests: Arc<Mutex<Vec<String>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    fn start(body: &[u8], scripts: Vec<Script>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let (requests, stop) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (seen, stopped, mut body) = (Arc::clone(&requests), Arc::clone(&stop), body.to_vec());
        let thread = std::thread::spawn(move || {
            for (i, stream) in listener.incoming().enumerate() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let script = scripts.get(i).or(scripts.last()).unwrap();
                if let Some(new) = &script.body {
                    body.clone_from(new);
                }
                // A client that hangs up in the middle is part of the game.
                let _ = answer(stream.unwrap(), script, &body, &seen);
            }
        });
        Self { address, requests, stop, thread: Some(thread) }
    }

    /// The values of a header over all requests so far; empty where it was absent.
    fn asked(&self, header: &str) -> Vec<String> {
        let field = |request: &String| {
            let line = request.lines().find(|line| line.to_lowercase().starts_with(&format!("{header}:")));
            line.map_or(String::new(), |line| line[header.len() + 1..].trim().to_owned())
        };
        self.requests.lock().unwrap().iter().map(field).collect()
    }

    fn count(&self) -> usize {
        self.requests.lock().unwrap().len()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address.trim_start_matches("http://"));
        let _ = self.thread.take().unwrap().join();
    }
}

fn answer(stream: TcpStream, script: &Script, body: &[u8], seen: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let mut request = String::new();
    let mut reader = BufReader::new(stream.try_clone()?);
    while !request.ends_with("\r\n\r\n") {
        if reader.read_line(&mut request)? == 0 {
            return Ok(());
        }
    }
    seen.lock().unwrap().push(request.clone());
    let mut stream = stream;
    if let Some(path) = script.redirect {
        return write!(
            stream,
            "HTTP/1.1 302 Found\r\nLocation: {path}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
    }
    if let Some(status) = script.status {
        return write!(stream, "HTTP/1.1 {status} No\r\nContent-Length: 3\r\nConnection: close\r\n\r\nno\n");
    }
    let header = |name: &str| {
        let line = request.lines().find(|line| line.to_lowercase().starts_with(name));
        line.map(|line| line.split_once(':').unwrap().1.trim().to_owned())
    };
    let current = header("if-range:").is_none_or(|version| Some(version.as_str()) == script.etag);
    let from = header("range:").filter(|_| current && !script.ignore_range).map(|range| {
        let first = range.trim_start_matches("bytes=").trim_end_matches('-');
        first.parse::<usize>().unwrap()
    });
    let etag = script.etag.map_or(String::new(), |etag| format!("ETag: {etag}\r\n"));
    let send = &body[from.unwrap_or(0).min(body.len())..];
    let length = if script.no_length { String::new() } else { format!("Content-Length: {}\r\n", send.len()) };
    match from {
        Some(first) if first >= body.len() => {
            let total = body.len();
            return write!(
                stream,
                "HTTP/1.1 416 No\r\nContent-Range: bytes */{total}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            );
        }
        Some(first) => {
            let (said, last, total) = (first + usize::from(script.wrong_range), body.len() - 1, body.len());
            write!(stream, "HTTP/1.1 206 Partial\r\nContent-Range: bytes {said}-{last}/{total}\r\n")?;
        }
        None => write!(stream, "HTTP/1.1 200 OK\r\n")?,
    }
    write!(stream, "{etag}{length}Connection: close\r\n\r\n")?;
    stream.write_all(&send[..script.cut_after.unwrap_or(send.len()).min(send.len())])?;
    stream.flush()
}

/// A folder for a cache, and tries without sleeping.
struct Bench {
    folder: tempfile::TempDir,
    pauses: RefCell<Vec<u32>>,
}

impl Bench {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), pauses: RefCell::new(Vec::new()) }
    }

    fn fetch(&self, entry: &Entry) -> Result<PathBuf, FetchError> {
        self.fetch_from(entry, None)
    }

    fn fetch_from(&self, entry: &Entry, mirror: Option<String>) -> Result<PathBuf, FetchError> {
        let pause = |failures| self.pauses.borrow_mut().push(failures);
        let options = Options { mirror, attempts: 3, pause: &pause };
        fetch_with(entry, &self.cache(), &options, &())
    }

    fn cache(&self) -> Cache {
        Cache::new(self.folder.path())
    }

    fn downloads(&self) -> PathBuf {
        self.folder.path().join("downloads")
    }

    /// Names in the downloads folder, without the lock.
    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.downloads()).unwrap();
        let mut names: Vec<String> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.retain(|name| name != ".set.lock.tmp");
        names.sort();
        names
    }
}

fn data() -> Vec<u8> {
    (0..600_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

fn hash_of(bytes: &[u8]) -> String {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), bytes).unwrap();
    sha256(file.path(), &()).unwrap()
}

fn entry(address: &str) -> Entry {
    Entry {
        name: "set".into(),
        place: Place::Url(format!("{address}/published.hdf5")),
        sha256: None,
        bytes: None,
        n: 1,
        d: 1,
        queries: 1,
        truth_k: None,
        metric: Metric::L2,
        note: None,
    }
}

fn exact(address: &str) -> Entry {
    Entry { sha256: Some(hash_of(&data())), bytes: Some(data().len() as u64), ..entry(address) }
}

#[test]
fn a_download_is_verified_renamed_and_not_repeated() {
    let server = Server::start(&data(), vec![whole()]);
    let bench = Bench::new();
    let path = bench.fetch(&exact(&server.address)).unwrap();
    assert_eq!(path, bench.downloads().join("set.hdf5"));
    assert_eq!(fs::read(&path).unwrap(), data());
    assert_eq!(bench.names(), ["set.hdf5", "set.receipt.json"]);
    assert_eq!(bench.fetch(&exact(&server.address)).unwrap(), path);
    assert_eq!(server.count(), 1, "the second fetch needs no network");
    assert!(server.asked("user-agent")[0].starts_with("nearlab/"));
}

#[test]
fn cuts_in_the_middle_are_continued_where_they_happened() {
    let server = Server::start(&data(), vec![cut(100_000), cut(1), cut(250_000), cut(0), whole()]);
    let bench = Bench::new();
    let path = bench.fetch(&exact(&server.address)).unwrap();
    assert_eq!(fs::read(&path).unwrap(), data());
    let ranges = server.asked("range");
    assert_eq!(ranges, ["", "bytes=100000-", "bytes=100001-", "bytes=350001-", "bytes=350001-"]);
    assert_eq!(server.asked("if-range"), ["", "\"one\"", "\"one\"", "\"one\"", "\"one\""]);
    assert_eq!(*bench.pauses.borrow(), [1, 1, 1, 2], "what gets further starts the count again");
}

#[test]
fn a_download_cut_for_good_is_continued_by_the_next_fetch() {
    let dead = Server::start(&data(), vec![cut(200_000), cut(0)]);
    let bench = Bench::new();
    let error = bench.fetch(&entry(&dead.address)).unwrap_err();
    assert!(matches!(error, FetchError::Interrupted { attempts: 3, have: 200_000, .. }), "{error}");
    assert!(error.to_string().contains("gave up after 3 tries with 200000 bytes here"), "{error}");
    assert_eq!(bench.names(), ["set.hdf5.part", "set.hdf5.part.json"]);
    // The same address must answer the second time: move the note to the new server's address.
    let alive = Server::start(&data(), vec![whole()]);
    let note = bench.downloads().join("set.hdf5.part.json");
    let moved = fs::read_to_string(&note).unwrap().replace(&dead.address, &alive.address);
    fs::write(&note, moved).unwrap();
    let path = bench.fetch(&entry(&alive.address)).unwrap();
    assert_eq!(fs::read(path).unwrap(), data());
    assert_eq!(alive.asked("range"), ["bytes=200000-"]);
}

#[test]
fn a_partial_file_of_another_address_is_dropped() {
    let bench = Bench::new();
    let dead = Server::start(&[9; 5_000], vec![cut(2_000), cut(0)]);
    bench.fetch(&entry(&dead.address)).unwrap_err();
    let server = Server::start(&data(), vec![whole()]);
    let path = bench.fetch(&entry(&server.address)).unwrap();
    assert_eq!((fs::read(path).unwrap(), server.asked("range")), (data(), vec![String::new()]));
}

#[test]
fn a_server_without_ranges_is_read_again_from_the_start() {
    let no_range = |cut_after| Script { cut_after, ignore_range: true, ..whole() };
    let server = Server::start(&data(), vec![no_range(Some(300_000)), no_range(Some(400_000)), no_range(None)]);
    let bench = Bench::new();
    let path = bench.fetch(&exact(&server.address)).unwrap();
    assert_eq!(fs::read(path).unwrap(), data());
}

#[test]
fn a_server_without_ranges_that_never_finishes_is_given_up() {
    let server = Server::start(&data(), vec![Script { cut_after: Some(300_000), ignore_range: true, ..whole() }]);
    let error = Bench::new().fetch(&exact(&server.address)).unwrap_err();
    assert!(matches!(error, FetchError::Interrupted { .. }), "{error}");
    assert_eq!(server.count(), 3, "bytes that were had before are no progress");
}

#[test]
fn a_file_that_changed_on_the_server_is_read_whole() {
    let changed: Vec<u8> = data().into_iter().rev().collect();
    let new = Script { etag: Some("\"two\""), body: Some(changed.clone()), ..Script::default() };
    let server = Server::start(&data(), vec![cut(300_000), new]);
    let bench = Bench::new();
    let path = bench.fetch(&entry(&server.address)).unwrap();
    assert_eq!(fs::read(path).unwrap(), changed, "never a mixture of both");
    assert_eq!(server.asked("if-range")[1], "\"one\"");
}

#[test]
fn a_range_of_other_bytes_or_of_another_version_starts_again() {
    for lie in [
        Script { wrong_range: true, ..whole() },
        // Claims the version asked for but is shorter now.
        Script { body: Some(data()[..500_000].to_vec()), ..whole() },
    ] {
        let honest = Script { body: Some(data()), ..whole() };
        let server = Server::start(&data(), vec![cut(300_000), lie, honest]);
        let bench = Bench::new();
        let path = bench.fetch(&entry(&server.address)).unwrap();
        assert_eq!(fs::read(path).unwrap(), data());
        assert_eq!(server.asked("range")[2], "", "the partial file was dropped");
    }
}

#[test]
fn without_a_version_only_a_known_hash_allows_continuing() {
    let plain = |cut_after| Script { cut_after, ..Script::default() };
    let weak = |cut_after| Script { cut_after, etag: Some("W/\"weak\""), ..Script::default() };
    for script in [plain, weak] {
        let server = Server::start(&data(), vec![script(Some(300_000)), script(None)]);
        let bench = Bench::new();
        let path = bench.fetch(&entry(&server.address)).unwrap();
        assert_eq!((fs::read(path).unwrap(), server.asked("range")[1].as_str()), (data(), ""));
        let server = Server::start(&data(), vec![script(Some(300_000)), script(None)]);
        let bench = Bench::new();
        let path = bench.fetch(&exact(&server.address)).unwrap();
        assert_eq!((fs::read(path).unwrap(), server.asked("range")[1].as_str()), (data(), "bytes=300000-"));
        assert_eq!(server.asked("if-range")[1], "", "a weak version is no condition for a range");
    }
}

#[test]
fn a_complete_partial_file_needs_no_further_request() {
    let bench = Bench::new();
    let server = Server::start(&data(), vec![cut(300_000), status(503)]);
    bench.fetch(&entry(&server.address)).unwrap_err();
    fs::write(bench.downloads().join("set.hdf5.part"), data()).unwrap();
    let before = server.count();
    assert_eq!(fs::read(bench.fetch(&entry(&server.address)).unwrap()).unwrap(), data());
    assert_eq!(server.count(), before);
}

#[test]
fn a_partial_file_longer_than_the_file_starts_again() {
    let bench = Bench::new();
    let server = Server::start(&data(), vec![cut(300_000), status(503), status(503), status(503), whole()]);
    bench.fetch(&entry(&server.address)).unwrap_err();
    fs::write(bench.downloads().join("set.hdf5.part"), vec![0; data().len() + 5]).unwrap();
    assert_eq!(fs::read(bench.fetch(&entry(&server.address)).unwrap()).unwrap(), data());
}

#[test]
fn client_errors_are_final_and_leave_nothing() {
    for code in [403, 404] {
        let server = Server::start(&data(), vec![status(code)]);
        let bench = Bench::new();
        let error = bench.fetch(&entry(&server.address)).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("{}/published.hdf5: expected the file, found HTTP status {code}", server.address)
        );
        assert_eq!((server.count(), bench.names().len()), (1, 0));
    }
}

#[test]
fn a_refusal_in_the_middle_keeps_what_was_received() {
    let server = Server::start(&data(), vec![cut(300_000), status(403), whole()]);
    let bench = Bench::new();
    bench.fetch(&entry(&server.address)).unwrap_err();
    assert_eq!(fs::read(bench.fetch(&entry(&server.address)).unwrap()).unwrap(), data());
    assert_eq!(server.asked("range")[2], "bytes=300000-");
}

#[test]
fn server_errors_are_tried_again_and_then_reported() {
    let bench = Bench::new();
    let server = Server::start(&data(), vec![status(500), status(429), whole()]);
    bench.fetch(&entry(&server.address)).unwrap();
    assert_eq!(*bench.pauses.borrow(), [1, 2]);
    let down = Server::start(&data(), vec![status(500)]);
    let error = Bench::new().fetch(&entry(&down.address)).unwrap_err();
    assert!(matches!(error, FetchError::Status { status: 500, .. }), "{error}");
    assert_eq!(down.count(), 3);
}

#[test]
fn nobody_listening_is_an_error_with_the_address() {
    let address = format!("http://{}", TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap());
    let error = Bench::new().fetch(&entry(&address)).unwrap_err();
    assert!(matches!(error, FetchError::Interrupted { have: 0, .. }), "{error}");
    assert!(error.to_string().starts_with(&address), "{error}");
}

#[test]
fn a_wrong_length_is_refused_before_a_byte_is_read() {
    let server = Server::start(&data(), vec![whole()]);
    let bench = Bench::new();
    let wrong = Entry { bytes: Some(600_001), ..entry(&server.address) };
    let error = bench.fetch(&wrong).unwrap_err();
    assert!(matches!(error, FetchError::Length { expected: 600_001, found: 600_000, .. }), "{error}");
    assert!(error.to_string().ends_with("published.hdf5: expected 600001 bytes, found 600000"), "{error}");
    assert!(bench.names().is_empty());
}

#[test]
fn a_short_body_without_a_length_is_noticed_where_the_catalogue_knows_better() {
    let short = Script { no_length: true, body: Some(data()[..1_000].to_vec()), ..Script::default() };
    let server = Server::start(&data(), vec![short]);
    let error = Bench::new().fetch(&exact(&server.address)).unwrap_err();
    assert!(error.to_string().contains("expected 600000 bytes, found the end after 1000"), "{error}");
    let long = Script { no_length: true, ..Script::default() };
    let server = Server::start(&data(), vec![long]);
    let shorter = Entry { bytes: Some(1_000), ..entry(&server.address) };
    let error = Bench::new().fetch(&shorter).unwrap_err();
    assert!(matches!(error, FetchError::Length { expected: 1_000, found: 600_000, .. }), "{error}");
}

#[test]
fn a_wrong_hash_is_an_error_and_removes_the_partial_file() {
    let server = Server::start(&data(), vec![whole()]);
    let bench = Bench::new();
    let wrong = Entry { sha256: Some("0".repeat(64)), ..exact(&server.address) };
    let error = bench.fetch(&wrong).unwrap_err().to_string();
    assert!(error.contains(&format!("expected SHA-256 {}, found {}", "0".repeat(64), hash_of(&data()))), "{error}");
    assert!(bench.names().is_empty());
}

#[test]
fn a_redirect_is_followed() {
    let redirect = Script { redirect: Some("/elsewhere/file"), ..Script::default() };
    let server = Server::start(&data(), vec![redirect, whole()]);
    assert_eq!(fs::read(Bench::new().fetch(&exact(&server.address)).unwrap()).unwrap(), data());
}

#[test]
fn a_download_that_was_damaged_on_disk_is_fetched_again() {
    let server = Server::start(&data(), vec![whole()]);
    let bench = Bench::new();
    let path = bench.fetch(&exact(&server.address)).unwrap();
    fs::write(&path, b"short").unwrap();
    assert_eq!(fs::read(bench.fetch(&exact(&server.address)).unwrap()).unwrap(), data());
    let mut flipped = data();
    flipped[77] ^= 1;
    fs::write(&path, flipped).unwrap();
    fs::remove_file(bench.downloads().join("set.receipt.json")).unwrap();
    assert_eq!(fs::read(bench.fetch(&exact(&server.address)).unwrap()).unwrap(), data());
    assert_eq!(server.count(), 3);
    // Without a receipt a good file is hashed, not fetched.
    fs::remove_file(bench.downloads().join("set.receipt.json")).unwrap();
    bench.fetch(&exact(&server.address)).unwrap();
    assert_eq!(server.count(), 3);
}

#[test]
fn a_download_from_another_address_is_not_taken_for_this_one() {
    let (old, new) = (Server::start(b"old", vec![whole()]), Server::start(&data(), vec![whole()]));
    let bench = Bench::new();
    bench.fetch(&entry(&old.address)).unwrap();
    assert_eq!(fs::read(bench.fetch(&entry(&new.address)).unwrap()).unwrap(), data());
    // A hash that the catalogue learns later is checked once.
    let wrong = Entry { sha256: Some("0".repeat(64)), ..entry(&new.address) };
    assert!(matches!(bench.fetch(&wrong).unwrap_err(), FetchError::Hash { .. }));
}

#[test]
fn two_fetches_at_once_download_once() {
    let server = Server::start(&data(), vec![whole()]);
    let (bench, entry) = (Bench::new(), exact(&server.address));
    let cache = bench.cache();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let options = Options { mirror: None, attempts: 1, pause: &|_| () };
                fetch_with(&entry, &cache, &options, &()).unwrap();
            });
        }
    });
    assert_eq!(server.count(), 1);
}

#[test]
fn a_local_file_is_used_where_it_lies() {
    let bench = Bench::new();
    let file = bench.folder.path().join("mine.fbin");
    let local = Entry { place: Place::File(file.clone()), ..exact("") };
    let error = bench.fetch(&local).unwrap_err().to_string();
    assert!(error.starts_with("set: expected the file ") && error.contains("mine.fbin"), "{error}");
    fs::write(&file, b"too short").unwrap();
    let error = bench.fetch(&local).unwrap_err().to_string();
    assert!(error.contains("mine.fbin: expected 600000 bytes, found 9"), "{error}");
    fs::write(&file, data()).unwrap();
    assert_eq!(bench.fetch(&local).unwrap(), file);
    assert_eq!(bench.names(), ["set.receipt.json"], "checked once, and remembered");
    assert_eq!(fetch(&local, &bench.cache(), &()).unwrap(), file);
    fs::write(&file, vec![0; data().len()]).unwrap();
    assert!(matches!(bench.fetch(&local).unwrap_err(), FetchError::Hash { .. }));
    assert!(file.exists(), "a file of the user's own is never removed");
}

#[test]
fn a_mirror_folder_stands_for_the_network() {
    let bench = Bench::new();
    let mirror = tempfile::tempdir().unwrap();
    let name = mirror.path().display().to_string();
    let error = bench.fetch_from(&exact("http://unreachable.invalid"), Some(name.clone())).unwrap_err().to_string();
    assert!(
        error.contains("set: expected published.hdf5 in the mirror") && error.contains("NEARLAB_MIRROR"),
        "{error}"
    );
    fs::write(mirror.path().join("published.hdf5"), data()).unwrap();
    for mirror_name in [name.clone(), format!("file://{name}")] {
        let path = bench.fetch_from(&exact("http://unreachable.invalid"), Some(mirror_name)).unwrap();
        assert_eq!(path, Path::new(&name).join("published.hdf5"));
    }
}

#[test]
fn a_mirror_address_replaces_the_published_one() {
    let server = Server::start(&data(), vec![whole()]);
    let bench = Bench::new();
    let path = bench.fetch_from(&exact("http://unreachable.invalid"), Some(format!("{}/copy/", server.address)));
    assert_eq!(fs::read(path.unwrap()).unwrap(), data());
    assert!(server.requests.lock().unwrap()[0].starts_with("GET /copy/published.hdf5 "));
}

#[test]
fn a_cache_that_cannot_be_written_is_named() {
    let bench = Bench::new();
    fs::write(bench.downloads(), b"a file where the folder should be").unwrap();
    let error = bench.fetch(&entry("http://127.0.0.1:9")).unwrap_err().to_string();
    assert!(error.starts_with("create ") && error.contains("downloads"), "{error}");
}

#[test]
fn progress_ends_at_the_whole_length() {
    struct Last(AtomicUsize);
    impl Progress for Last {
        fn report(&self, stage: &str, done: u64, total: u64) {
            if stage == "download" {
                assert_eq!(total, 600_000);
                self.0.store(done as usize, Ordering::SeqCst);
            }
        }
    }
    let server = Server::start(&data(), vec![cut(300_000), whole()]);
    let (bench, last) = (Bench::new(), Last(AtomicUsize::new(0)));
    let options = Options { mirror: None, attempts: 2, pause: &|_| () };
    fetch_with(&exact(&server.address), &bench.cache(), &options, &last).unwrap();
    assert_eq!(last.0.load(Ordering::SeqCst), 600_000);
}

#[test]
fn verify_reads_the_whole_file_again() {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), data()).unwrap();
    assert_eq!(verify(&exact(""), file.path(), &()).unwrap(), hash_of(&data()));
    assert_eq!(verify(&entry(""), file.path(), &()).unwrap(), hash_of(&data()));
    let wrong = Entry { sha256: Some("1".repeat(64)), ..entry("") };
    assert!(matches!(verify(&wrong, file.path(), &()).unwrap_err(), FetchError::Hash { .. }));
    let error = verify(&wrong, Path::new("no/such/file"), &()).unwrap_err().to_string();
    assert!(error.starts_with("read no/such/file: "), "{error}");
}
