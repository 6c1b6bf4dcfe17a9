//! Many ids, numbers and names, against a map; and changes large enough that checksums are computed while the rows are written.
#![expect(clippy::unwrap_used, reason = "a test, all of it")]

use std::collections::HashMap;

use nearlab_storage::Vectors;
use nearlab_storage::store::{
    CompactOptions, Durability, ElementKind, IdKind, Ids, Shape, Snapshot, StoreOptions, VectorStore,
};

/// `SplitMix64` (Steele, Lea, Flood 2014).
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Calls `with` with ids of the store's kind.
fn as_ids<R>(kind: IdKind, ids: &[u64], with: impl FnOnce(Ids<'_>) -> R) -> R {
    if kind == IdKind::Numbers {
        return with(Ids::Numbers(ids));
    }
    let names: Vec<String> = ids.iter().map(|id| format!("name {id}")).collect();
    with(Ids::Names(&names.iter().map(String::as_str).collect::<Vec<_>>()))
}

fn assert_holds(snapshot: &Snapshot, model: &HashMap<u64, u32>, among: u64) {
    assert_eq!(snapshot.len(), model.len());
    let ids: Vec<u64> = (0..among).collect();
    let (mut rows, mut found) = (vec![0_f32; ids.len()], vec![false; ids.len()]);
    let read = as_ids(snapshot.shape().ids, &ids, |ids| snapshot.read(ids, &mut rows, &mut found)).unwrap();
    assert_eq!(read, model.len());
    for ((id, row), found) in ids.iter().zip(rows).zip(found) {
        assert_eq!(found.then_some(row as u32), model.get(id).copied(), "id {id}");
    }
}

#[test]
fn any_ids_are_found_replaced_and_deleted_under_snapshots_compactions_and_openings() {
    const AMONG: u64 = 9_000;
    for kind in [IdKind::Numbers, IdKind::Names] {
        let folder = tempfile::tempdir().unwrap();
        let shape = Shape { dim: 1, element: ElementKind::F32, ids: kind };
        let mut store = VectorStore::create(folder.path().join("s"), &StoreOptions::new(shape)).unwrap();
        let (mut model, mut state) = (HashMap::new(), 7);
        let mut snapshots = Vec::new();
        for version in 1..20_u32 {
            let mut ids: Vec<u64> = (0..random(&mut state) % 3000).map(|_| random(&mut state) % AMONG).collect();
            ids.sort_unstable();
            ids.dedup();
            if version == 1 {
                // Nine runs, of which the rest makes what it makes.
                ids = (0..AMONG).filter(|id| id % 1000 != 999).collect();
            }
            if version > 1 && random(&mut state).is_multiple_of(2) {
                ids.reverse();
            }
            if version % 3 == 0 {
                as_ids(kind, &ids, |ids| store.delete(ids, Durability::None)).unwrap();
                model.retain(|id, _| !ids.contains(id));
            } else {
                let rows = vec![version as f32; ids.len()];
                as_ids(kind, &ids, |ids| store.write(ids, Vectors::new(&rows, 1), Durability::None)).unwrap();
                model.extend(ids.iter().map(|&id| (id, version)));
            }
            snapshots.push((store.snapshot(), model.clone()));
            if version % 7 == 0 {
                store.compact(&CompactOptions::default()).unwrap();
                for (snapshot, model) in snapshots.drain(..4) {
                    assert_holds(&snapshot, &model, AMONG);
                }
                drop(store);
                store = VectorStore::open(folder.path().join("s")).unwrap();
            }
        }
        snapshots.push((store.snapshot(), model));
        for (snapshot, model) in &snapshots {
            assert_holds(snapshot, model, AMONG);
        }
    }
}

#[test]
fn large_changes_are_whole_and_fit_their_checksums() {
    let folder = tempfile::tempdir().unwrap();
    let shape = Shape { dim: 256, element: ElementKind::F32, ids: IdKind::Numbers };
    let options = StoreOptions { segment_bytes: 3 << 20, ..StoreOptions::new(shape) };
    let store = VectorStore::create(folder.path().join("s"), &options).unwrap();
    let ids: Vec<u64> = (0..5000).collect();
    let rows: Vec<f32> = (0..5000 * 256).map(|i| i as f32).collect();
    store.write(&ids[..], Vectors::new(&rows, 256), Durability::Flush).unwrap();
    assert_eq!((store.stats().segments, store.verify().len()), (2, 0));
    drop(store);
    let store = VectorStore::open_read_only(folder.path().join("s")).unwrap();
    let (mut read, mut found) = (vec![0.0; rows.len()], vec![false; ids.len()]);
    assert_eq!(store.read(&ids[..], &mut read, &mut found).unwrap(), 5000);
    assert!(read == rows);
}
