//! Versions of the rules, and all differences between them.

/// A supported version of the rules. The settings in the log name it, so all replicas apply an
/// entry by the same version. A log keeps its version until an operator sets a newer one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rules {
    /// Version 1.
    V1 = 1,
    /// Version 2: limits by metadata, merged metadata, stops of whole accounts, one `opened` for
    /// each stream, and a maximum age of streams.
    V2 = 2,
}

impl Rules {
    /// The version of new installations.
    pub const NEWEST: Self = Self::V2;

    /// The version with this number; `None` if it is not supported.
    #[must_use]
    pub const fn of(number: u32) -> Option<Self> {
        match number {
            1 => Some(Self::V1),
            2 => Some(Self::V2),
            _ => None,
        }
    }

    /// The number in the settings.
    #[must_use]
    pub const fn number(self) -> u32 {
        self as u32
    }

    /// Whether an entry that uses `field`, the first of its fields that needs version 2, is
    /// accepted.
    #[must_use]
    pub const fn accept(self, field: Option<&'static str>) -> bool {
        self.is_2() || field.is_none()
    }

    /// Whether a heartbeat's metadata is merged into that of its stream, instead of replacing it.
    pub(super) const fn merge_metadata(self) -> bool {
        self.is_2()
    }

    /// Whether lifecycle events contain the reason that a sender gave, and the successor of a
    /// replaced stream.
    pub(super) const fn state_causes(self) -> bool {
        self.is_2()
    }

    /// Whether a stream that a heartbeat has started gets `admitted` from its `init`, instead of a
    /// second `opened`.
    pub(super) const fn open_once(self) -> bool {
        self.is_2()
    }

    /// Whether each event of one entry has its own count of active streams, instead of the count
    /// after the entry.
    pub(super) const fn count_each_event(self) -> bool {
        self.is_2()
    }

    /// Whether requests may be throttled: workers that support only version 1 do not throttle.
    pub(super) const fn throttle(self) -> bool {
        self.is_2()
    }

    /// Whether streams have a maximum age, if one is set.
    pub(super) const fn limit_age(self) -> bool {
        self.is_2()
    }

    /// Whether the time for which a refusal is stored depends on the settings.
    pub(super) const fn derive_refusal_time(self) -> bool {
        self.is_2()
    }

    const fn is_2(self) -> bool {
        matches!(self, Self::V2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_has_one_number_and_unknown_numbers_have_none() {
        for rules in [Rules::V1, Rules::V2] {
            assert_eq!(Rules::of(rules.number()), Some(rules));
        }
        assert_eq!((Rules::of(0), Rules::of(3)), (None, None));
        assert_eq!(Rules::NEWEST.number(), 2);
    }

    #[test]
    fn version_1_accepts_no_field_of_version_2() {
        assert!(Rules::V1.accept(None) && Rules::V2.accept(Some("limits")));
        assert!(!Rules::V1.accept(Some("limits")));
    }
}
