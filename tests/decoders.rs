//! Checks that each decoder returns a value or a problem for any input, and never panics.
//!
//! This is a bounded run of the fuzz targets in `tests/fuzz` on the stable toolchain. Fuzzing needs
//! a nightly one. `STREAMWATCH_CORPUS=tests/fuzz/corpus` writes the initial examples.

#[path = "fuzz/bodies.rs"]
mod bodies;

use proptest::{
    collection::vec,
    prelude::*,
    sample::{Index, select},
    test_runner::{Config, FileFailurePersistence, TestRunner},
};

/// Random bytes, characters of JSON, or a valid example with some damage.
fn bytes(examples: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let json: Vec<u8> = b"{}[]\":,\\u0a1e-.tfn \n%".to_vec();
    let damage = vec((any::<Index>(), any::<u8>()), 0..6);
    let damaged = (select(examples), damage).prop_map(|(mut bytes, damage)| {
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            match byte % 3 {
                0 => bytes[at] = byte,
                1 => bytes.truncate(at.max(1)),
                _ => bytes.insert(at, byte),
            }
        }
        bytes
    });
    prop_oneof![vec(any::<u8>(), 0..200), vec(select(json), 0..300), damaged,]
}

#[test]
fn every_decoder_returns_for_any_bytes() {
    for (name, decode, examples) in bodies::targets() {
        for example in &examples {
            decode(example);
        }
        let config = Config {
            cases: 2_000,
            failure_persistence: Some(Box::new(FileFailurePersistence::Off)),
            ..Config::default() // PROPTEST_CASES overrides it
        };
        let outcome = TestRunner::new(config).run(&bytes(examples), |bytes| {
            decode(&bytes);
            Ok(())
        });
        if let Err(error) = outcome {
            panic!("{name}: {error}");
        }
    }
}

#[test]
fn a_corpus_can_be_written_down() {
    let Some(folder) = std::env::var_os("STREAMWATCH_CORPUS") else {
        return;
    };
    for (name, _, examples) in bodies::targets() {
        let folder = std::path::Path::new(&folder).join(name);
        std::fs::create_dir_all(&folder).expect("a folder");
        for (n, example) in examples.iter().enumerate() {
            std::fs::write(folder.join(n.to_string()), example).expect("a file");
        }
    }
}
