//! A worker process and the conversation with it.

use std::{
    collections::BTreeSet,
    io::{self, Write},
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
    sync::{
        Mutex, PoisonError,
        mpsc::{Receiver, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};

use nearlab_reports::record::Outcome;
use rustix::{
    process::{Pid, Signal, kill_process_group},
    thread::{CpuSet, sched_getaffinity, sched_setaffinity},
};

use super::{
    Ended, Library, Peaks, Program, Trouble,
    memory::Watch,
    patience::{LOOK, Patience},
    speech::{Said, Tail, listen},
    trouble,
};
use crate::{
    protocol::{Built, PROTOCOL, Reply, Request, SearchRequest, Searched},
    run::{folder::TEMPORARY, interrupt, scratch::Scratch},
    storage::protocol::StoredReply,
};

/// How long a worker that was told to leave, or has closed its output, may take.
const GRACE: Duration = Duration::from_secs(10);

/// Process groups of the workers alive now.
static ALIVE: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());

/// Kills every worker of this process at once.
pub fn kill_all() {
    for &group in ALIVE.lock().unwrap_or_else(PoisonError::into_inner).iter() {
        if let Some(pid) = Pid::from_raw(group) {
            let _gone = kill_process_group(pid, Signal::KILL);
        }
    }
}

/// What a worker may use.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Wall-clock limit of a build, and of one search request.
    pub timeout: Duration,
    /// Anonymous resident memory.
    pub memory_bytes: Option<u64>,
}

/// How to start a worker.
pub struct Launch<'a> {
    /// The program.
    pub program: &'a Program,
    /// The trial file, its last argument.
    pub trial_file: &'a Path,
    /// What it may use.
    pub limits: Limits,
    /// Processors it may use; `None`: those of the harness.
    pub cores: Option<&'a [u32]>,
}

/// Progress that a worker reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Stage of a build, or `search`.
    pub stage: String,
    /// Units done.
    pub done: u64,
    /// Units in all; 0 when not known.
    pub total: u64,
}

/// What is known once the index is ready.
#[derive(Debug, Clone)]
pub struct BuiltWorker {
    /// What built it, as the worker said.
    pub library: Library,
    /// The build.
    pub built: Built,
    /// Memory up to now.
    pub peaks: Peaks,
}

/// A worker process. Dropping it kills its whole process group.
pub struct Worker {
    child: Child,
    pid: Pid,
    stdin: Option<ChildStdin>,
    replies: Receiver<Said>,
    tail: Tail,
    watch: Watch,
    limits: Limits,
    patience: Patience,
    /// Removed when the worker is gone.
    _temporary: Scratch,
}

impl Worker {
    /// Starts a worker. Its processors are set before it runs its first instruction. Its temporary files go to a folder beside the trial
    /// file: some libraries write whole indexes, and what a killed one leaves is found there.
    pub fn start(launch: &Launch<'_>) -> Result<Self, Trouble> {
        let mut command = launch.program.command(launch.trial_file)?;
        let temporary = Scratch::make(&launch.trial_file.with_extension(TEMPORARY))
            .map_err(|error| Trouble::new(Outcome::Failed, error.to_string()))?;
        command.env("TMPDIR", temporary.path());
        // A group of its own: Ctrl-C on the terminal reaches the harness only, which decides.
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let mut child = spawn_on(&mut command, launch.cores).map_err(|error| {
            let program = command.get_program().to_string_lossy().into_owned();
            let outcome = match error.kind() {
                io::ErrorKind::NotFound => Outcome::Missing,
                _ => Outcome::Failed,
            };
            Trouble::new(outcome, format!("cannot start {program}: {error}"))
        })?;
        let pid = Pid::from_child(&child);
        ALIVE.lock().unwrap_or_else(PoisonError::into_inner).insert(pid.as_raw_pid());
        let piped = "the pipe was asked for above";
        let replies = listen(child.stdout.take().expect(piped));
        let tail = Tail::follow(child.stderr.take().expect(piped));
        let stdin = child.stdin.take();
        let watch = Watch::start(pid, launch.limits.memory_bytes);
        let patience = Patience::new(Instant::now(), launch.limits.timeout);
        Ok(Self { child, pid, stdin, replies, tail, watch, limits: launch.limits, patience, _temporary: temporary })
    }

