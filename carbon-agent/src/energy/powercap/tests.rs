//! Written trees: what is found, what is counted, what happens when zones come and go.

use super::*;
use crate::energy::Meter;
use std::fs;

/// A powercap tree on disk. Zones are given by their path below the root.
struct Tree(tempfile::TempDir);

const RANGE: u64 = 262_143_328_850;

impl Tree {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary directory"))
    }

    fn root(&self) -> &Path {
        self.0.path()
    }

    fn zone(&self, path: &str, name: &str, value: u64) -> &Self {
        let dir = self.root().join(path);
        fs::create_dir_all(&dir).expect("a zone directory");
        fs::write(dir.join("name"), format!("{name}\n")).expect("a name");
        fs::write(dir.join("max_energy_range_uj"), format!("{RANGE}\n")).expect("a range");
        self.set(path, value)
    }

    fn set(&self, path: &str, value: u64) -> &Self {
        fs::write(self.root().join(path).join("energy_uj"), format!("{value}\n")).expect("a counter");
        self
    }

    fn open(&self) -> Powercap {
        Powercap::open(self.root()).expect("a tree with zones")
    }
}

/// One sample: the energy of each meter and the kinds of the faults.
fn sample(source: &mut Powercap) -> (Vec<(Domain, u32, u64)>, Vec<&'static str>) {
    source.latch();
    let sample = source.resolve(&HostLoad::default());
    let deltas = sample.deltas.iter().map(|delta| {
        assert!(delta.begin <= delta.end);
        (delta.meter.domain, delta.meter.socket, delta.energy.0)
    });
    (deltas.collect(), sample.faults.iter().map(|fault| fault.kind).collect())
}

#[test]
fn the_kernels_nested_tree_with_flat_links_counts_each_zone_once() {
    let tree = Tree::new();
    let devices = "devices/intel-rapl";
    tree.zone(&format!("{devices}/intel-rapl:0"), "package-0", 100)
        .zone(&format!("{devices}/intel-rapl:0/intel-rapl:0:0"), "core", 10)
        .zone(&format!("{devices}/intel-rapl:0/intel-rapl:0:1"), "dram", 20)
        .zone(&format!("{devices}/intel-rapl:1"), "psys", 500);
    let class = tree.root().join("class");
    fs::create_dir(&class).expect("class");
    for link in ["", "intel-rapl:0", "intel-rapl:0/intel-rapl:0:0", "intel-rapl:0/intel-rapl:0:1", "intel-rapl:1"] {
        let target = tree.root().join(devices).join(link);
        let name = link.rsplit('/').next().filter(|name| !name.is_empty()).unwrap_or("intel-rapl");
        std::os::unix::fs::symlink(target, class.join(name)).expect("a link");
    }
    let mut source = Powercap::open(&class).expect("zones");
    assert_eq!(sample(&mut source), (vec![], vec![]));
    tree.set(&format!("{devices}/intel-rapl:0"), 1100)
        .set(&format!("{devices}/intel-rapl:0/intel-rapl:0:1"), 220)
        .set(&format!("{devices}/intel-rapl:1"), 5500);
    let expected =
        vec![(Domain::Package, 0, 1000), (Domain::Core, 0, 0), (Domain::Dram, 0, 200), (Domain::Psys, 0, 5000)];
    assert_eq!(sample(&mut source), (expected, vec![]));
    assert_eq!(source.method(), "rapl-powercap");
    assert!(source.describe().ends_with("package-0, package-0/core, package-0/dram, psys"));
}

#[test]
fn dies_of_a_socket_add_up_and_sockets_stay_apart() {
    let tree = Tree::new();
    tree.zone("intel-rapl:0", "package-0-die-0", 1).zone("intel-rapl:1", "package-0-die-1", 2).zone(
        "intel-rapl:2",
        "package-1-die-0",
        3,
    );
    let mut source = tree.open();
    sample(&mut source);
    tree.set("intel-rapl:0", 101).set("intel-rapl:1", 22).set("intel-rapl:2", 8);
    assert_eq!(sample(&mut source).0, [(Domain::Package, 0, 120), (Domain::Package, 1, 5)]);
}

