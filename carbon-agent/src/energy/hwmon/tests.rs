//! Written hwmon trees: what is recognised, what is counted.

use super::*;
use crate::energy::Meter;
use sensors::{classify, discover};

struct Tree(tempfile::TempDir);

impl Tree {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary directory"))
    }

    fn file(&self, device: u32, name: &str, text: &str) -> &Self {
        let dir = self.0.path().join(format!("class/hwmon/hwmon{device}"));
        fs::create_dir_all(&dir).expect("a device");
        fs::write(dir.join(name), format!("{text}\n")).expect("a file");
        self
    }

    fn open(&self) -> Hwmon {
        Hwmon::open(self.0.path()).expect("sensors of a processor")
    }
}

fn sample(source: &mut Hwmon) -> (Vec<(Domain, u32, u64)>, Vec<&'static str>) {
    source.latch();
    let sample = source.resolve(&HostLoad::default());
    let deltas = sample.deltas.iter().map(|d| (d.meter.domain, d.meter.socket, d.energy.0)).collect();
    (deltas, sample.faults.iter().map(|fault| fault.kind).collect())
}

#[test]
fn amd_energy_counts_sockets_and_leaves_cores_out() {
    let tree = Tree::new();
    tree.file(3, "name", "amd_energy")
        .file(3, "energy1_label", "Ecore000")
        .file(3, "energy1_input", "1")
        .file(3, "energy2_label", "Esocket0")
        .file(3, "energy2_input", "100")
        .file(3, "energy3_label", "Esocket1")
        .file(3, "energy3_input", "200");
    let mut source = tree.open();
    sample(&mut source);
    tree.file(3, "energy1_input", "50").file(3, "energy2_input", "140").file(3, "energy3_input", "205");
    assert_eq!(sample(&mut source), (vec![(Domain::Package, 0, 40), (Domain::Package, 1, 5)], vec![]));
    assert_eq!(source.method(), "hwmon");
}

#[test]
fn wattages_are_integrated_over_time() {
    let tree = Tree::new();
    tree.file(0, "name", "fam15h_power").file(0, "power1_input", "30000000");
    let mut source = tree.open();
    source.latch();
    assert!(source.resolve(&HostLoad::default()).deltas.is_empty());
    std::thread::sleep(std::time::Duration::from_millis(50));
    tree.file(0, "power1_input", "50000000");
    source.latch();
    let delta = source.resolve(&HostLoad::default()).deltas[0];
    // 40 W between the two readings.
    let expected = 40 * (delta.end.0 - delta.begin.0) / 1000;
    assert!(delta.energy.0.abs_diff(expected) <= 1, "{delta:?}");
    assert!(source.describe().contains("fam15h_power/power1 (watts × time)"));
}

#[test]
fn the_machines_meter_stands_beside_and_a_card_is_a_gpu() {
    let tree = Tree::new();
    tree.file(0, "name", "power_meter").file(0, "power1_average", "1").file(0, "power1_input", "7");
    tree.file(1, "name", "amdgpu").file(1, "power1_average", "1").file(1, "power1_label", "PPT");
    tree.file(2, "name", "xe").file(2, "energy1_input", "1").file(2, "energy1_label", "card");
    tree.file(4, "name", "nvme").file(4, "power1_input", "1");
    let error = Hwmon::open(tree.0.path()).expect_err("no processor");
    assert!(error.what.contains("power_meter/power1") && error.remedy.contains("amd_energy"), "{error}");
    tree.file(10, "name", "amd_energy").file(10, "energy1_input", "1").file(10, "energy1_label", "Esocket0");
    let found: Vec<_> = discover(tree.0.path())
        .into_iter()
        .map(|sensor| (sensor.meter.domain, sensor.meter.socket, sensor.label, sensor.quantity))
        .collect();
    let expected = [
        (Domain::Package, 0, "amd_energy/Esocket0".to_owned(), Quantity::Energy),
        (Domain::Psys, 0, "power_meter/power1".to_owned(), Quantity::Power),
        (Domain::Gpu, 0, "amdgpu/PPT".to_owned(), Quantity::Power),
        (Domain::Gpu, 1, "xe/card".to_owned(), Quantity::Energy),
    ];
    assert_eq!(found, expected);
}

#[test]
fn a_counter_is_better_than_a_wattage_of_the_same_thing() {
    let tree = Tree::new();
    tree.file(0, "name", "scmi").file(0, "power1_input", "1").file(0, "power1_label", "cpu0");
    tree.file(1, "name", "scmi").file(1, "energy1_input", "1").file(1, "energy1_label", "cpu0");
    let found = discover(tree.0.path());
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].quantity, Quantity::Energy);
}

#[test]
fn labels_are_read_for_what_they_say() {
    let check = |device, label, domain, socket| {
        assert_eq!(classify(device, label, None), Some(Meter { domain, socket }), "{device}/{label}");
    };
    check("scmi", "CPU package 1", Domain::Package, 1);
    check("occ", "Socket 0", Domain::Package, 0);
    check("ina", "VDD_DDR", Domain::Dram, 0);
    assert_eq!(classify("ina", "VDD_IN", None), None);
    assert_eq!(classify("ina3221", "VDD_CPU_GPU_CV", None), None);
    assert_eq!(classify("nvme", "", None), None);
}

#[test]
fn a_sensor_that_goes_is_a_fault_until_it_is_back() {
    let tree = Tree::new();
    tree.file(0, "name", "amd_energy").file(0, "energy1_label", "Esocket0").file(0, "energy1_input", "5");
    let mut source = tree.open();
    sample(&mut source);
    fs::remove_file(tree.0.path().join("class/hwmon/hwmon0/energy1_input")).expect("taken away");
    assert_eq!(sample(&mut source), (vec![], vec!["vanished"]));
    tree.file(0, "energy1_input", "tea");
    assert_eq!(sample(&mut source), (vec![], vec!["garbled"]));
    tree.file(0, "energy1_input", "9");
    assert_eq!(sample(&mut source), (vec![], vec![]));
    tree.file(0, "energy1_input", "11");
    assert_eq!(sample(&mut source), (vec![(Domain::Package, 0, 2)], vec![]));
}
