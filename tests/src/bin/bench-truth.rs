//! Prints the table of `cargo xtask bench truth`.

use carbon_tests::truth::{all, markdown, measure};

fn main() {
    let rows: Vec<_> = all().iter().map(measure).collect();
    print!("{}", markdown(&rows));
}
