//! Connections and probes of a load, and the execution of one step.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use fastrand::Rng;
use tokio::{
    sync::{oneshot, watch},
    task::JoinSet,
    time::{Instant, sleep, sleep_until, timeout},
};

use super::{
    LAG_PATIENCE, Load, PATIENCE,
    batches::{Batches, Partitions},
    meter::{CountsAt, Meter},
    pace::{every, per_s},
    population::Population,
    probes::Prober,
    progress::{Progress, REFRESH},
    publisher::{Publisher, Schedule},
    step::Step,
};
use crate::{broker::BrokerError, cli::arguments::Installation, client::ClientError};

/// Minimum time for the workers to apply pending events.
const CATCH_UP: Duration = Duration::from_secs(30);
/// Interval of checks for pending confirms.
const SETTLED_EVERY: Duration = Duration::from_millis(2);

/// A rate and its duration.
#[derive(Clone, Copy, Debug)]
pub(super) struct LoadPhase {
    pub(super) rate_per_s: u32,
    pub(super) duration: Duration,
    /// Duration of the warm-up, which is not measured.
    pub(super) warm_up: Duration,
}

pub(super) struct Stage {
    prober: Prober,
    schedule: watch::Sender<Option<Arc<Schedule>>>,
    publishers: JoinSet<Result<(), ClientError>>,
    interrupted: watch::Receiver<bool>,
    random: Rng,
    pub(super) progress: Progress,
}

impl Stage {
    /// Checks that all partitions are served, and connects the publishers.
    pub(super) async fn open(
        at: &Installation,
        load: &Load,
        population: &Arc<Population>,
        prober: Prober,
        partitions: Option<Partitions>,
        interrupted: watch::Receiver<bool>,
    ) -> anyhow::Result<Self> {
        let mut random = Rng::with_seed(population.seed);
        prober.everywhere(&mut random, PATIENCE).await?;
        let (schedule, followed) = watch::channel(None);
        let mut publishers = JoinSet::new();
        for index in 0..load.connections {
            let which = (index, load.connections);
            let batches = partitions.clone();
            let batches = batches.map(|it| Batches::new(load.batch, load.gzip, it));
            let publisher = Publisher::open(at, Arc::clone(population), which, batches);
            publishers.spawn(publisher.await?.run(followed.clone()));
        }
        Ok(Self {
            prober,
            schedule,
            publishers,
            interrupted,
            random,
            progress: Progress::new(),
        })
    }

    /// Stops the publishers gracefully.
    pub(super) async fn close(mut self) {
        self.progress.clear();
        drop(self.schedule);
        while self.publishers.join_next().await.is_some() {}
    }

    /// Runs one step, and waits until none of its events is pending.
    pub(super) async fn step(&mut self, phase: LoadPhase) -> Step {
        let meter = Arc::new(Meter::new(self.prober.population.together()));
        let first = meter.now();
        let from = first.at;
        let to = from + phase.duration;
        let schedule = Arc::new(Schedule {
            rate_per_s: phase.rate_per_s,
            from,
            to,
            meter: Arc::clone(&meter),
        });
        let held = Arc::downgrade(&schedule);
        let (stop, stopped) = oneshot::channel();
        let probing = tokio::spawn(self.prober.clone().run(Arc::clone(&meter), stopped));
        self.schedule.send_replace(Some(schedule));
        self.progress.restart(first);

        let (first, mut error) = self.watch(&phase, &meter, first, to).await;
        let ended = Instant::now().min(to);
        let lag_at_end = meter.lag_now();
        let interrupted = error.is_none() && *self.interrupted.borrow();
        self.schedule.send_replace(None);
        drop(stop);

        let settled = self.settle(&meter, &held, &mut error).await;
        let patience = match error {
            None if !interrupted => CATCH_UP.max(phase.duration),
            // After an interruption or an error, one try suffices.
            _ => Duration::ZERO,
        };
        let applied = self.await_applied(&meter, patience).await;
        // Bounded by the timeout of the probes.
        let _ = probing.await;
        let CountsAt { counts, mark, .. } = meter.now();
        let waited = mark.at.saturating_duration_since(ended);
        let applied_after = applied.is_ok().then_some(waited);
        let since = |until: Instant| until.saturating_duration_since(first.at);
        Step {
            rate_per_s: phase.rate_per_s,
            published_for: ended - from,
            counts,
            applied: mark.applied,
            published_per_s: per_s(
                counts.published - first.counts.published,
                since(ended.max(from)),
            ),
            confirmed_per_s: per_s(counts.confirmed - first.counts.confirmed, since(settled)),
            applied_per_s: per_s(
                mark.applied - first.mark.applied,
                mark.at.saturating_duration_since(first.mark.at),
            ),
            results: meter.take_results(),
            lag_at_end,
            applied_after,
            error: error.or(applied.err()),
            interrupted,
        }
    }

