//! What was done to a disk, and what a crash makes of it.

use std::collections::BTreeMap;

use super::{Crash, Fault};

/// What a disk writes whole or not at all.
const SECTOR: u64 = 512;

/// A call that changes something; files go by the number they got when they came to be.
#[derive(Debug, Clone)]
pub(super) enum Operation {
    Create(String),
    Rename(String, String),
    Remove(String),
    /// Of the folder whose names begin so.
    SyncFolder(String),
    Write(usize, u64, Vec<u8>),
    SetLen(usize, u64),
    Sync(usize),
    /// A sync of a file that failed: what was pending can no longer be made durable, unless it is written again.
    Lost(usize),
    /// Any other call that failed, without effect.
    Nothing,
}

impl Operation {
    /// Whether it changes a name that lies directly in the folder whose names begin so.
    fn is_in(&self, folder: &str) -> bool {
        match self {
            Self::Create(name) | Self::Rename(name, _) | Self::Remove(name) => {
                name.strip_prefix(folder).is_some_and(|rest| !rest.contains('/'))
            }
            _ => false,
        }
    }
}

#[derive(Debug, Clone, Default)]
pub(super) struct Journal {
    pub(super) operations: Vec<Operation>,
    pub(super) fault: Option<(Fault, usize, usize)>,
    /// Calls that read, and which of them fail: from this one on, so many.
    pub(super) reads: usize,
    pub(super) unread: Option<(usize, usize)>,
    initial: BTreeMap<String, Vec<u8>>,
    names: BTreeMap<String, usize>,
    files: usize,
}

impl Journal {
    pub(super) fn of(initial: BTreeMap<String, Vec<u8>>) -> Self {
        let names: BTreeMap<String, usize> = initial.keys().cloned().zip(0..).collect();
        Self { files: names.len(), names, initial, ..Self::default() }
    }

    /// The first `calls` calls, as made by a process that is no more.
    pub(super) fn until(&self, calls: usize) -> Self {
        let mut journal = Self::of(self.initial.clone());
        for operation in self.operations.iter().take(calls) {
            journal.record(operation.clone());
        }
        journal
    }

    pub(super) fn node_of(&self, name: &str) -> usize {
        self.names[name]
    }

    pub(super) fn record(&mut self, operation: Operation) {
        match &operation {
            Operation::Create(name) => {
                self.names.insert(name.clone(), self.files);
                self.files += 1;
            }
            Operation::Rename(from, to) => {
                let node = self.names.remove(from).expect("what was renamed was there");
                self.names.insert(to.clone(), node);
            }
            Operation::Remove(name) => {
                self.names.remove(name);
            }
            _ => {}
        }
        self.operations.push(operation);
    }

    pub(super) fn record_failed(&mut self, operation: &Operation) {
        self.operations.push(match operation {
            Operation::Sync(node) => Operation::Lost(*node),
            _ => Operation::Nothing,
        });
    }

    /// The fault with which the next call fails, if it is this one.
    pub(super) fn next_fault(&mut self, operation: &Operation) -> Option<Fault> {
        let at = self.operations.len();
        let (fault, from, times) = self.fault.as_mut()?;
        let fits = match fault {
            Fault::ShortWrite => matches!(operation, Operation::Write(..)),
            Fault::Io => true,
            Fault::Full => matches!(operation, Operation::Write(..) | Operation::Create(_)),
            Fault::Sync => matches!(operation, Operation::Sync(_) | Operation::SyncFolder(_)),
        };
        if !fits || at < *from || *times == 0 {
            return None;
        }
        *times -= 1;
        Some(*fault)
    }

    /// Counts a call that reads; whether it is one that fails.
    pub(super) fn next_read_fails(&mut self) -> bool {
        let at = self.reads;
        self.reads += 1;
        self.unread.is_some_and(|(from, times)| (from..from + times).contains(&at))
    }

    pub(super) fn after(&self, at: usize, crash: Crash) -> BTreeMap<String, Vec<u8>> {
        let mut state = State::of(&self.initial);
        let made = &self.operations[..(at + 1).min(self.operations.len())];
        match crash {
            Crash::Kill { seed } => {
                for (i, operation) in made.iter().enumerate() {
                    match operation {
                        Operation::Write(node, offset, bytes) if i == at => {
                            let kept = Seeded(seed).below(bytes.len() as u64 + 1) as usize;
                            state.make(&Operation::Write(*node, *offset, bytes[..kept].to_vec()));
                        }
                        _ if i == at => {}
                        operation => state.make(operation),
                    }
                }
                state.written()
            }
            Crash::PowerCut { seed } => {
                for operation in made {
                    state.make(operation);
                }
                state.durable(&mut Seeded(seed))
            }
        }
    }
}