    /// What the worker says first: what does its work. Its program is read by then, a Python worker's modules too. The time that
    /// a build may take has begun already.
    pub fn hello(&mut self) -> Result<Library, Ended> {
        match self.next(true)? {
            Reply::Hello { protocol: PROTOCOL, library, simd_tier } => Ok(Library { name: library, simd_tier }),
            Reply::Hello { protocol, .. } => {
                Err(self.broke(&format!("it speaks protocol {protocol}, expected {PROTOCOL}")).into())
            }
            Reply::Failed { stage, message } => Err(self.failed(&stage, message).into()),
            other => Err(self.broke(&format!("it said {other:?} before hello")).into()),
        }
    }

    /// Waits, after the hello, until a trial of a store is done. An interruption ends the wait at once: half a trial answers
    /// nothing.
    pub fn stored(&mut self, progress: &mut dyn FnMut(Step)) -> Result<StoredReply, Ended> {
        loop {
            match self.next(true)? {
                Reply::Building { stage, done, total } => progress(Step { stage, done, total }),
                Reply::Stored(stored) => return Ok(stored),
                Reply::Failed { stage, message } => return Err(self.failed(&stage, message).into()),
                other => return Err(self.broke(&format!("it said {other:?} during a trial of a store")).into()),
            }
        }
    }

    /// Waits, after a hello of `library`, until the index is built. An interruption ends the wait at once: a build without
    /// searches answers nothing.
    pub fn built(&mut self, library: Library, progress: &mut dyn FnMut(Step)) -> Result<BuiltWorker, Ended> {
        loop {
            match self.next(true)? {
                Reply::Building { stage, done, total } => progress(Step { stage, done, total }),
                Reply::Built(built) => return Ok(BuiltWorker { library, built, peaks: self.watch.peaks() }),
                Reply::Failed { stage, message } => return Err(self.failed(&stage, message).into()),
                other => return Err(self.broke(&format!("it said {other:?} during the build")).into()),
            }
        }
    }

    /// Asks for one measurement and waits for it. An interruption does not end the wait: the measurement under way is
    /// finished.
    pub fn search(&mut self, request: &SearchRequest, progress: &mut dyn FnMut(Step)) -> Result<Searched, Trouble> {
        if self.say(&Request::Search(request.clone())).is_err() {
            return Err(self.gone());
        }
        self.patience = Patience::new(Instant::now(), self.limits.timeout);
        loop {
            let reply = self.next(false).map_err(|ended| match ended {
                Ended::Trouble(trouble) => trouble,
                Ended::Interrupted => unreachable!("a search is not interrupted"),
            })?;
            match reply {
                Reply::Searching { done, total, .. } => progress(Step { stage: "search".into(), done, total }),
                Reply::Searched(searched) if searched.key == request.key => return Ok(searched),
                Reply::Failed { stage, message } if stage == "search" => {
                    return Err(Trouble { outcome: Outcome::Failed, message, worker_lives: true });
                }
                Reply::Failed { stage, message } if stage == "unsupported" => {
                    return Err(Trouble { outcome: Outcome::Unsupported, message, worker_lives: true });
                }
                Reply::Failed { stage, message } => return Err(self.failed(&stage, message)),
                other => return Err(self.broke(&format!("it answered the search {} with {other:?}", request.key))),
            }
        }
    }

    /// Memory up to now.
    pub fn peaks(&self) -> Peaks {
        self.watch.peaks()
    }

    /// Tells the worker to leave and waits until it has. Needed only where what it does last matters (a heap profile).
    pub fn finish(mut self) -> Result<(), Trouble> {
        // A worker that is gone already cannot be told; its status says the rest.
        let _told = self.say(&Request::Exit {});
        self.stdin = None;
        match self.wait(GRACE) {
            Some(status) if status.success() => Ok(()),
            Some(status) => Err(self.quoting(trouble::left(status))),
            None => Err(Trouble::new(Outcome::Timeout, "the worker did not leave when it was told to")),
        }
    }