    /// Runs the step. Returns the counts at the end of the warm-up, else the `first`, and the reason
    /// if it ended early.
    async fn watch(
        &mut self,
        phase: &LoadPhase,
        meter: &Meter,
        mut first: CountsAt,
        to: Instant,
    ) -> (CountsAt, Option<ClientError>) {
        let warm_until = first.at + phase.warm_up;
        let mut warming_up = !phase.warm_up.is_zero();
        let doing = format!("{}/s", phase.rate_per_s);
        let mut refresh = every(REFRESH);
        loop {
            tokio::select! {
                () = sleep_until(to) => return (first, None),
                () = sleep_until(warm_until), if warming_up => {
                    warming_up = false;
                    let _ = meter.take_results();
                    first = meter.now();
                }
                Some(ended) = self.publishers.join_next() => {
                    return (first, Some(why(ended)));
                }
                _ = self.interrupted.wait_for(|it| *it) => return (first, None),
                _ = refresh.tick() => self.progress.show(meter, &doing),
            }
        }
    }

    /// Waits until every event has an outcome, and returns that time. Bounded, as publishers give
    /// up without confirms.
    async fn settle(
        &mut self,
        meter: &Meter,
        held: &Weak<Schedule>,
        error: &mut Option<ClientError>,
    ) -> Instant {
        while held.strong_count() > 0 || !meter.now().counts.is_settled() {
            tokio::select! {
                () = sleep(SETTLED_EVERY) => {}
                Some(ended) = self.publishers.join_next() => *error = Some(why(ended)),
            }
            self.progress.show(meter, "waiting for confirms");
        }
        Instant::now()
    }

    /// Retries until every partition has replied, and so has applied all confirmed events. A
    /// lagging partition does not reply until it has caught up.
    async fn await_applied(
        &mut self,
        meter: &Meter,
        patience: Duration,
    ) -> Result<(), ClientError> {
        let confirmed = meter.now().counts.confirmed;
        let until = Instant::now() + patience;
        let patience = if patience.is_zero() {
            PATIENCE
        } else {
            LAG_PATIENCE
        };
        loop {
            let mut random = self.random.fork();
            let mut asked = std::pin::pin!(self.prober.everywhere(&mut random, patience));
            let answer = loop {
                match timeout(REFRESH, &mut asked).await {
                    Ok(answer) => break answer,
                    Err(_) => self.progress.show(meter, "waiting for the workers"),
                }
            };
            match answer {
                Ok(_) => {
                    meter.applied(confirmed);
                    return Ok(());
                }
                Err(error) if Instant::now() >= until || *self.interrupted.borrow() => {
                    return Err(error);
                }
                // A lost connection fails at once.
                Err(_) => sleep(REFRESH).await,
            }
        }
    }
}

fn why(ended: Result<Result<(), ClientError>, tokio::task::JoinError>) -> ClientError {
    match ended {
        Ok(Err(error)) => error,
        _ => ClientError::Broker(BrokerError::Lost("a publisher ended".to_owned())),
    }
}
