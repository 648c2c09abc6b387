use super::*;
use crate::export::fixture;

#[test]
fn a_command_report_reads_like_this() {
    let mut snapshot = fixture::snapshot();
    let command = fixture::component("command", fixture::usage(30_000_000, 2_000_000, 9_000));
    snapshot.components.insert(0, command);
    snapshot.processes = vec![
        fixture::process(1, "cc1", "command", fixture::usage(20_000_000, 1_000_000, 6_000)),
        fixture::process(2, "cc1", "command", fixture::usage(10_000_000, 0, 3_000)),
        fixture::process(3, "sh\u{1b}[2J", "command", fixture::usage(1_000_000, 0, 300)),
        fixture::process(4, "postgres", "unassigned", fixture::usage(90_000_000, 0, 300)),
    ];
    snapshot.quality = crate::energy::Quality::Estimated;
    let expected = "
128 J in 1m 00s, 2.13 W on average, 13.5 mg CO2e

  process   count      CPU  energy    share    power     CO2e
  cc1           2  27.00 s  93.0 J   72.7 %   1.55 W  9.82 mg
  sh\u{fffd}[2J        1   0.90 s  3.00 J    2.3 %  50.0 mW   317 µg
  (others)          8.10 s  32.0 J   25.0 %   533 mW  3.38 mg
  total            36.00 s   128 J  100.0 %   2.13 W  13.5 mg

The host used 1.30 kJ in that time: 720 J idle, 9.9 % by this command.
Energy: rapl-powercap (ESTIMATED, this host has no meter). CPU time: eBPF, every context switch.
Carbon: 380 g/kWh (static:DEU:2024).
";
    let got = command_report(&snapshot, "command", false);
    assert_eq!(got, expected, "\n{got}");
}

#[test]
fn a_command_that_used_nothing_is_a_total_of_nothing() {
    let report = command_report(&fixture::snapshot(), "command", false);
    assert!(report.contains("0 J in 1m 00s"), "{report}");
}

#[test]
fn a_run_report_lists_the_components_by_energy() {
    let report = run_report(&fixture::snapshot(), false);
    let names: Vec<&str> = report
        .lines()
        .filter(|line| line.starts_with("  "))
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert_eq!(names[..3], ["component", "idle", "model_management"]);
    assert_eq!(*names.last().unwrap(), "total");
    assert!(!report.contains('\u{1b}'));
}

#[test]
fn colour_is_only_ours() {
    let report = run_report(&fixture::snapshot(), true);
    assert!(report.contains("\u{1b}[1m") && !report.contains("\u{1b}[31m"));
}
