//! Saved indexes and prepared data sets, checked from the command line.

use std::fs;

use crate::laboratory::{Laboratory, SMALL, stderr, stdout};

#[test]
fn saved_indexes_are_timed_and_can_be_inspected_and_damage_is_named() {
    let laboratory = Laboratory::new();
    laboratory.write("small.yaml", &SMALL.replace("warmup: 1", "warmup: 1, save: true"));
    laboratory.expect("run small.yaml --quiet --no-report", 0);
    let run = laboratory.records("small");
    assert_eq!(run.builds.len(), 3);
    for build in &run.builds {
        assert!(build.stages.save > 0.0 && build.stages.load > 0.0, "{build:?}");
        let path = run.folder.join("indexes").join(format!("{}.nearlab", build.trial));
        let said = stdout(&laboratory.expect(&format!("inspect {}", path.display()), 0));
        assert!(said.contains(&format!("{} index", build.kind)), "{said}");
        assert!(said.contains(build.digest.as_deref().unwrap()), "{said}");

        let mut bytes = fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(laboratory.path("damaged.nearlab"), bytes).unwrap();
        let said = stderr(&laboratory.expect("inspect damaged.nearlab", 2));
        assert!(said.starts_with("error: ") && said.contains("damaged.nearlab"), "{said}");
    }
}

#[test]
fn a_prepared_data_set_is_described_and_a_foreign_file_is_refused() {
    let laboratory = Laboratory::new();
    laboratory.write("small.yaml", SMALL);
    laboratory.expect("run small.yaml --plan", 0);
    let prepared = fs::read_dir(laboratory.path("cache/prepared")).unwrap().next().unwrap().unwrap().path();
    let said = stdout(&laboratory.expect(&format!("inspect {}", prepared.display()), 0));
    assert!(said.contains("prepared data set") && said.contains("1000"), "{said}");
    let said = stderr(&laboratory.expect("inspect data.hdf5", 2));
    assert!(said.contains("data.hdf5"), "{said}");
    let said = stderr(&laboratory.expect("inspect nowhere.nearlab", 2));
    assert!(said.contains("nowhere.nearlab"), "{said}");
}
