use proptest::prelude::*;

use super::*;

fn bytes() -> impl Strategy<Value = Bytes> {
    prop::collection::vec(any::<u8>(), 0..300).prop_map(Bytes::from)
}

fn id() -> impl Strategy<Value = ParcelId> {
    (any::<u32>(), 0..1_u64 << 53)
        .prop_map(|(epoch, first)| ParcelId { epoch: EmitEpoch(epoch), first: Seq(first) })
}

fn some_parcel() -> impl Strategy<Value = Parcel> {
    let key = prop::option::of((0..1_u64 << 53).prop_map(|code| ShardKey::from_code(code).unwrap()));
    (id(), any::<u32>(), 0..=MAX_EXECUTOR_LOSSES, key, prop::collection::vec(bytes(), 0..20)).prop_map(
        |(id, attempt, executor_losses, key, bodies)| Parcel { id, attempt, executor_losses, key, bodies },
    )
}

fn parcel(parcel: &Parcel) -> Vec<u8> {
    let mut to = Vec::new();
    put_version(&mut to, parcel.key);
    put_parcel(&mut to, parcel.id, parcel.attempt, parcel.executor_losses, &parcel.bodies);
    to
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        (any::<u32>(), ".{0,20}", bytes()).prop_map(|(code, msg, body)| Outcome::Succeeded(SubtaskResult {
            code,
            msg,
            body
        })),
        (".{0,20}", bytes()).prop_map(|(error, body)| Outcome::Failed { error, body }),
        bytes().prop_map(|body| Outcome::TimedOut { body }),
        Just(Outcome::Cancelled),
    ]
}

fn results(id: ParcelId, outcomes: &[(u64, Outcome)]) -> Bytes {
    let mut to = results_head(id);
    for (index, outcome) in outcomes {
        put_result(&mut to, *index, outcome);
    }
    to.into()
}

proptest! {
    #[test]
    fn parcels_are_read_as_written(each in some_parcel()) {
        let written = Bytes::from(parcel(&each));
        prop_assert_eq!(read_parcel(written), Ok(each.clone()));
        let shipped = Shipment { task: TaskId(each.id.first.0), run: RunEpoch(each.attempt), parcel: each };
        prop_assert_eq!(read_shipment(shipment(&shipped).into()), Ok(shipped.clone()));
        prop_assert_eq!(read_shipment_name(&shipment_name(&shipped.id())), Ok(shipped.id()));
        prop_assert_eq!(read_parcel_name(&parcel_name(shipped.parcel.id)), Ok(shipped.parcel.id));
    }

    #[test]
    fn results_are_read_as_written(id in id(), outcomes in prop::collection::vec((0..1000_u64, outcome()), 0..20)) {
        let read = read_results(results(id, &outcomes)).unwrap();
        prop_assert_eq!(read.epoch, id.epoch);
        let expected: Vec<_> =
            outcomes.into_iter().map(|(index, outcome)| (id.first.plus(index), outcome)).collect();
        prop_assert_eq!(read.results, expected);
    }

    #[test]
    fn what_is_cut_or_foreign_is_an_error_and_no_panic(each in some_parcel(), cut in any::<prop::sample::Index>(), noise in bytes()) {
        let written = Bytes::from(parcel(&each));
        prop_assert!(read_parcel(written.slice(..cut.index(written.len()))).is_err());
        let mut longer = written.to_vec();
        longer.push(0);
        prop_assert!(read_parcel(longer.into()).is_err());
        drop((read_parcel(noise.clone()), read_results(noise.clone()), read_shipment(noise)));
    }
}

