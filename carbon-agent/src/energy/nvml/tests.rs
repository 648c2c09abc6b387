//! Played cards.

use super::cards::{Slice, classify};
use super::*;
use nvml_wrapper::error::NvmlError;
use std::sync::{Arc, Mutex};

#[derive(Clone, Debug, Default)]
struct Played {
    millijoules: Option<u64>,
    milliwatts: u64,
    percent: u32,
    slices: Vec<Slice>,
    partitioned: bool,
    lost: bool,
    refused: bool,
}

#[derive(Clone, Default)]
struct Deck(Arc<Mutex<Vec<Played>>>);

impl Deck {
    fn new(cards: Vec<Played>) -> Self {
        Self(Arc::new(Mutex::new(cards)))
    }

    fn with<T>(&self, card: u32, with: impl FnOnce(&mut Played) -> T) -> T {
        with(&mut self.0.lock().expect("no test panics while it holds this")[card as usize])
    }

    fn open(&self) -> Gpus {
        Gpus::with(Box::new(self.clone()), 0).expect("played cards answer").expect("there is one")
    }
}

impl Cards for Deck {
    fn count(&mut self) -> Result<u32, CardError> {
        Ok(self.0.lock().expect("as above").len() as u32)
    }
    fn name(&mut self, _: u32) -> String {
        "Played".into()
    }
    fn energy_millijoules(&mut self, card: u32) -> Result<u64, CardError> {
        self.with(card, |card| match card.millijoules {
            _ if card.lost => Err(CardError::Lost),
            Some(energy) => Ok(energy),
            None => Err(CardError::Unsupported),
        })
    }
    fn power_milliwatts(&mut self, card: u32) -> Result<u64, CardError> {
        self.with(card, |card| Ok(card.milliwatts))
    }
    fn utilisation_percent(&mut self, card: u32) -> Result<u32, CardError> {
        self.with(card, |card| Ok(card.percent))
    }
    fn users(&mut self, card: u32, since: u64) -> Result<Vec<Slice>, CardError> {
        self.with(card, |card| {
            if card.refused {
                return Err(CardError::NoPermission);
            }
            Ok(card.slices.iter().copied().filter(|slice| slice.at > since).collect())
        })
    }
    fn partitioned(&mut self, card: u32) -> bool {
        self.with(card, |card| card.partitioned)
    }
}

/// Energy by card, weight by pid, kinds of faults.
type Seen = (Vec<(u32, u64)>, Vec<(u32, u64)>, Vec<&'static str>);

fn read(gpus: &mut Gpus) -> (EnergySample, GpuUse) {
    let mut energy = EnergySample::default();
    gpus.latch();
    let used = gpus.resolve(&mut energy);
    (energy, used)
}

fn sample(gpus: &mut Gpus) -> Seen {
    let (energy, used) = read(gpus);
    (
        energy.deltas.iter().map(|delta| (delta.meter.socket, delta.energy.0)).collect(),
        used.users.iter().map(|user| (user.pid, user.weight)).collect(),
        energy.faults.iter().map(|fault| fault.kind).collect(),
    )
}

fn slice(pid: u32, at: u64, sm_percent: u32) -> Slice {
    Slice { pid, at, sm_percent }
}

#[test]
fn energy_is_counted_and_users_weigh_by_their_share() {
    // What the driver has buffered from before is nobody's.
    let card = Played { millijoules: Some(5000), slices: vec![slice(7, 10, 90)], ..Played::default() };
    let deck = Deck::new(vec![card]);
    let mut gpus = deck.open();
    assert_eq!(sample(&mut gpus), (vec![], vec![], vec![]));
    deck.with(0, |card| {
        card.millijoules = Some(5300);
        card.slices = vec![slice(7, 10, 90), slice(8, 20, 30), slice(9, 20, 60), slice(8, 30, 10), slice(4, 30, 0)];
    });
    assert_eq!(sample(&mut gpus), (vec![(0, 300_000)], vec![(8, 40), (9, 60)], vec![]));
    // Each of the driver's samples counts once.
    assert_eq!(sample(&mut gpus), (vec![(0, 0)], vec![], vec![]));
    assert_eq!(gpus.describe(), "NVML: GPU 0 Played");
}

#[test]
fn another_process_counts_on() {
    let deck = Deck::new(vec![Played { millijoules: Some(5000), ..Played::default() }]);
    let mut gpus = deck.open();
    sample(&mut gpus);
    let left: Vec<CounterReading> = gpus.readings().collect();
    deck.with(0, |card| card.millijoules = Some(5200));
    let mut next = deck.open();
    next.resume(&left);
    assert_eq!(sample(&mut next).0, [(0, 200_000)]);
}

#[test]
fn an_old_card_gives_watts() {
    let deck = Deck::new(vec![Played { milliwatts: 100_000, percent: 50, ..Played::default() }]);
    let mut gpus = deck.open();
    sample(&mut gpus);
    std::thread::sleep(std::time::Duration::from_millis(20));
    let (energy, used) = read(&mut gpus);
    let delta = energy.deltas[0];
    let wall = delta.end.0 - delta.begin.0;
    assert!(delta.energy.0.abs_diff(wall / 10) <= 1, "100 W: a microjoule each 10 ns");
    assert!(used.loads[0].busy.0.abs_diff(wall / 2) <= 100);
}

#[test]
fn partitions_refusals_and_losses_are_told_apart() {
    let whole = Played { millijoules: Some(1), ..Played::default() };
    let deck = Deck::new(vec![
        Played { partitioned: true, ..whole.clone() },
        Played { refused: true, ..whole.clone() },
        Played { lost: true, ..whole },
    ]);
    let mut gpus = deck.open();
    assert_eq!(sample(&mut gpus).2, ["undivided", "undivided", "vanished"]);
    // Energy is counted all the same, and a lost card comes back by itself.
    deck.with(2, |card| card.lost = false);
    for card in 0..3 {
        deck.with(card, |card| card.millijoules = Some(3));
    }
    assert_eq!(sample(&mut gpus).0, [(0, 2000), (1, 2000)]);
    deck.with(2, |card| card.millijoules = Some(4));
    assert_eq!(sample(&mut gpus).0[2], (2, 1000));
}

#[test]
fn answers_are_sorted_by_what_can_be_done() {
    assert_eq!(classify(&NvmlError::DriverNotLoaded), CardError::Absent);
    assert_eq!(classify(&NvmlError::NotSupported), CardError::Unsupported);
    assert_eq!(classify(&NvmlError::NoPermission), CardError::NoPermission);
    assert_eq!(classify(&NvmlError::GpuLost), CardError::Lost);
    assert!(CardError::NoPermission.explain("GPU 0").to_string().contains("/dev/nvidia"));
}

#[test]
fn a_host_without_cards_is_no_error() {
    assert!(Gpus::with(Box::new(Deck::default()), 0).expect("no cards").is_none());
    // On this host, whatever it is: loading must not fail for want of a driver.
    match Gpus::open(0) {
        Ok(Some(gpus)) => eprintln!("{}", gpus.describe()),
        Ok(None) => eprintln!("no NVIDIA driver here"),
        Err(error) => assert_ne!(error.kind, "absent"),
    }
}
