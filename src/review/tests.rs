//! Properties of comparing and merging, on generated locks.

use proptest::prelude::*;

use super::*;
use crate::lockfile::{Lock, tests::locks};

fn count(lock: &Lock) -> usize {
    lock.artifacts().len()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_lock_does_not_differ_from_itself(lock in locks()) {
        let diff = Diff::between(Some(&lock), &lock);
        prop_assert!(diff.is_empty());
        prop_assert_eq!((diff.entries, diff.settings, diff.alarms, diff.download.update), (vec![], vec![], vec![], 0));
    }

    #[test]
    fn what_one_direction_adds_the_other_removes(old in locks(), new in locks()) {
        let (there, back) = (Diff::between(Some(&old), &new), Diff::between(Some(&new), &old));
        prop_assert_eq!(there.entries.len(), back.entries.len());
        prop_assert_eq!(there.count(Change::Added), back.count(Change::Removed));
        prop_assert_eq!(count(&old) + there.count(Change::Added), count(&new) + there.count(Change::Removed));
        prop_assert!(there.download.update <= there.download.full);
        prop_assert_eq!(there.download.entries.values().sum::<u64>(), there.download.update);
    }

    #[test]
    fn a_new_lab_is_all_additions_and_no_alarm(lock in locks()) {
        let diff = Diff::between(None, &lock);
        prop_assert_eq!(diff.count(Change::Added), count(&lock));
        prop_assert_eq!(diff.download.update, diff.download.full);
        prop_assert_eq!(diff.alarms, vec![]);
    }
}
