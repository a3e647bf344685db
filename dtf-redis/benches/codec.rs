//! Parcels and results as bytes: `cargo bench -p dtf-redis --bench codec`.

#![allow(clippy::unwrap_used, missing_docs, dead_code, reason = "a part of the crate stands here for itself")]

#[path = "../src/codec/mod.rs"]
mod codec;

use std::hint::black_box;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use dtf_model::plugin::SubtaskResult;
use dtf_model::queue::{Outcome, ParcelId};
use dtf_model::{EmitEpoch, Seq};

const SUBTASKS: usize = 100;

fn parcels(criterion: &mut Criterion) {
    let id = ParcelId { epoch: EmitEpoch(7), first: Seq(123_456_789) };
    let bodies: Vec<_> = (0..SUBTASKS).map(|body| Bytes::from(vec![body as u8; 64])).collect();
    let mut group = criterion.benchmark_group("parcels of 100 bodies of 64 bytes");
    group.throughput(Throughput::Elements(SUBTASKS as u64));
    group.bench_function("written", |bencher| {
        bencher.iter(|| codec::new_parcel(id, None, black_box(&bodies)))
    });
    let written = Bytes::from(codec::new_parcel(id, None, &bodies));
    group.bench_function("read", |bencher| {
        bencher.iter(|| codec::read_parcel(black_box(written.clone())).unwrap());
    });
    let outcome = Outcome::Succeeded(SubtaskResult::new(vec![0; 8]));
    let results = || {
        let mut to = codec::results_head(id);
        (0..SUBTASKS as u64).for_each(|index| codec::put_result(&mut to, index, black_box(&outcome)));
        to
    };
    group.bench_function("results written", |bencher| bencher.iter(results));
    let written = Bytes::from(results());
    group.bench_function("results read", |bencher| {
        bencher.iter(|| codec::read_results(black_box(written.clone())).unwrap());
    });
    group.finish();
}

criterion_group!(codec_of_parcels, parcels);
criterion_main!(codec_of_parcels);
