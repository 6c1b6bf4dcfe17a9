//! Which processors a worker may use.

use crate::spec::Pin;

/// Why a worker cannot be pinned as asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PinError {
    /// A processor that this process may not use.
    #[error("measure.pin asks for processor {core}, but this process may use only {allowed:?}")]
    NotAllowed {
        /// The processor.
        core: u32,
        /// Those allowed.
        allowed: Vec<u32>,
    },
}

/// The processors for a worker that needs `threads` of the `allowed`; `None` leaves it all of them.
///
/// `auto` takes the last ones: the first processor of a machine is where interrupts and other people's work tend to be.
pub fn choose_cores(pin: &Pin, threads: usize, allowed: &[u32]) -> Result<Option<Vec<u32>>, PinError> {
    match pin {
        Pin::None => Ok(None),
        Pin::Auto => Ok((threads < allowed.len()).then(|| allowed[allowed.len() - threads.max(1)..].to_vec())),
        Pin::Cores(cores) => match cores.iter().find(|core| !allowed.contains(core)) {
            Some(&core) => Err(PinError::NotAllowed { core, allowed: allowed.to_vec() }),
            None => Ok(Some(cores.clone())),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auto_takes_the_last_processors_that_are_enough() {
        assert_eq!(choose_cores(&Pin::Auto, 1, &[0, 1, 5]), Ok(Some(vec![5])));
        assert_eq!(choose_cores(&Pin::Auto, 2, &[0, 1, 5]), Ok(Some(vec![1, 5])));
        assert_eq!(choose_cores(&Pin::Auto, 3, &[0, 1, 5]), Ok(None));
        assert_eq!(choose_cores(&Pin::Auto, 9, &[0]), Ok(None));
        assert_eq!(choose_cores(&Pin::None, 1, &[0, 1]), Ok(None));
    }

    #[test]
    fn a_processor_that_is_not_allowed_is_an_error() {
        assert_eq!(choose_cores(&Pin::Cores(vec![1]), 4, &[0, 1]), Ok(Some(vec![1])));
        let error = choose_cores(&Pin::Cores(vec![0, 7]), 1, &[0, 1]).unwrap_err();
        assert_eq!(error.to_string(), "measure.pin asks for processor 7, but this process may use only [0, 1]");
    }
}
