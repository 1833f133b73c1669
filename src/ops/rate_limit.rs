//! A limit of messages or log lines per second.

/// A limit per second, which counts the messages or lines that it suppresses.
#[derive(Debug)]
pub struct RateLimit {
    most: u32,
    second: u64,
    admitted: u32,
    suppressed: u64,
}

impl RateLimit {
    /// A limit of `most` per second.
    pub const fn new(most: u32) -> Self {
        Self {
            most,
            second: 0,
            admitted: 0,
            suppressed: 0,
        }
    }

    /// Admits a message if the limit allows it, and returns the number of messages suppressed
    /// before. Otherwise counts the message as suppressed, and returns `None`.
    pub const fn admit(&mut self, now_s: u64) -> Option<u64> {
        if self.second != now_s {
            self.second = now_s;
            self.admitted = 0;
        }
        if self.admitted == self.most {
            self.suppressed += 1;
            return None;
        }
        self.admitted += 1;
        Some(self.suppressed)
    }

    /// Records whether the admitted message was published. If so, the count of suppressed messages
    /// starts again at 0; else it includes this message.
    pub const fn published(&mut self, published: bool) {
        if published {
            self.suppressed = 0;
        } else {
            self.suppressed += 1;
        }
    }

    /// Admits a log line as [`Self::admit`] does. An admitted line counts as logged.
    pub fn admit_line(&mut self, now_s: u64) -> Option<u64> {
        let suppressed = self.admit(now_s)?;
        self.published(true);
        Some(suppressed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn next_message_reports_suppressed_count() {
        let mut limit = RateLimit::new(20);
        let admitted = (0..50).filter(|_| {
            let admitted = limit.admit(5) == Some(0);
            if admitted {
                limit.published(true);
            }
            admitted
        });
        assert_eq!(admitted.count(), 20);
        assert_eq!(limit.admit(6), Some(30));
        limit.published(false); // the exchange is missing
        assert_eq!(limit.admit(6), Some(31));
        limit.published(true);
        assert_eq!(limit.admit_line(6), Some(0));
    }
}