    fn say(&mut self, request: &Request) -> io::Result<()> {
        let mut line = serde_json::to_vec(request)?;
        line.push(b'\n');
        let stdin = self.stdin.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        stdin.write_all(&line)?;
        stdin.flush()
    }

    fn next(&mut self, interruptible: bool) -> Result<Reply, Ended> {
        loop {
            // Looked at before every reply: a worker that never falls silent is held to its limits too.
            if interruptible && interrupt::requested() {
                self.kill();
                return Err(Ended::Interrupted);
            }
            let Some(look) = self.patience.look(Instant::now()) else { return Err(self.late().into()) };
            match self.replies.recv_timeout(look) {
                Ok(Said::Reply(reply)) => return Ok(reply),
                Ok(Said::Rubbish(line, why)) => {
                    return Err(self.broke(&format!("it said `{line}`, which is not a reply ({why})")).into());
                }
                Err(RecvTimeoutError::Disconnected) => return Err(self.gone().into()),
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    /// The worker has not answered in time.
    fn late(&mut self) -> Trouble {
        self.kill();
        let seconds = self.limits.timeout.as_secs_f64();
        let message = format!("no answer within {seconds} s (measure.timeout), so it was stopped");
        self.quoting(Trouble::new(Outcome::Timeout, message))
    }

    /// The worker said that it cannot.
    fn failed(&mut self, stage: &str, message: String) -> Trouble {
        self.kill();
        let outcome = if stage == "missing" { Outcome::Missing } else { Outcome::Failed };
        Trouble::new(outcome, message)
    }

    /// The worker does not keep to the protocol.
    fn broke(&mut self, what: &str) -> Trouble {
        self.kill();
        self.quoting(Trouble::new(Outcome::Protocol, format!("the worker broke the protocol: {what}")))
    }

    /// The worker has closed its output.
    fn gone(&mut self) -> Trouble {
        let status = self.wait(GRACE);
        let trouble = match (self.watch.killed_at(), self.limits.memory_bytes, status) {
            (Some(bytes), Some(limit), _) => Trouble::new(
                Outcome::OutOfMemory,
                format!(
                    "it used {} MiB, past the limit of {} MiB (measure.memory), so it was stopped",
                    bytes >> 20,
                    limit >> 20
                ),
            ),
            (_, _, Some(status)) => trouble::left(status),
            (_, _, None) => Trouble::new(Outcome::Protocol, "the worker closed its output and went on running"),
        };
        self.quoting(trouble)
    }

    fn quoting(&self, trouble: Trouble) -> Trouble {
        trouble.quoting(&self.tail.last_words())
    }

    /// Waits at most `grace`, then kills what is left of the group. `None` when it had to be killed.
    fn wait(&mut self, grace: Duration) -> Option<std::process::ExitStatus> {
        let deadline = Instant::now() + grace;
        let mut pause = Duration::from_millis(1);
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) => {
                    self.kill();
                    return Some(status);
                }
                Ok(None) if Instant::now() < deadline => thread::sleep(pause),
                _ => {
                    self.kill();
                    return None;
                }
            }
            pause = (pause * 2).min(LOOK);
        }
    }

    /// Kills the whole group and reaps the worker.
    fn kill(&mut self) {
        let _gone = kill_process_group(self.pid, Signal::KILL);
        let _reaped = self.child.wait();
        self.watch.note_death();
        ALIVE.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.pid.as_raw_pid());
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if ALIVE.lock().unwrap_or_else(PoisonError::into_inner).contains(&self.pid.as_raw_pid()) {
            self.kill();
        }
    }
}

/// Starts `command` on `cores`: a new process inherits the processors of the thread that starts it, so that thread
/// moves there and back.
fn spawn_on(command: &mut Command, cores: Option<&[u32]>) -> io::Result<Child> {
    let Some(cores) = cores else { return command.spawn() };
    let before = sched_getaffinity(None)?;
    let mut set = CpuSet::new();
    for &core in cores {
        set.set(core as usize);
    }
    sched_setaffinity(None, &set)?;
    let child = command.spawn();
    sched_setaffinity(None, &before)?;
    child
}