#[test]
fn a_newer_format_is_refused_by_its_number() {
    for read in [
        read_parcel(Bytes::from_static(&[3, 0, 0, 0, 0])).err(),
        read_results(Bytes::from_static(&[3, 0, 0])).err(),
        read_shipment(Bytes::from_static(&[3])).err(),
        read_spec(br#"{"format":3,"quite":"different"}"#).err(),
    ] {
        assert_eq!(read, Some(Unreadable::Newer(3)));
    }
    assert_eq!(read_parcel(Bytes::new()).err(), Some(Unreadable::Corrupt));
    assert_eq!(read_parcel(Bytes::from_static(&[0])).err(), Some(Unreadable::Corrupt));
}

/// Records of earlier versions stay readable: these bytes are never to be changed, only added to.
#[test]
fn the_first_format_is_read() {
    let read = read_parcel(Bytes::from_static(&[1, 7, 0xac, 2, 26, 2, 1, b'a', 2, b'b', b'c'])).unwrap();
    let id = ParcelId { epoch: EmitEpoch(7), first: Seq(300) };
    let bodies = vec![Bytes::from_static(b"a"), Bytes::from_static(b"bc")];
    assert_eq!(read, Parcel { id, attempt: 3, executor_losses: 2, key: None, bodies: bodies.clone() });

    let shipment = Bytes::from_static(&[1, 5, 6, 7, 0xac, 2, 26, 2, 1, b'a', 2, b'b', b'c']);
    let parcel = Parcel { id, attempt: 3, executor_losses: 2, key: None, bodies };
    assert_eq!(read_shipment(shipment), Ok(Shipment { task: TaskId(5), run: RunEpoch(6), parcel }));

    let results =
        [1, 7, 9, 0, b's', 0, 0, 1, b'r', 1, b'f', 2, b'n', b'o', 1, b'x', 2, b't', 1, b'y', 3, b'c'];
    let read = read_results(Bytes::copy_from_slice(&results)).unwrap();
    assert_eq!(read.epoch, EmitEpoch(7));
    let kinds: Vec<_> =
        read.results.iter().map(|(seq, outcome)| (seq.0, std::mem::discriminant(outcome))).collect();
    let body = Bytes::from_static(b"x");
    let outcomes = [
        Outcome::Succeeded(SubtaskResult::new(body.clone())),
        Outcome::Failed { error: String::new(), body: body.clone() },
        Outcome::TimedOut { body },
        Outcome::Cancelled,
    ];
    let expected: Vec<_> = (9..).zip(outcomes.iter().map(std::mem::discriminant)).collect();
    assert_eq!(kinds, expected);

    // Before descriptions had a format.
    let param = serde_json::to_string(&dtf_model::TaskParam::default()).unwrap();
    let spec = read_spec(format!(r#"{{"id":5,"run":6,"task_type":1,"param":{param}}}"#).as_bytes()).unwrap();
    assert_eq!((spec.id, spec.run), (TaskId(5), RunEpoch(6)));
    assert_eq!(read_spec(&super::spec(&spec).unwrap()), Ok(spec));
}

#[test]
fn a_specification_says_what_differs_from_the_defaults() {
    let of = |param: TaskParam| TaskSpec {
        id: TaskId(5),
        request: uuid::Uuid::from_u128(9),
        run: RunEpoch(6),
        task_type: TaskTypeId(1),
        param: Arc::new(param),
    };
    let plain = super::spec(&of(TaskParam::default())).unwrap();
    assert_eq!(plain, br#"{"format":1,"id":5,"request":"00000000-0000-0000-0000-000000000009","run":6,"task_type":1,"param":{}}"#);
    let param = TaskParam {
        name: "n".to_owned(),
        start_at: Some(7),
        type_version: 3,
        type_param: serde_json::json!({"count": 1}),
        ..TaskParam::default()
    };
    for spec in [of(TaskParam::default()), of(param)] {
        assert_eq!(read_spec(&super::spec(&spec).unwrap()), Ok(spec));
    }
}

/// The format of parcels and shipments with a key, likewise.
#[test]
fn the_format_with_keys_is_read() {
    let key = ShardKey::from_code(300);
    let id = ParcelId { epoch: EmitEpoch(7), first: Seq(9) };
    let parcel = Parcel { id, attempt: 3, executor_losses: 2, key, bodies: vec![Bytes::from_static(b"a")] };
    let read = read_parcel(Bytes::from_static(&[2, 0xac, 2, 7, 9, 26, 1, 1, b'a']));
    assert_eq!(read, Ok(parcel.clone()));
    let read = read_shipment(Bytes::from_static(&[2, 0xac, 2, 5, 6, 7, 9, 26, 1, 1, b'a']));
    assert_eq!(read, Ok(Shipment { task: TaskId(5), run: RunEpoch(6), parcel }));
    let too_high = [2, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 7, 9, 26, 0];
    assert_eq!(read_parcel(Bytes::copy_from_slice(&too_high)), Err(Unreadable::Corrupt));
}

/// Without a key a parcel is as large as it was before there were keys.
#[test]
fn what_has_no_key_takes_no_room_for_it() {
    let id = ParcelId { epoch: EmitEpoch(7), first: Seq(9) };
    let bodies = [Bytes::from_static(b"a")];
    assert_eq!(new_parcel(id, None, &bodies), [1, 7, 9, 0, 1, 1, b'a']);
    assert_eq!(new_parcel(id, ShardKey::from_code(300), &bodies), [2, 0xac, 2, 7, 9, 0, 1, 1, b'a']);
}

#[test]
fn numbers_end_at_their_width() {
    let read = |bytes: &[u8]| Reader(Bytes::copy_from_slice(bytes)).number();
    for number in [0, 127, 128, u64::from(u32::MAX), (1 << 53) - 1, u64::MAX] {
        let mut to = Vec::new();
        put_number(&mut to, number);
        assert_eq!(read(&to), Ok(number));
    }
    assert_eq!(read(&[0xff; 11]), Err(Unreadable::Corrupt));
    assert_eq!(read(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2]), Err(Unreadable::Corrupt));
    assert_eq!(read(&[0x80]), Err(Unreadable::Corrupt));
}

#[test]
fn a_subtask_alone_costs_few_bytes() {
    let id = ParcelId { epoch: EmitEpoch(u32::MAX), first: Seq(10_000_000) };
    assert!(new_parcel(id, None, &[Bytes::from(vec![0; 64])]).len() <= 64 + 14);
}
