//! Lists of partitions.

use std::{collections::BTreeSet, str::FromStr};

use crate::domain::Settings;

/// A list of partitions, such as `0,2,4-7`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionList(pub(super) BTreeSet<u16>);

/// The error of an invalid list of partitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "numbers and ranges from 0 to {last}, separated by commas, such as 0,2,4-7",
    last = Settings::MAX_PARTITIONS - 1
)]
pub struct PartitionListError;

impl FromStr for PartitionList {
    type Err = PartitionListError;

    fn from_str(list: &str) -> Result<Self, PartitionListError> {
        let number = |text: &str| match text.trim().parse::<u16>() {
            Ok(number) if number < Settings::MAX_PARTITIONS => Ok(number),
            _ => Err(PartitionListError),
        };
        let mut all = BTreeSet::new();
        for item in list.split(',') {
            let (first, last) = item.split_once('-').unwrap_or((item, item));
            let (first, last) = (number(first)?, number(last)?);
            if first > last {
                return Err(PartitionListError);
            }
            all.extend(first..=last);
        }
        Ok(Self(all))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_has_numbers_and_ranges() {
        let read = |list: &str| list.parse::<PartitionList>().map(|l| Vec::from_iter(l.0));
        assert_eq!(read("0,2,4-7"), Ok(vec![0, 2, 4, 5, 6, 7]));
        assert_eq!(read(" 3 , 1-1, 3"), Ok(vec![1, 3]));
        for bad in ["", "1,", "-1", "2-", "3-1", "64", "1-64", "a", "1 2"] {
            assert_eq!(read(bad), Err(PartitionListError), "{bad}");
        }
    }
}
