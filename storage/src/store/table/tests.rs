//! Ids are found, whatever leads to them.

use super::*;

/// The slots of keys.
fn found(table: &Table<u64>, keys: &[u64]) -> Vec<Option<u32>> {
    let mut out = Vec::new();
    table.find::<u64, _>(keys, |found| out.push(found));
    assert!(out.iter().flatten().all(|(slot, place)| *place == table.place(*slot)));
    out.into_iter().map(|found| found.map(|(slot, _)| slot)).collect()
}

fn learn(table: &mut Table<u64>, slots: &[u32], keys: &[u64]) {
    let places = slots.iter().map(|slot| Place { segment: 1, row: slot + 10 });
    table.learn(slots, keys, places, &mut TableSpare::default()).unwrap();
}

#[test]
fn numbers_are_found_where_their_runs_say_and_elsewhere() {
    let (mut table, mut spare) = (Table::new(), TableSpare::default());
    let all: Vec<u32> = (0..100).collect();
    learn(&mut table, &all, &(0..100).collect::<Vec<_>>());
    assert!(table.in_run(&99).is_some());
    table.forget(0, &mut spare);
    table.forget(3, &mut spare);
    assert_eq!(found(&table, &[99, 0, 2, 3, 100, 4]), [Some(99), None, Some(2), None, None, Some(4)]);
    // Each in the slot of the other.
    learn(&mut table, &[0, 3], &[3, 0]);
    assert_eq!(found(&table, &[0, 1, 3]), [Some(3), Some(1), Some(0)]);
    table.put(1, Place { segment: 2, row: 1 }, &mut spare);
    assert_eq!((found(&table, &[1]), table.in_run(&1)), (vec![Some(1)], None));
    let mut copy = Table::new();
    copy.copy_from(&table);
    table.give_up(&mut spare);
    assert_eq!((table.in_run(&4), found(&copy, &[4, 3])), (None, vec![Some(4), Some(0)]));
}

#[test]
fn an_id_has_one_slot_whether_a_run_or_its_hash_leads_there() {
    let (mut table, mut spare) = (Table::new(), TableSpare::default());
    learn(&mut table, &(0..100).collect::<Vec<_>>(), &(0..100).collect::<Vec<_>>());
    assert_eq!(table.slots.memory(), LinearHash::new().memory(), "a run leads to all");
    let again = |table: &Table<u64>, slot: u32, key| {
        table.clone().learn(&[slot], &[key], [Place::default()].into_iter(), &mut TableSpare::default())
    };
    assert_eq!(again(&table, 100, 5), Err("id 5 for slot 100, which slot 5 has".to_owned()));
    table.forget(5, &mut spare);
    learn(&mut table, &[100], &[5]);
    assert_eq!(again(&table, 5, 5), Err("id 5 for slot 5, which slot 100 has".to_owned()));
    assert_eq!(again(&table, 101, 5), Err("id 5 for slot 101, which slot 100 has".to_owned()));
    assert_eq!(found(&table, &[5]), [Some(100)]);
    table.forget(100, &mut spare);
    learn(&mut table, &[5, 100], &[5, 200]);
    assert_eq!(found(&table, &[5, 200, 4]), [Some(5), Some(100), Some(4)]);
}

#[test]
fn a_run_that_goes_on_past_an_id_of_its_own_takes_nothing_from_it() {
    let (mut table, mut spare) = (Table::new(), TableSpare::default());
    learn(&mut table, &(0..100).collect::<Vec<_>>(), &(0..100).collect::<Vec<_>>());
    let elsewhere = [Place { segment: 2, row: 7 }].into_iter();
    table.learn(&[100], &[100], elsewhere, &mut spare).unwrap();
    learn(&mut table, &[101, 102], &[101, 102]);
    assert!(table.in_run(&102).is_some() && table.in_run(&100).is_none());
    assert_eq!(found(&table, &[100, 102]), [Some(100), Some(102)]);
    assert_eq!(found(&table, &[100]), [Some(100)]);
    table.forget(100, &mut spare);
    assert_eq!(found(&table, &[100, 102, 100]), [None, Some(102), None]);
    learn(&mut table, &[100], &[100]);
    assert!(table.in_run(&100).is_some());
}
