//! What does a worker's work.

use std::fmt;

/// Library and instruction set, as a worker says before anything else. What two of them measured does not belong in one run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Library {
    /// Name and version.
    pub name: String,
    /// Instruction set, where the worker knows it.
    pub simd_tier: Option<String>,
}

impl fmt::Display for Library {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.simd_tier {
            Some(tier) => write!(f, "{} on {tier}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_is_called_by_its_version_and_its_instruction_set() {
        let library = Library { name: "faiss 1.9".into(), simd_tier: Some("avx2".into()) };
        assert_eq!(library.to_string(), "faiss 1.9 on avx2");
        assert_eq!(Library { simd_tier: None, ..library }.to_string(), "faiss 1.9");
    }
}
