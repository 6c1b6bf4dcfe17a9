//! How long an answer is waited for.

use std::time::{Duration, Instant};

use super::speech::WAITING;

/// Longest time between two looks at the limits.
pub(super) const LOOK: Duration = Duration::from_millis(50);

/// Until when an answer is waited for, and what of it is still read then.
///
/// What was said in time counts however late it is looked at: the harness may have been stopped meanwhile, by Ctrl-Z or by Ctrl-S
/// on its terminal. So when the time is up one more look is waited for, in which the reading thread gets what lies in the pipe;
/// after it only what waits already is read, and no more than can wait: progress alone does not put off the end.
pub(super) struct Patience {
    deadline: Instant,
    /// Replies that may still be looked for; `None` before the time is up.
    last_looks: Option<usize>,
}

impl Patience {
    /// For an answer within `time` from `now`.
    pub(super) fn new(now: Instant, time: Duration) -> Self {
        Self { deadline: now + time, last_looks: None }
    }

    /// How long to wait for the next reply; `None`: whatever comes is too late.
    pub(super) fn look(&mut self, now: Instant) -> Option<Duration> {
        let left = self.deadline.saturating_duration_since(now);
        match self.last_looks {
            None if left.is_zero() => {
                self.deadline = now + LOOK;
                self.last_looks = Some(WAITING);
                Some(LOOK)
            }
            None => Some(left.min(LOOK)),
            Some(looks) => {
                self.last_looks = Some(looks.checked_sub(1)?);
                Some(left)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_when_the_time_is_up_is_read_and_no_more() {
        let (began, time) = (Instant::now(), Duration::from_secs(1));
        let mut patience = Patience::new(began, time);
        assert_eq!(patience.look(began), Some(LOOK));
        assert_eq!(patience.look(began + time * 99 / 100), Some(LOOK / 5));
        // As after a night in the background.
        let late = began + Duration::from_hours(8);
        assert_eq!(patience.look(late), Some(LOOK));
        assert_eq!(patience.look(late + LOOK / 5), Some(LOOK * 4 / 5));
        for _ in 1..WAITING {
            assert_eq!(patience.look(late + LOOK), Some(Duration::ZERO));
        }
        assert_eq!(patience.look(late + LOOK), None);
        assert_eq!(patience.look(late + LOOK), None);
    }
}
