//! Any bytes as a document of any schema: an error, or a document that has these bytes and no others, and the JSON form of which
//! says the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nearlab_fuzz::metadata::read_schema;
use nearlab_storage::metadata::{Document, decode, encode};

fuzz_target!(|input: &[u8]| {
    let Some((schema, bytes)) = read_schema(input) else { return };
    let Ok(document) = decode(&schema, bytes) else { return };
    assert_eq!(encode(&schema, &document).as_deref(), Ok(bytes));
    let json = serde_json::from_str(&document.to_json().to_string()).expect("the text of JSON");
    let read = Document::from_json(&schema, &json).expect("the JSON of a document");
    assert_eq!(encode(&schema, &read).as_deref(), Ok(bytes));
});
