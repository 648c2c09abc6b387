use super::*;
use crate::carbon::{SavedSci, Sci};
use crate::energy::{CounterReading, Domain, Meter, Readings, baseline, counter::MicroWatts};
use crate::ledger::{self, SavedComponent, SavedMeter};
use crate::period;
use crate::snapshot::{StageStatus, Usage};
use crate::units::{Emissions, MicroJoules, Nanos};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use uuid::Uuid;

/// The end of an interval at 12:00 and so many seconds.
pub fn checkpoint(second: u64) -> Checkpoint {
    let wall = format!("2026-03-01T12:00:{second:02}Z").parse().expect("a time");
    let meter = Meter { domain: Domain::Package, socket: 0 };
    let used = Usage { emissions: Emissions(u128::MAX / 3), ..Usage::default() };
    Checkpoint {
        end: Moment { wall, boottime: Nanos(second) },
        boot_id: Some("a boot".to_owned()),
        run: Run { id: Uuid::from_u128(7), ended: false },
        period: period::Saved { kind: "day".to_owned(), start: "2026-03-01T00:00:00Z".parse().expect("a time") },
        books: ledger::Saved {
            components: vec![SavedComponent {
                component: "é \"quoted\"".to_owned(),
                run: used,
                lifetime: used,
                period: used.emissions,
            }],
            meters: vec![SavedMeter { meter, lifetime: MicroJoules(u64::MAX) }],
            run: Nanos(5),
            amortised: Nanos(6),
        },
        sci: vec![SavedSci {
            component: "web".to_owned(),
            functional_unit: "request".to_owned(),
            lifetime: Sci { units: 0.1 + 0.2, ..Sci::default() },
        }],
        baseline: baseline::Saved::default(),
        readings: Some(Readings {
            source: "rapl-powercap /sys/class/powercap".to_owned(),
            carried: Vec::new(),
            counters: vec![CounterReading {
                id: "intel-rapl:0".to_owned(),
                meter,
                value: MicroJoules(3),
                at: Nanos(4),
                peak: MicroWatts(5),
            }],
        }),
        rows: Some(PendingRows { output_dir: "/var/log/carbon".into(), timestamp: wall, lines: "{}\n".to_owned() }),
    }
}

