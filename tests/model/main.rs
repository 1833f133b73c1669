//! A comparison of the rules with a naive model, in virtual log time.
//!
//! Scripts of entries, some of them repeated, late or out of order, are applied to two
//! `domain::Account`s and to a [`naive::History`], which keeps every event and reads all of them
//! for every query. Records are removed from one account at moments in the script, and never from
//! the other. All three must give equal answers.

mod naive;
mod run;
mod script;
mod weigh;

use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

#[test]
fn an_account_gives_the_same_answers_as_a_list_of_all_events() {
    let given = std::env::var("STREAMWATCH_SEED").ok();
    let seed: u64 = given.map_or_else(random, |s| s.parse().expect("STREAMWATCH_SEED: a number"));
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let config = Config {
        failure_persistence: None,
        ..Config::default() // PROPTEST_CASES overrides it
    };
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let outcome = TestRunner::new_with_rng(config, rng).run(&script::scripts(), |script| {
        run::run(&script);
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{error}\nto see it again: STREAMWATCH_SEED={seed} cargo test --test model");
    }
}

fn random() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::hash::RandomState::new().build_hasher().finish()
}
