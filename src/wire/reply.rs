//! Replies as JSON: answers and errors, encoded by workers and decoded by clients.

mod body;
mod decode;
mod encode;
mod news;
mod tenant;

pub use body::PartitionNumber;
pub use decode::{AccountStatus, BadReply, CountsBy, Opening, Reply, decode};
pub use encode::{Encoded, MAX_REPLY_BYTES, answer, batch, error};
pub use news::{EventNews, News};
pub use tenant::tenant_answer;

/// The version of the contract: the header `contract` of every reply.
pub const CONTRACT: i32 = 1;
/// The `app_id` of every reply.
pub const APP_ID: &str = "streamwatch";

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use uuid::Uuid;

    use super::*;
    use crate::{
        domain::{
            AccountId, AccountKey, ActiveStream, Activity, Answer, Conflict, GivenReason, Metadata,
            Refused, RefusedReason, StopCause, StoppedReason, StreamId, StreamState, Tenant,
            WallTime,
        },
        wire::Problem,
    };

    const PARTITION: PartitionNumber = PartitionNumber {
        partition: 3,
        partitions: 4,
    };

    fn activity() -> Activity {
        let tenant = Tenant::new("acme").unwrap();
        Activity {
            key: AccountKey::new(&tenant, &AccountId::new("alice").unwrap()),
            as_of: WallTime(1_763_805_600_000),
            streams: vec![ActiveStream {
                stream: StreamId(Uuid::from_u128(7)),
                admitted: true,
                started_at: WallTime(1_763_805_600_000),
                last_seen: WallTime(1_763_805_600_001),
                expires_in_ms: 90_000,
                metadata: Metadata::new(&mut [("device", "tv")]).unwrap(),
            }],
            left_out: 0,
        }
    }

    #[test]
    fn an_opened_reply_equals_the_example_of_the_contract() {
        let opened = Answer::Opened {
            stream: StreamId(Uuid::from_u128(7)),
            heartbeat_every_ms: 30_000,
            ttl_ms: 90_000,
            replaced: vec![StreamId(Uuid::from_u128(8))],
            activity: activity(),
        };
        let encoded = answer(&opened, &["device".to_owned()], Some(PARTITION));
        let json: serde_json::Value = serde_json::from_slice(&encoded.body).unwrap();
        let id = "00000000-0000-0000-0000-000000000007";
        assert_eq!(
            json,
            serde_json::json!({
                "type": "opened", "stream": id, "heartbeat_every_ms": 30_000, "ttl_ms": 90_000,
                "expires_in_ms": 90_000, "expires_at": "2025-11-22T10:01:30.000Z",
                "replaced": ["00000000-0000-0000-0000-000000000008"],
                "partition": 3, "partitions": 4,
                "activity": {
                    "tenant": "acme", "account": "alice", "count": 1,
                    "as_of": "2025-11-22T10:00:00.000Z",
                    "streams": [{
                        "stream": id, "admitted": true, "started_at": "2025-11-22T10:00:00.000Z",
                        "last_seen": "2025-11-22T10:00:00.001Z",
                        "expires_at": "2025-11-22T10:01:30.000Z", "expires_in_ms": 90_000,
                        "metadata": {"device": "tv"}
                    }],
                    "by": {"device": {"tv": 1}}
                }
            })
        );
    }

    fn replaced() -> StopCause {
        StoppedReason::Replaced.into()
    }

    fn interval(stream: StreamId) -> News {
        News::Interval {
            stream,
            heartbeat_every_ms: 10_000,
            ttl_ms: 30_000,
        }
    }

    #[test]
    fn a_refused_reply_lists_the_conflicts() {
        let refused = |refusal| Answer::Refused {
            stream: StreamId(Uuid::from_u128(7)),
            refusal,
            activity: activity(),
        };
        let refusal = Refused {
            reason: RefusedReason::MaxActive,
            max_active: Some(1),
            conflicts: Vec::new(),
            is_remembered: false,
            retry_after_ms: None,
        };
        let json = |refusal| {
            let encoded = answer(&refused(refusal), &[], None);
            let mut json: serde_json::Value = serde_json::from_slice(&encoded.body).unwrap();
            json.as_object_mut().unwrap().remove("activity");
            json
        };
        let id = "00000000-0000-0000-0000-000000000007";
        let short = serde_json::json!({
            "type": "refused", "stream": id, "reason": "max_active", "max_active": 1,
        });
        assert_eq!(json(refusal.clone()), short);
        let conflicts = [2, 5].map(|limit| Conflict {
            limit,
            streams: vec![StreamId(Uuid::from_u128(7))],
        });
        let long = Refused {
            reason: RefusedReason::Limits,
            max_active: None,
            conflicts: conflicts.into(),
            is_remembered: true,
            retry_after_ms: Some(1_500),
        };
        let expected = serde_json::json!({
            "type": "refused", "stream": id, "reason": "limits", "remembered": true,
            "retry_after_ms": 1_500,
            "conflicts": [{"limit": 2, "streams": [id]}, {"limit": 5, "streams": [id]}],
        });
        assert_eq!(json(long), expected);
    }

    #[test]
    fn the_lists_of_a_reply_leave_room_for_fewer_streams() {
        let mut many = activity();
        many.streams = vec![many.streams[0].clone(); 1_000];
        let streams = vec![StreamId(Uuid::from_u128(7)); 100];
        let conflicts = (0..8).map(|limit| Conflict {
            limit,
            streams: streams.clone(),
        });
        let refused = Answer::Refused {
            stream: StreamId(Uuid::from_u128(7)),
            refusal: Refused {
                reason: RefusedReason::Limits,
                max_active: None,
                conflicts: conflicts.collect(),
                is_remembered: false,
                retry_after_ms: None,
            },
            activity: many.clone(),
        };
        assert!(answer(&refused, &[], None).body.len() <= MAX_REPLY_BYTES);
        let opened = Answer::Opened {
            stream: StreamId(Uuid::from_u128(7)),
            heartbeat_every_ms: 30_000,
            ttl_ms: 90_000,
            replaced: vec![StreamId(Uuid::from_u128(7)); 1_000],
            activity: many,
        };
        let encoded = answer(&opened, &[], None);
        assert!(encoded.body.len() <= MAX_REPLY_BYTES);
        assert!(encoded.body.len() > MAX_REPLY_BYTES / 2);
    }

    #[test]
    fn a_reply_leaves_out_streams_beyond_its_bound_and_counts_all() {
        let mut many = activity();
        let mut pairs: Vec<_> = (0..16)
            .map(|n| (format!("{n:064}"), "\u{1}".repeat(256)))
            .collect();
        many.streams[0].metadata = Metadata::new(&mut pairs).unwrap();
        many.streams = vec![many.streams[0].clone(); 1_000];
        let stream = Some((StreamId(Uuid::from_u128(7)), StreamState::Active));
        let status = Answer::Status {
            activity: many,
            stream,
        };
        let keys: Vec<_> = (0..8).map(|n| format!("{n:064}")).collect();
        let encoded = answer(&status, &keys, Some(PARTITION));
        assert!(encoded.body.len() <= MAX_REPLY_BYTES);
        assert!(encoded.body.len() > MAX_REPLY_BYTES / 2);
        let json: serde_json::Value = serde_json::from_slice(&encoded.body).unwrap();
        assert_eq!(json["activity"]["truncated"], true);
        let Ok(Reply::Status(status)) = decode(&encoded.body) else {
            panic!("not a status");
        };
        assert_eq!(status.activity.count(), 1_000);
        assert!(status.activity.left_out > 0);
        assert!(
            status
                .by
                .values()
                .all(|values| values.values().sum::<u32>() == 1_000)
        );
    }

    #[test]
    fn a_client_decodes_the_replies_of_a_worker() {
        let stream = StreamId(Uuid::from_u128(7));
        let opened = Answer::Opened {
            stream,
            heartbeat_every_ms: 10_000,
            ttl_ms: 30_000,
            replaced: vec![stream],
            activity: activity(),
        };
        let opening = Opening::Opened {
            heartbeat_every: Duration::from_secs(10),
            ttl: Duration::from_secs(30),
            replaced: vec![stream],
            activity: activity(),
            by: CountsBy::new(),
            partition: Some(PARTITION),
        };
        let refusal = Refused {
            reason: RefusedReason::Limits,
            max_active: None,
            conflicts: vec![Conflict {
                limit: 7,
                streams: vec![stream],
            }],
            is_remembered: true,
            retry_after_ms: Some(29_000),
        };
        let refused = Answer::Refused {
            stream,
            refusal: refusal.clone(),
            activity: activity(),
        };
        let refusing = Opening::Refused {
            refusal,
            activity: activity(),
            by: CountsBy::new(),
            partition: None,
        };
        for (written, expected, partition) in [
            (opened, opening, Some(PARTITION)),
            (refused, refusing, None),
        ] {
            let read = decode(&answer(&written, &[], partition).body).unwrap();
            assert_eq!(read, Reply::Opening(expected));
        }
        let status = Answer::Status {
            activity: activity(),
            stream: Some((stream, StreamState::Expired)),
        };
        let expected = AccountStatus {
            activity: activity(),
            by: CountsBy::new(),
            state: Some(StreamState::Expired),
            partition: None,
        };
        let read = decode(&answer(&status, &[], None).body).unwrap();
        assert_eq!(read, Reply::Status(expected));
        let cause = StopCause {
            reason: StoppedReason::Replaced,
            given: GivenReason::new("moved").ok(),
        };
        let late = News::Error {
            error: Problem::late(),
        };
        assert_eq!(error(&Problem::late()), late.encode());
        for news in [News::Stopped { stream, cause }, interval(stream), late] {
            assert_eq!(decode(&news.encode().body).unwrap(), Reply::News(news));
        }
        assert_eq!(
            decode(br#"{"type":"paused","since":1}"#).unwrap(),
            Reply::News(News::Unknown)
        );
        let of_later_version = format!(
            r#"{{"type":"stopped","stream":"{stream}","reason":"stopped","given_reason":"{}"}}"#,
            "x".repeat(65)
        );
        assert_eq!(
            decode(of_later_version.as_bytes()).unwrap(),
            Reply::News(News::Stopped {
                stream,
                cause: StoppedReason::Stopped.into()
            })
        );
    }

    #[test]
    fn a_reply_to_a_batch_contains_the_news_of_each_event_and_is_bounded() {
        let stream = StreamId(Uuid::from_u128(7));
        let of = |index, news| EventNews { index, news };
        let error = News::Error {
            error: Problem::late(),
        };
        let stopped = News::Stopped {
            stream,
            cause: replaced(),
        };
        let news = [
            of(0, stopped),
            of(7, interval(stream)),
            of(999, error.clone()),
        ];
        let encoded = batch(&news);
        assert_eq!(encoded.kind, "batch");
        let id = "00000000-0000-0000-0000-000000000007";
        let json: serde_json::Value = serde_json::from_slice(&encoded.body).unwrap();
        assert_eq!(
            json,
            serde_json::json!({"type": "batch", "events": [
                {"index": 0, "type": "stopped", "stream": id, "reason": "replaced"},
                {"index": 7, "type": "interval", "stream": id, "heartbeat_every_ms": 10_000,
                 "ttl_ms": 30_000},
                {"index": 999, "type": "error", "error": {
                    "code": "late", "message": Problem::late().message, "retryable": true,
                    "retry_after_ms": 1_000}},
            ]})
        );
        let Ok(Reply::Batch { events, truncated }) = decode(&encoded.body) else {
            panic!("not a reply to a batch");
        };
        assert!(!truncated);
        assert_eq!(events, news);

        let long = Problem::new(crate::wire::Code::BadField, "x".repeat(1_000));
        let many: Vec<_> = (0..1_000)
            .map(|n| {
                of(
                    n,
                    News::Error {
                        error: long.clone(),
                    },
                )
            })
            .collect();
        let encoded = batch(&many);
        assert!(encoded.body.len() <= MAX_REPLY_BYTES);
        let Ok(Reply::Batch { events, truncated }) = decode(&encoded.body) else {
            panic!("not a reply to a batch");
        };
        assert!(truncated && events.len() > 200);
    }
}
