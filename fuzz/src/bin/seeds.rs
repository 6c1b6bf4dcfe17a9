//! Writes the seeds of the targets to `fuzz/seeds/`: small indexes of every kind and form.

use std::fs;
use std::path::{Path, PathBuf};

use nearlab_fuzz::{describe_container, scratch_file};
use nearlab_index::flat::{Flat, FlatParams};
use nearlab_index::hnsw::{Construction, Hnsw, HnswParams, RerankCodes, TraversalCodes};
use nearlab_index::ivf::{Ivf, IvfParams};
use nearlab_index::{Build, Mutable, Persist};
use nearlab_simd::Metric;
use nearlab_storage::Vectors;

const DIM: usize = 3;

fn main() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds");
    let (containers, indexes) = (folder.join("container"), folder.join("index"));
    for folder in [&containers, &indexes] {
        fs::create_dir_all(folder).expect("a folder for seeds");
    }
    let data: Vec<f32> = (0..40 * DIM).map(|i| (i * 37 % 101) as f32 / 8.0 - 5.0).collect();
    let vectors = Vectors::new(&data, DIM);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a thread");
    let file = scratch_file();
    let keep = |name: &str, kind: usize| {
        fs::write(indexes.join(name), describe_container(&file, kind)).expect("room for a seed");
        fs::copy(&file, containers.join(name)).expect("room for a seed");
    };
    for metric in Metric::ALL {
        let name = |kind: &str| PathBuf::from(format!("{kind}-{metric}")).display().to_string();
        Flat::build(vectors, metric, &FlatParams {}, &pool, &()).expect("flat").save(&file).expect("a file");
        keep(&name("flat"), 0);
        let params = IvfParams { nlist: 4, ..IvfParams::default() };
        Ivf::build(vectors, metric, &params, &pool, &()).expect("ivf").save(&file).expect("a file");
        keep(&name("ivf"), 2);
        for (form, codes, components, rerank_codes) in [
            ("f32", TraversalCodes::F32, 0, RerankCodes::None),
            ("f16", TraversalCodes::F16, 0, RerankCodes::F32),
            ("sq8", TraversalCodes::Sq8, 0, RerankCodes::F16),
            ("sq4", TraversalCodes::Sq4, 0, RerankCodes::Sq8),
            ("lvq4", TraversalCodes::Lvq4, 0, RerankCodes::F16),
            ("rabitq1", TraversalCodes::Rabitq1, 0, RerankCodes::Sq8),
            ("rabitq8", TraversalCodes::Rabitq8, 0, RerankCodes::F16),
            ("sq4-pca", TraversalCodes::Sq4, 2, RerankCodes::F32),
        ] {
            let construction = if form == "f32" { Construction::Incremental } else { Construction::Bulk };
            let params = HnswParams { m: 2, codes, components, rerank_codes, construction, ..HnswParams::default() };
            let hnsw = Hnsw::build(vectors, metric, &params, &pool, &()).expect("hnsw");
            hnsw.save(&file).expect("a file");
            keep(&name(&format!("hnsw-{form}")), 1);
            let live = hnsw.into_live(&pool).expect("codes that can change");
            live.delete(&[0, 7, 31]);
            live.freeze(&pool, &()).expect("nobody cancels").save(&file).expect("a file");
            keep(&name(&format!("hnsw-{form}-deleted")), 1);
        }
    }
    let _ = fs::remove_file(file);
}
