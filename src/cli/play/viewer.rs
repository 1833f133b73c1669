//! A simulated viewer, which watches, stops or crashes, pauses, and repeats.

use std::{sync::Arc, time::Duration};

use fastrand::Rng;
use tokio::sync::watch;

use super::{
    expected::{ExpectedStreams, ViewerState},
    plan::Plan,
};
use crate::client::{Metadata, OpenRequest, PlaybackState, Player, StreamId};

const DEVICES: [&str; 4] = ["tv", "phone", "tablet", "browser"];
const CHANNELS: [&str; 5] = ["sport-1", "news", "films", "kids", "series"];

pub(super) struct Viewer {
    pub(super) player: Player,
    pub(super) expected: Arc<ExpectedStreams>,
    pub(super) account: usize,
    pub(super) device: usize,
    pub(super) plan: Arc<Plan>,
    pub(super) random: Rng,
}

impl Viewer {
    /// Watches until `stop`. After that, continues the current action and starts no new one.
    pub(super) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        loop {
            let pause = self.plan.session.mul_f64(self.random.f64() / 2.0);
            if wait(pause, &mut stop).await {
                return;
            }
            self.watch(&mut stop).await;
        }
    }

    async fn watch(&mut self, stop: &mut watch::Receiver<bool>) {
        let stream = StreamId::generate();
        let (expected, account) = (Arc::clone(&self.expected), self.account);
        let set = |state| expected.set(account, stream, state);
        let channel = *self.random.choice(&CHANNELS).unwrap_or(&"news");
        let device = DEVICES[self.device % DEVICES.len()];
        let request = OpenRequest {
            stream: Some(stream),
            metadata: Metadata::new(&mut [("device", device), ("channel", channel)])
                .unwrap_or_default(),
            max_active: self.plan.max_active,
            ..OpenRequest::default()
        };
        set(Some(ViewerState::Changing));
        let mut playback = self
            .player
            .open(ExpectedStreams::name(account), request)
            .await;
        while playback.state() == PlaybackState::Unanswered {
            if !playback.changed().await {
                return;
            }
        }
        match playback.state() {
            PlaybackState::Refused { .. } => {
                expected.count(|t| t.refused += 1);
                return set(None);
            }
            PlaybackState::Stopped(_) => return set(None),
            PlaybackState::Opened(_) | PlaybackState::Unanswered => {}
        }
        expected.count(|t| {
            t.opened += 1;
            t.playing += 1;
        });
        set(Some(ViewerState::Playing));
        let session = self.plan.session.mul_f64(0.25 + 1.5 * self.random.f64());
        if wait(session, stop).await {
            // Plays on at the end of the run, so that the counts can be compared.
            return std::future::pending().await;
        }
        expected.count(|t| t.playing -= 1);
        if self.random.f64() < self.plan.crash_rate {
            playback.abandon();
            expected.count(|t| t.crashed += 1);
            set(Some(ViewerState::Crashed(tokio::time::Instant::now())));
        } else {
            set(Some(ViewerState::Changing));
            playback.stop().await;
            expected.count(|t| t.stopped += 1);
            set(None);
        }
    }
}

/// Waits; returns `true` at the end of the run.
async fn wait(duration: Duration, stop: &mut watch::Receiver<bool>) -> bool {
    tokio::select! {
        () = tokio::time::sleep(duration) => false,
        _ = stop.wait_for(|stop| *stop) => true,
    }
}