#[test]
fn dies_that_show_one_counter_count_once() {
    let tree = Tree::new();
    tree.zone("intel-rapl:0", "package-0-die-0", 777).zone("intel-rapl:1", "package-0-die-1", 777);
    let mut source = tree.open();
    sample(&mut source);
    tree.set("intel-rapl:0", 877).set("intel-rapl:1", 877);
    assert_eq!(sample(&mut source).0, [(Domain::Package, 0, 100)]);
    // A scan that catches the two on either side of an update does not make two counters of them.
    tree.set("intel-rapl:1", 878);
    source.scan().expect("the tree");
    tree.set("intel-rapl:0", 977).set("intel-rapl:1", 977);
    assert_eq!(sample(&mut source).0, [(Domain::Package, 0, 100)]);
}

#[test]
fn the_mmio_mirror_counts_only_where_the_msr_zone_is_missing() {
    let tree = Tree::new();
    tree.zone("intel-rapl:0", "package-0", 5).zone("intel-rapl-mmio:0", "package-0", 9).zone(
        "intel-rapl-mmio:0/intel-rapl-mmio:0:0",
        "dram",
        9,
    );
    let mut source = tree.open();
    sample(&mut source);
    tree.set("intel-rapl:0", 15).set("intel-rapl-mmio:0", 19).set("intel-rapl-mmio:0/intel-rapl-mmio:0:0", 12);
    assert_eq!(sample(&mut source).0, [(Domain::Package, 0, 10), (Domain::Dram, 0, 3)]);
}

#[test]
fn a_hypervisors_share_may_hold_nothing_but_the_counter() {
    let tree = Tree::new();
    let dir = tree.root().join("intel-rapl:0:0");
    fs::create_dir(&dir).expect("a zone directory");
    fs::write(dir.join("energy_uj"), "1000").expect("a counter");
    let mut source = tree.open();
    sample(&mut source);
    fs::write(dir.join("energy_uj"), "1500").expect("a counter");
    assert_eq!(sample(&mut source), (vec![(Domain::Package, 0, 500)], vec![]));
}

#[test]
fn counters_wrap_at_their_range() {
    let tree = Tree::new();
    tree.zone("intel-rapl:0", "package-0", RANGE - 30);
    let mut source = tree.open();
    sample(&mut source);
    tree.set("intel-rapl:0", 12);
    assert_eq!(sample(&mut source), (vec![(Domain::Package, 0, 42)], vec![]));
}

#[test]
fn an_implausible_jump_is_a_fault_of_that_reading_only() {
    let tree = Tree::new();
    tree.zone("intel-rapl:0", "package-0", 0);
    let mut source = tree.open();
    sample(&mut source);
    tree.set("intel-rapl:0", 200_000_000_000);
    assert_eq!(sample(&mut source), (vec![(Domain::Package, 0, 0)], vec!["implausible"]));
    tree.set("intel-rapl:0", 200_000_000_007);
    assert_eq!(sample(&mut source), (vec![(Domain::Package, 0, 7)], vec![]));
}

#[test]
fn several_latches_before_a_resolve_lose_nothing() {
    let tree = Tree::new();
    tree.zone("intel-rapl:0", "package-0", 0);
    let mut source = tree.open();
    for value in [0, 5, 9] {
        tree.set("intel-rapl:0", value);
        source.latch();
    }
    assert_eq!(source.resolve(&HostLoad::default()).deltas[0].energy, MicroJoules(9));
}

#[test]
fn a_zone_that_vanishes_degrades_and_comes_back_by_itself() {
    let tree = Tree::new();
    tree.zone("intel-rapl:0", "package-0", 100).zone("intel-rapl:1", "package-1", 100);
    let mut source = tree.open();
    sample(&mut source);
    fs::remove_dir_all(tree.root().join("intel-rapl:1")).expect("removing a zone");
    tree.set("intel-rapl:0", 150);
    assert_eq!(sample(&mut source), (vec![(Domain::Package, 0, 50)], vec!["vanished"]));
    assert_eq!(sample(&mut source).1, ["vanished"]);
    // Back with another count: the first reading books nothing, the next does.
    tree.zone("intel-rapl:1", "package-1", 7_000);
    sample(&mut source);
    assert_eq!(sample(&mut source), (vec![(Domain::Package, 0, 0)], vec![]));
    tree.set("intel-rapl:1", 7_001);
    assert_eq!(sample(&mut source).0, [(Domain::Package, 0, 0), (Domain::Package, 1, 1)]);
}

