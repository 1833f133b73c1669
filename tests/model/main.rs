//! The rules against a naive list of lifecycle events, in virtual log time.
//!
//! Scripts of entries, some of them repeated, late or out of order, are judged by
//! `domain::Account` and by [`naive::Facts`], which never forgets, never sweeps and looks at all of
//! its past for every question. Two accounts judge each script: one is swept at moments of the
//! script's choosing, the other never, and both must give equal answers.

mod naive;
mod run;
mod script;

use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

#[test]
fn an_account_answers_as_a_list_of_everything_that_happened() {
    let given = std::env::var("STREAMWATCH_SEED").ok();
    let seed: u64 = given.map_or_else(random, |s| s.parse().expect("STREAMWATCH_SEED: a number"));
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let config = Config {
        failure_persistence: None,
        ..Config::default() // PROPTEST_CASES asks for more
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
