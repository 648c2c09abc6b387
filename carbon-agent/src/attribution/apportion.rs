//! Division of a whole number by weights without a remainder.

/// Splits `total` in proportion to `weights` so that the parts sum to `total` exactly: every part is its exact share
/// rounded down or up, the units left over by rounding down go to the largest fractions, ties to the lower index
/// (the method of largest remainders, Hamilton 1792).
///
/// `None` when no weight is positive: there is nobody to give it to.
pub fn apportion(total: u64, weights: &[u64]) -> Option<Vec<u64>> {
    let sum: u128 = weights.iter().map(|w| u128::from(*w)).sum();
    if sum == 0 {
        return None;
    }
    let mut left = total;
    let mut fractions = Vec::with_capacity(weights.len());
    let mut parts = Vec::with_capacity(weights.len());
    for (index, weight) in weights.iter().enumerate() {
        // Both factors are below 2^64, so the product fits.
        let scaled = u128::from(total) * u128::from(*weight);
        let part = u64::try_from(scaled / sum).expect("a part is no larger than the total");
        left -= part;
        parts.push(part);
        fractions.push((scaled % sum, index));
    }
    // Fewer units are left than there are non-zero fractions, so nobody gets two and no zero weight gets one.
    let left = usize::try_from(left).expect("fewer units are left than there are parts");
    if left > 0 {
        let by_fraction = |a: &(u128, usize), b: &(u128, usize)| b.0.cmp(&a.0).then(a.1.cmp(&b.1));
        fractions.select_nth_unstable_by(left - 1, by_fraction);
        for (_, index) in &fractions[..left] {
            parts[*index] += 1;
        }
    }
    Some(parts)
}

#[cfg(test)]
mod tests {
    use super::apportion;
    use proptest::prelude::*;

    #[test]
    fn known_divisions() {
        assert_eq!(apportion(10, &[1, 1, 1]), Some(vec![4, 3, 3]));
        assert_eq!(apportion(10, &[0, 3, 0]), Some(vec![0, 10, 0]));
        assert_eq!(apportion(7, &[1, 2, 4]), Some(vec![1, 2, 4]));
        assert_eq!(apportion(0, &[5, 5]), Some(vec![0, 0]));
        assert_eq!(apportion(5, &[0, 0]), None);
        assert_eq!(apportion(5, &[]), None);
        assert_eq!(apportion(u64::MAX, &[u64::MAX, u64::MAX]), Some(vec![1 << 63, (1 << 63) - 1]));
    }

    proptest! {
        #[test]
        fn parts_sum_to_the_total_and_are_within_one_of_the_exact_share(
            total in any::<u64>(),
            weights in prop::collection::vec(prop_oneof![Just(0), 0..10u64, any::<u64>()], 1..60),
        ) {
            let sum: u128 = weights.iter().map(|w| u128::from(*w)).sum();
            match apportion(total, &weights) {
                None => prop_assert_eq!(sum, 0),
                Some(parts) => {
                    prop_assert_eq!(parts.iter().map(|p| u128::from(*p)).sum::<u128>(), u128::from(total));
                    for (part, weight) in parts.iter().zip(&weights) {
                        let floor = u128::from(total) * u128::from(*weight) / sum;
                        let part = u128::from(*part);
                        prop_assert!(part == floor || part == floor + 1);
                        prop_assert!(*weight > 0 || part == 0);
                    }
                }
            }
        }
    }
}