#[test]
fn a_new_zone_appears_while_another_is_missing() {
    let tree = Tree::new();
    tree.zone("intel-rapl:0", "package-0", 100);
    let mut source = tree.open();
    sample(&mut source);
    fs::remove_dir_all(tree.root().join("intel-rapl:0")).expect("removing a zone");
    tree.zone("intel-rapl:4", "package-4", 1);
    sample(&mut source);
    sample(&mut source);
    tree.set("intel-rapl:4", 3);
    assert_eq!(sample(&mut source), (vec![(Domain::Package, 4, 2)], vec!["vanished"]));
}

#[test]
fn a_file_replaced_by_rename_is_followed_at_once() {
    let tree = Tree::new();
    tree.zone("intel-rapl:0", "package-0", 100);
    let mut source = tree.open();
    sample(&mut source);
    let zone = tree.root().join("intel-rapl:0");
    fs::write(zone.join("new"), "160\n").expect("a new counter");
    fs::rename(zone.join("new"), zone.join("energy_uj")).expect("a rename");
    assert_eq!(sample(&mut source), (vec![(Domain::Package, 0, 60)], vec![]));
}

#[test]
fn garbage_is_a_fault_and_the_energy_arrives_later() {
    let tree = Tree::new();
    tree.zone("intel-rapl:0", "package-0", 100);
    let mut source = tree.open();
    sample(&mut source);
    fs::write(tree.root().join("intel-rapl:0/energy_uj"), "tea\n").expect("garbage");
    assert_eq!(sample(&mut source), (vec![], vec!["garbled"]));
    tree.set("intel-rapl:0", 190);
    assert_eq!(sample(&mut source), (vec![(Domain::Package, 0, 90)], vec![]));
}

#[test]
fn no_tree_no_zone_and_no_permission_each_name_thing_and_remedy() {
    let tree = Tree::new();
    let missing = tree.root().join("nowhere");
    let error = Powercap::open(&missing).expect_err("there is nothing");
    assert_eq!(error.kind, "absent");
    assert!(error.to_string().contains("nowhere") && error.to_string().contains("modprobe intel_rapl_msr"));
    assert_eq!(Powercap::open(tree.root()).expect_err("no zone").kind, "absent");
    let denied = read_error(Path::new("/p/energy_uj"), &io::Error::from_raw_os_error(libc::EACCES));
    assert_eq!(denied.kind, "unreadable");
    assert!(denied.to_string().contains("/p/energy_uj") && denied.remedy.contains("CAP_DAC_READ_SEARCH"));
    for (errno, kind) in
        [(libc::ENODEV, "vanished"), (libc::ENOENT, "vanished"), (libc::EIO, "unreadable"), (libc::EPERM, "unreadable")]
    {
        assert_eq!(read_error(Path::new("x"), &io::Error::from_raw_os_error(errno)).kind, kind);
    }
}

#[test]
fn mode_0400_is_a_fault_until_it_is_lifted() {
    use std::os::unix::fs::PermissionsExt;
    let tree = Tree::new();
    tree.zone("intel-rapl:0", "package-0", 100).zone("intel-rapl:1", "package-1", 100);
    fs::set_permissions(tree.root(), fs::Permissions::from_mode(0o755)).expect("mode");
    let file = tree.root().join("intel-rapl:1/energy_uj");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o400)).expect("mode");
    // SAFETY: no pointers; it changes whose permissions this one thread's file accesses are checked against, and
    // takes the file capabilities away with them. Without root it does nothing.
    let own = unsafe { libc::setfsuid(65_534) } as libc::uid_t;
    let denied = File::open(&file).is_err();
    let mut source = denied.then(|| tree.open());
    let first = source.as_mut().map(sample);
    // SAFETY: as above; back to who we were.
    unsafe { libc::setfsuid(own) };
    let (Some(mut source), Some(first)) = (source, first) else {
        eprintln!("not root: cannot play another user, nothing tried");
        return;
    };
    assert_eq!(first, (vec![], vec!["unreadable"]));
    // As root again the zone is read; the scan finds it, the reading after has its base, the third counts.
    sample(&mut source);
    sample(&mut source);
    tree.set("intel-rapl:1", 130);
    assert_eq!(sample(&mut source), (vec![(Domain::Package, 0, 0), (Domain::Package, 1, 30)], vec![]));
    assert_eq!(source.readers["intel-rapl:1"].zone.meter, Meter { domain: Domain::Package, socket: 1 });
}