/// Writes checkpoints of these seconds and leaves.
fn written(dir: &Path, seconds: &[u64]) {
    let (mut store, _) = Store::open(dir);
    for second in seconds {
        store.write(&checkpoint(*second));
    }
    assert_eq!(store.stage().status, StageStatus::Ok, "{:?}", store.stage());
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn what_was_written_is_read() {
    let dir = tempfile::tempdir().unwrap();
    written(&dir.path().join("made"), &[1, 2, 3]);
    let (store, found) = Store::open(&dir.path().join("made"));
    assert_eq!(found, Some(checkpoint(3)));
    assert_eq!(store.stage().status, StageStatus::Ok);
    assert_eq!(names(store.dir()), ["lock", "state.json", "state.json.previous"]);
    let mode = fs::metadata(store.dir().join("state.json")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777 & !0o640, 0, "private by default");
}

#[test]
fn a_first_start_has_nothing_to_say() {
    let dir = tempfile::tempdir().unwrap();
    let (store, found) = Store::open(dir.path());
    assert_eq!((found, store.stage().status, store.errors().len()), (None, StageStatus::Ok, 0));
}

/// Spoils the newest of two checkpoints; the older one must serve, and the spoilt one be kept under another name.
fn check_spoilt(spoil: impl Fn(&mut Vec<u8>), kind: &str) {
    let dir = tempfile::tempdir().unwrap();
    written(dir.path(), &[1, 2]);
    let path = dir.path().join("state.json");
    let mut bytes = fs::read(&path).unwrap();
    spoil(&mut bytes);
    fs::write(&path, &bytes).unwrap();
    let (mut store, found) = Store::open(dir.path());
    assert_eq!(found, Some(checkpoint(1)), "{kind}");
    let stage = store.stage();
    assert_eq!(stage.status, StageStatus::Degraded);
    assert!(stage.reason.contains(&format!("state.json.{kind}-")) && stage.reason.contains("before it"), "{stage:?}");
    assert_eq!(store.errors()[0].1, kind);
    let aside = names(dir.path()).into_iter().find(|name| name.contains(kind)).expect("it was set aside");
    assert_eq!(fs::read(dir.path().join(aside)).unwrap(), bytes, "evidence is kept as it was");
    store.write(&checkpoint(3));
    drop(store);
    assert_eq!(Store::open(dir.path()).1, Some(checkpoint(3)));
}

#[test]
fn a_damaged_checkpoint_gives_way_to_the_one_before() {
    check_spoilt(Vec::clear, "damaged");
    check_spoilt(|bytes| bytes.truncate(bytes.len() / 2), "damaged");
    check_spoilt(|bytes| *bytes = vec![0; 4096], "damaged");
    check_spoilt(
        |bytes| {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
        },
        "damaged",
    );
    check_spoilt(|bytes| bytes[19] = b'9', "version");
}

#[test]
fn every_flipped_byte_is_found_out() {
    let good = super::format::encode(&checkpoint(1));
    // The newline after the body is no part of it.
    for place in 0..good.len() - 1 {
        let mut bytes = good.clone();
        bytes[place] ^= 0x10;
        assert!(super::format::decode(&bytes).is_err(), "byte {place}");
    }
}

#[test]
fn both_damaged_is_a_beginning_at_zero_and_said() {
    let dir = tempfile::tempdir().unwrap();
    written(dir.path(), &[1, 2]);
    fs::write(dir.path().join("state.json"), "x").unwrap();
    fs::write(dir.path().join("state.json.previous"), "x").unwrap();
    let (store, found) = Store::open(dir.path());
    assert_eq!(found, None);
    assert!(store.stage().reason.contains("counters begin at zero"), "{:?}", store.stage());
}

#[test]
fn a_kill_between_the_two_renames_loses_nothing_that_was_published() {
    let dir = tempfile::tempdir().unwrap();
    written(dir.path(), &[1, 2]);
    fs::rename(dir.path().join("state.json"), dir.path().join("state.json.previous")).unwrap();
    let (store, found) = Store::open(dir.path());
    assert_eq!((found, store.stage().status), (Some(checkpoint(2)), StageStatus::Ok));
}

#[test]
fn two_daemons_do_not_share_their_counters() {
    let dir = tempfile::tempdir().unwrap();
    let (mut first, _) = Store::open(dir.path());
    first.write(&checkpoint(1));
    let (mut second, found) = Store::open(dir.path());
    assert_eq!(found, None);
    second.write(&checkpoint(9));
    assert!(second.stage().reason.contains("another agent"), "{:?}", second.stage());
    assert_eq!(peek(dir.path()), Some(checkpoint(1)));
    drop(first);
    // Its time has come, and what the first had counted is kept.
    second.write(&checkpoint(9));
    assert_eq!(second.stage().status, StageStatus::Ok);
    assert_eq!(peek(dir.path()), Some(checkpoint(9)));
    assert!(names(dir.path()).iter().any(|name| name.contains("unused")), "{:?}", names(dir.path()));
}

#[test]
fn a_directory_that_cannot_be_used_shows_and_heals() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("state");
    fs::write(&place, "a file").unwrap();
    let (mut store, found) = Store::open(&place);
    store.write(&checkpoint(1));
    assert_eq!((found, store.stage().status), (None, StageStatus::Degraded));
    assert!(store.stage().reason.contains("do not survive a restart"), "{:?}", store.stage());
    fs::remove_file(&place).unwrap();
    store.write(&checkpoint(2));
    assert_eq!(store.stage().status, StageStatus::Ok);
    fs::remove_dir_all(&place).unwrap();
    store.write(&checkpoint(3));
    assert_eq!((store.stage().status, peek(&place)), (StageStatus::Ok, Some(checkpoint(3))));
}

#[test]
fn this_boot_has_a_name() {
    assert!(boot_id(Path::new("/proc")).is_some());
    assert_eq!(boot_id(Path::new("/nowhere")), None);
}
