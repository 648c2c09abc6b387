//! Written PMU trees, error classes, and the system call itself on a software event.

use super::*;
use crate::energy::{Domain, Meter};
use std::fs;

struct Pmu(tempfile::TempDir);

impl Pmu {
    fn new(kind: u32, cpumask: &str) -> Self {
        let pmu = Self(tempfile::tempdir().expect("a temporary directory"));
        pmu.write("type", &kind.to_string()).write("cpumask", cpumask);
        pmu
    }

    fn write(&self, name: &str, text: &str) -> &Self {
        let path = self.0.path().join("bus/event_source/devices/power").join(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("the PMU's directory");
        fs::write(path, format!("{text}\n")).expect("a PMU file");
        self
    }

    fn event(&self, name: &str, config: &str, scale: &str) -> &Self {
        self.write(&format!("events/{name}"), config)
            .write(&format!("events/{name}.scale"), scale)
            .write(&format!("events/{name}.unit"), "Joules")
    }

    fn socket(&self, cpu: u32, socket: u32) -> &Self {
        let dir = self.0.path().join(format!("devices/system/cpu/cpu{cpu}/topology"));
        fs::create_dir_all(&dir).expect("topology");
        fs::write(dir.join("physical_package_id"), format!("{socket}\n")).expect("a socket");
        self
    }
}

const SCALE: &str = "2.3283064365386962890625e-10";

#[test]
fn a_server_with_two_sockets() {
    // As a two-socket Xeon shows it (names, configs and scale from arch/x86/events/rapl.c).
    let pmu = Pmu::new(32, "0,18");
    pmu.event("energy-pkg", "event=0x02", SCALE)
        .event("energy-ram", "event=0x03", SCALE)
        .event("energy-psys", "event=0x05", SCALE)
        .write("events/energy-odd", "event=0x09")
        .socket(0, 0)
        .socket(18, 1);
    let events = events::discover(pmu.0.path()).expect("events");
    let meters: Vec<_> = events.iter().map(|e| (e.meter.domain, e.meter.socket, e.cpu, e.config)).collect();
    let expected = [
        (Domain::Package, 0, 0, 2),
        (Domain::Package, 1, 18, 2),
        (Domain::Dram, 0, 0, 3),
        (Domain::Dram, 1, 18, 3),
        (Domain::Psys, 0, 0, 5),
    ];
    assert_eq!(meters, expected);
    assert!(events.iter().all(|event| event.kind == 32 && event.joules == 2f64.powi(-32)));
}

#[test]
fn events_in_other_units_or_without_scale_are_left_out() {
    let pmu = Pmu::new(32, "0");
    pmu.event("energy-pkg", "event=0x02", "tea").event("energy-ram", "event=0x03", SCALE);
    pmu.write("events/energy-ram.unit", "mWh");
    assert_eq!(events::discover(pmu.0.path()).expect_err("nothing usable").kind, "absent");
}

#[test]
fn a_host_without_the_pmu_says_what_to_load() {
    let empty = tempfile::tempdir().expect("a temporary directory");
    let error = PerfPower::open(empty.path()).expect_err("nothing there");
    assert!(error.kind == "absent" && error.remedy.contains("modprobe rapl"), "{error}");
}

#[test]
fn every_refusal_has_its_remedy() {
    let meter = Meter { domain: Domain::Package, socket: 0 };
    let event = Event { name: "energy-pkg".into(), meter, kind: 32, config: 2, cpu: 0, joules: 1.0 };
    #[track_caller]
    fn check(event: &Event, errno: i32, kind: &str, remedy: &str) {
        let error = open_error(event, &io::Error::from_raw_os_error(errno));
        assert_eq!(error.kind, kind);
        assert!(error.remedy.contains(remedy) && error.what.contains("energy-pkg"), "{error}");
    }
    check(&event, libc::EACCES, "unreadable", "CAP_PERFMON");
    check(&event, libc::EPERM, "unreadable", "perf_event_paranoid");
    check(&event, libc::ENOENT, "absent", "--energy");
    check(&event, libc::ENOSYS, "absent", "no perf events");
    check(&event, libc::EMFILE, "unreadable", "LimitNOFILE");
    check(&event, libc::EINVAL, "unreadable", "report");
}

#[test]
fn the_system_call_works_on_a_software_event() {
    // PERF_TYPE_SOFTWARE, PERF_COUNT_SW_CPU_CLOCK: nanoseconds on cpu 0. With 1e-9 J a count that is a 1 W meter.
    let pmu = Pmu::new(1, "0");
    pmu.event("energy-pkg", "event=0x0", "1e-9");
    let mut source = match PerfPower::open(pmu.0.path()) {
        Ok(source) => source,
        Err(error) if error.kind == "unreadable" => {
            eprintln!("perf events are not ours to open: {error}; nothing tried");
            return;
        }
        Err(error) => panic!("{error}"),
    };
    source.latch();
    assert!(source.resolve(&HostLoad::default()).deltas.is_empty());
    std::thread::sleep(std::time::Duration::from_millis(100));
    source.latch();
    let sample = source.resolve(&HostLoad::default());
    assert_eq!(sample.faults, []);
    let delta = sample.deltas[0];
    let microseconds = (delta.end.0 - delta.begin.0) / 1000;
    assert!(delta.energy.0.abs_diff(microseconds) < microseconds / 20 + 1000, "{delta:?}");
    assert_eq!(source.method(), "rapl-perf");
    assert!(source.describe().contains("energy-pkg on cpu 0"));
}
