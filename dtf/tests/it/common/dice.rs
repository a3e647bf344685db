//! Random numbers that follow from a seed, and whoever names it where a run fails.

use std::sync::{Arc, Mutex};

/// Random numbers (SplitMix64).
#[derive(Clone)]
pub(crate) struct Dice(Arc<Mutex<u64>>);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(seed)))
    }

    pub(crate) fn below(&self, most: u64) -> u64 {
        let mut state = self.0.lock().expect("no test panics with it");
        *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % most
    }
}

/// Says which seed it was, where a run fails.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("failed with DTF_SEED={}", self.0);
        }
    }
}

/// Runs each of these seeds on a paused runtime of its own; or, where `DTF_SEED` names one, that one alone.
pub(crate) fn run_seeds<F: Future<Output = ()>>(seeds: u64, run: impl Fn(u64) -> F) {
    let one = std::env::var("DTF_SEED").ok().map(|seed| seed.parse().expect("DTF_SEED is a number"));
    for seed in one.map_or(0..seeds, |seed: u64| seed..seed + 1) {
        let _seed = Seed(seed);
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().start_paused(true).build().expect("a runtime");
        runtime.block_on(run(seed));
    }
}
