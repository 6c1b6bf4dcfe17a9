//! The set of nodes a search has met. Emptied in constant time by starting a new epoch.

/// Marks nodes by the number of the search that met them.
#[derive(Debug)]
pub(super) struct Visited {
    epochs: Vec<u16>,
    epoch: u16,
}

impl Visited {
    pub(super) fn new(nodes: usize) -> Self {
        Self { epochs: vec![0; nodes], epoch: 0 }
    }

    /// Forgets all nodes.
    pub(super) fn clear(&mut self) {
        if self.epoch == u16::MAX {
            self.epochs.fill(0);
            self.epoch = 0;
        }
        self.epoch += 1;
    }

    /// Adds a node; whether it is new.
    #[inline]
    pub(super) fn insert(&mut self, id: u32) -> bool {
        let mark = &mut self.epochs[id as usize];
        let new = *mark != self.epoch;
        *mark = self.epoch;
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_are_forgotten_at_each_clear_also_when_epochs_run_out() {
        let mut visited = Visited::new(3);
        for _ in 0..2 * u32::from(u16::MAX) + 3 {
            visited.clear();
            assert!(visited.insert(1));
            assert!(!visited.insert(1));
        }
        assert!(visited.insert(2));
    }
}
