//! Tests of metadata in heartbeats.

use super::*;

impl Alice {
    fn beat_by(&mut self, at: u64, n: u128, patch: MetadataPatch) -> HeartbeatOutcome {
        let heartbeat = Heartbeat {
            metadata: Some(patch),
            ..Heartbeat::of(id(n))
        };
        self.beat(at, &heartbeat)
    }
}

const fn refreshed(metadata: MetadataOutcome) -> HeartbeatOutcome {
    HeartbeatOutcome::Refreshed {
        outdated: false,
        metadata,
    }
}

fn removing(keys: &[&str]) -> MetadataPatch {
    let removed = keys.iter().map(|key| (*key).into()).collect();
    MetadataPatch::merge(Metadata::default(), removed).unwrap()
}

// A field report: "a heartbeat with `paused` removes the device from the list".
#[test]
fn a_heartbeat_that_changes_one_key_keeps_the_others() {
    let mut alice = Alice::default();
    alice.open(0, &with(1, &[("device", "tv"), ("state", "playing")]));
    let changed = refreshed(MetadataOutcome::Changed);
    assert_eq!(alice.beat_with(1, 1, &[("state", "paused")]), changed);
    let expected = pairs(&[("device", "tv"), ("state", "paused")]);
    assert_eq!(alice.only(1, 1).metadata, expected);
    assert_eq!(alice.beat_with(2, 1, &[("state", "paused")]), REFRESHED);
    assert_eq!(
        alice.beat_by(3, 1, removing(&["state", "unknown"])),
        changed
    );
    assert_eq!(alice.only(3, 1).metadata, metadata("tv"));
    assert_eq!(alice.beat_with(4, 1, &[]), REFRESHED);
    assert_eq!(alice.only(4, 1).metadata, metadata("tv"));
}

#[test]
fn bad_metadata_never_costs_the_heartbeat() {
    let mut alice = Alice::default();
    let started = HeartbeatOutcome::Started {
        outdated: false,
        metadata: MetadataOutcome::Ignored,
    };
    assert_eq!(alice.beat_by(0, 1, MetadataPatch::Invalid), started);
    alice.beat_with(1, 1, &[("device", "tv")]);
    let ignored = refreshed(MetadataOutcome::Ignored);
    assert_eq!(alice.beat_by(50_000, 1, MetadataPatch::Invalid), ignored);
    assert!(ignored.ignores_metadata());
    let stream = alice.only(50_000 + DEADLINE - 1, 1);
    assert_eq!(stream.last_seen, WallTime(50_000));
    assert_eq!(stream.metadata, metadata("tv"));
}

#[test]
fn metadata_that_would_grow_too_large_is_ignored() {
    let many: Vec<_> = (0..16).map(|n| n.to_string()).collect();
    let many: Vec<_> = many.iter().map(|key| (key.as_str(), "v")).collect();
    let mut alice = Alice::default();
    alice.open(0, &with(1, &many));
    let ignored = refreshed(MetadataOutcome::Ignored);
    assert_eq!(alice.beat_with(1, 1, &[("one", "more")]), ignored);
    assert_eq!(alice.only(1, 1).metadata, pairs(&many));
    let changed = refreshed(MetadataOutcome::Changed);
    assert_eq!(alice.beat_with(2, 1, &[("0", "other")]), changed);
}

#[test]
fn a_stopped_stream_learns_that_first_even_with_bad_metadata() {
    let mut alice = Alice::default();
    alice.stop(0, 1);
    let outcome = alice.beat_by(1, 1, MetadataPatch::Invalid);
    assert_eq!(outcome, stays(StoppedReason::Stopped));
}
