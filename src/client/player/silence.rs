//! How long ago something was, on a device that may have slept meanwhile.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

/// So often it is looked whether a time is over: a timer stands still while its device sleeps.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A moment, by two clocks: one of them may stand still during sleep, the other is set now and then.
#[derive(Clone, Copy, Debug)]
pub(super) struct Silence {
    timer: Instant,
    time_of_day: SystemTime,
}

impl Silence {
    pub(super) fn begins() -> Self {
        Self {
            timer: Instant::now(),
            time_of_day: SystemTime::now(),
        }
    }

    /// By the clock that went further: a heartbeat too many does no harm.
    pub(super) fn lasts(&self) -> Duration {
        let by_day = self.time_of_day.elapsed().unwrap_or_default();
        self.timer.elapsed().max(by_day)
    }

    /// Waits until it has lasted so long.
    pub(super) async fn until(&self, long: Duration) {
        while let Some(left) = long.checked_sub(self.lasts()).filter(|it| !it.is_zero()) {
            tokio::time::sleep(left.min(LOOK_EVERY)).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn since(timer_s: u64, day_s: u64) -> Silence {
        let ago = Duration::from_secs;
        Silence {
            timer: Instant::now()
                .checked_sub(ago(timer_s))
                .expect("the machine is up"),
            time_of_day: SystemTime::now() - ago(day_s),
        }
    }

    #[test]
    fn a_sleep_that_one_of_the_clocks_has_missed_is_part_of_it() {
        for silence in [since(0, 50), since(50, 0)] {
            assert_eq!(silence.lasts().as_secs(), 50);
        }
        let in_the_future = Silence {
            time_of_day: SystemTime::now() + Duration::from_secs(50),
            ..since(3, 0)
        };
        assert_eq!(in_the_future.lasts().as_secs(), 3);
    }

    #[tokio::test]
    async fn a_time_that_is_over_is_not_waited_for() {
        let began = Instant::now();
        since(0, 50).until(Duration::from_secs(40)).await;
        assert!(began.elapsed() < Duration::from_secs(40));
    }
}
