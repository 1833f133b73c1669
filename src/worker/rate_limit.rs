//! A limit of messages or log lines per second.

use crate::replica::Mono;

/// A limit per second, which counts what it leaves out.
#[derive(Debug)]
pub(super) struct RateLimit {
    most: u32,
    second: u64,
    admitted: u32,
    left_out: u64,
}

impl RateLimit {
    pub(super) const fn new(most: u32) -> Self {
        Self {
            most,
            second: 0,
            admitted: 0,
            left_out: 0,
        }
    }

    /// Admits a message if the limit allows it, and returns the number of messages left out before.
    /// Otherwise counts the message as left out, and returns `None`.
    pub(super) const fn admit(&mut self, now: Mono) -> Option<u64> {
        let second = now.0 / 1_000_000;
        if self.second != second {
            self.second = second;
            self.admitted = 0;
        }
        if self.admitted == self.most {
            self.left_out += 1;
            return None;
        }
        self.admitted += 1;
        Some(self.left_out)
    }

    /// Records whether the admitted message was published. If so, the count of messages left out
    /// starts again at 0; else it includes this message.
    pub(super) const fn published(&mut self, published: bool) {
        if published {
            self.left_out = 0;
        } else {
            self.left_out += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_beyond_the_limit_are_left_out_and_the_next_one_has_their_number() {
        let mut limit = RateLimit::new(20);
        let at = |ms: u64| Mono(ms * 1_000);
        let admitted = (0..50).filter(|n| {
            let admitted = limit.admit(at(5_000 + n)) == Some(0);
            if admitted {
                limit.published(true);
            }
            admitted
        });
        assert_eq!(admitted.count(), 20);
        assert_eq!(limit.admit(at(6_000)), Some(30));
        limit.published(false); // the exchange is missing
        assert_eq!(limit.admit(at(6_001)), Some(31));
        limit.published(true);
        assert_eq!(limit.admit(at(6_002)), Some(0));
    }
}
