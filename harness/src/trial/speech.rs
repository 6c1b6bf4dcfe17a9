//! What a worker says: replies on its standard output, anything on its standard error.
//!
//! Both are read by threads of their own and neither may grow: a line longer than [`LONGEST_LINE`] is rubbish, at most
//! [`TAIL`] lines of standard error are kept, and the channel of replies holds back a worker that floods it.

use std::{
    collections::VecDeque,
    io::{BufRead, BufReader, Read},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{self, Receiver, SyncSender},
    },
    thread,
    time::Duration,
};

use crate::protocol::Reply;

/// Longest line that is read, in bytes.
const LONGEST_LINE: u64 = 1 << 20;
/// Lines of standard error kept.
const TAIL: usize = 20;
/// Characters of a line that are quoted.
const QUOTED: usize = 200;
/// Replies that may wait to be read.
pub(super) const WAITING: usize = 256;
/// How long a dead worker's standard error is waited for; a child of its own may still hold it open.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// One thing said on standard output.
pub(super) enum Said {
    /// A reply.
    Reply(Reply),
    /// A line that is not one, shortened, and why not.
    Rubbish(String, String),
}

/// Reads replies until the end of `stdout`; the channel closes then.
pub(super) fn listen(stdout: impl Read + Send + 'static) -> Receiver<Said> {
    let (sender, receiver) = mpsc::sync_channel(WAITING);
    thread::spawn(move || read_replies(stdout, &sender));
    receiver
}

fn read_replies(stdout: impl Read, sender: &SyncSender<Said>) {
    let mut reader = BufReader::new(stdout);
    while let Some(line) = read_line(&mut reader) {
        let said = match serde_json::from_slice(&line) {
            Ok(reply) => Said::Reply(reply),
            Err(error) => Said::Rubbish(quote(&line), error.to_string()),
        };
        let rubbish = matches!(said, Said::Rubbish(..));
        if sender.send(said).is_err() || rubbish {
            return;
        }
    }
}

/// The next line without its newline, cut at [`LONGEST_LINE`]; `None` at the end.
fn read_line(reader: &mut impl BufRead) -> Option<Vec<u8>> {
    let mut line = Vec::new();
    let read = reader.take(LONGEST_LINE).read_until(b'\n', &mut line).ok()?;
    if line.last() == Some(&b'\n') {
        line.pop();
    }
    (read > 0).then_some(line)
}

/// A line fit for a message: printable, and cut to [`QUOTED`] characters.
fn quote(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    let mut quoted: String = text.chars().take(QUOTED).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if text.chars().nth(QUOTED).is_some() {
        quoted.push_str("...");
    }
    quoted
}

/// The last lines of a worker's standard error.
pub(super) struct Tail {
    lines: Arc<Mutex<VecDeque<String>>>,
    ended: Receiver<()>,
}

impl Tail {
    /// Keeps the last lines of `stderr`.
    pub(super) fn follow(stderr: impl Read + Send + 'static) -> Self {
        let lines = Arc::new(Mutex::new(VecDeque::with_capacity(TAIL)));
        let (ended_sender, ended) = mpsc::channel::<()>();
        let kept = Arc::clone(&lines);
        thread::spawn(move || {
            let mut reader = BufReader::new(stderr);
            while let Some(line) = read_line(&mut reader) {
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                if kept.len() == TAIL {
                    kept.pop_front();
                }
                kept.push_back(quote(&line));
            }
            drop(ended_sender);
        });
        Self { lines, ended }
    }

    /// The lines kept, once the worker is dead.
    pub(super) fn last_words(&self) -> Vec<String> {
        // Nothing is ever sent: either the end was read and the sender is gone, or the time is up. Both will do.
        let _either = self.ended.recv_timeout(LAST_WORDS);
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &'static str) -> Vec<String> {
        listen(text.as_bytes())
            .iter()
            .map(|said| match said {
                Said::Reply(reply) => format!("{reply:?}").chars().take(8).collect(),
                Said::Rubbish(line, _) => format!("rubbish: {line}"),
            })
            .collect()
    }

    #[test]
    fn replies_are_read_until_the_first_rubbish() {
        let text = "{\"building\":{\"stage\":\"train\",\"done\":0,\"total\":0}}\nhello\x07there\n{}\n";
        assert_eq!(said(text), ["Building", "rubbish: hello\u{fffd}there"]);
        assert_eq!(said(""), Vec::<String>::new());
        assert_eq!(said("\n"), ["rubbish: "]);
    }

    #[test]
    fn an_endless_line_is_cut() {
        let receiver = listen(std::io::repeat(b'x'));
        let Said::Rubbish(line, _) = receiver.recv().unwrap() else { panic!("expected rubbish") };
        assert_eq!(line.chars().count(), QUOTED + 3);
    }

    #[test]
    fn only_the_last_lines_are_kept() {
        let lines: Vec<String> = (0..50).map(|line| format!("line {line}")).collect();
        let text = lines.join("\n");
        let words = Tail::follow(std::io::Cursor::new(text)).last_words();
        assert_eq!((words.len(), words[0].as_str(), words[19].as_str()), (20, "line 30", "line 49"));
    }
}