/// A file: what is durable, and what was done since.
#[derive(Debug, Default, Clone)]
struct Node {
    durable: Vec<u8>,
    pending: Vec<Operation>,
    /// So many of `pending`, from the front, no sync can save any more: they may reach the disk until others follow, or never.
    lost: usize,
}

impl Node {
    /// The content if each pending operation, or a sector of it, stays for which `stays` says so.
    fn content(&self, pending: &[Operation], mut stays: impl FnMut() -> bool) -> Vec<u8> {
        let mut content = self.durable.clone();
        for operation in pending {
            match operation {
                Operation::Write(_, offset, bytes) => {
                    let mut from = 0;
                    while from < bytes.len() {
                        let at = offset + from as u64;
                        let until = bytes.len().min(from + (SECTOR - at % SECTOR) as usize);
                        if stays() {
                            put(&mut content, at as usize, &bytes[from..until]);
                        }
                        from = until;
                    }
                }
                Operation::SetLen(_, len) if stays() => content.resize(*len as usize, 0),
                _ => {}
            }
        }
        content
    }
}

fn put(content: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    content.resize(content.len().max(at + bytes.len()), 0);
    content[at..at + bytes.len()].copy_from_slice(bytes);
}

/// The disk while operations are made.
#[derive(Debug)]
struct State {
    nodes: Vec<Node>,
    durable_names: BTreeMap<String, usize>,
    /// What was done to names since the folder was synced, with the file that each concerned.
    pending_names: Vec<(Operation, usize)>,
    names: BTreeMap<String, usize>,
}

impl State {
    fn of(initial: &BTreeMap<String, Vec<u8>>) -> Self {
        let nodes = initial.values().map(|content| Node { durable: content.clone(), ..Node::default() }).collect();
        let names: BTreeMap<String, usize> = initial.keys().cloned().zip(0..).collect();
        Self { nodes, durable_names: names.clone(), pending_names: Vec::new(), names }
    }

    fn make(&mut self, operation: &Operation) {
        match operation {
            Operation::Create(_) => {
                let node = self.nodes.len();
                self.nodes.push(Node::default());
                self.change_names(operation, node);
            }
            Operation::Rename(name, _) | Operation::Remove(name) => {
                let node = self.names[name];
                self.change_names(operation, node);
            }
            Operation::Write(node, ..) | Operation::SetLen(node, _) => {
                self.nodes[*node].pending.push(operation.clone());
            }
            Operation::Sync(node) => {
                let node = &mut self.nodes[*node];
                node.durable = node.content(&node.pending[node.lost..], || true);
                node.pending.clear();
                node.lost = 0;
            }
            Operation::SyncFolder(folder) => {
                for (operation, node) in self.pending_names.extract_if(.., |(operation, _)| operation.is_in(folder)) {
                    rename(&mut self.durable_names, &operation, node);
                }
            }
            Operation::Lost(node) => self.nodes[*node].lost = self.nodes[*node].pending.len(),
            Operation::Nothing => {}
        }
    }

    fn change_names(&mut self, operation: &Operation, node: usize) {
        rename(&mut self.names, operation, node);
        self.pending_names.push((operation.clone(), node));
    }

    /// What programs read.
    fn written(&self) -> BTreeMap<String, Vec<u8>> {
        let content = |node: &usize| self.nodes[*node].content(&self.nodes[*node].pending, || true);
        self.names.iter().map(|(name, node)| (name.clone(), content(node))).collect()
    }

    /// What is durable, and some of the rest.
    fn durable(&self, seeded: &mut Seeded) -> BTreeMap<String, Vec<u8>> {
        // Nothing, all, and what lies between: each is a case of its own.
        let of_256 = [0, 64, 128, 192, 256][seeded.below(5) as usize];
        let mut names = self.durable_names.clone();
        for (operation, node) in &self.pending_names {
            if seeded.below(256) < of_256 {
                rename(&mut names, operation, *node);
            }
        }
        let mut content = |node: &usize| {
            let node = &self.nodes[*node];
            node.content(&node.pending, || seeded.below(256) < of_256)
        };
        names.iter().map(|(name, node)| (name.clone(), content(node))).collect()
    }
}

/// Changes names, as far as they are there.
fn rename(names: &mut BTreeMap<String, usize>, operation: &Operation, node: usize) {
    match operation {
        Operation::Create(name) => {
            names.insert(name.clone(), node);
        }
        Operation::Rename(from, to) if names.get(from) == Some(&node) => {
            names.remove(from);
            names.insert(to.clone(), node);
        }
        Operation::Remove(name) if names.get(name) == Some(&node) => {
            names.remove(name);
        }
        _ => {}
    }
}

/// `SplitMix64` (Steele, Lea, Flood 2014).
#[derive(Debug)]
struct Seeded(u64);

impl Seeded {
    /// A number below `end`, which is not zero.
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }
}
