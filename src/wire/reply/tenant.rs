//! Encoding of answers about a tenant, for workers.

use std::{borrow::Cow, collections::BTreeMap};

use super::{
    body::{Body, PartitionNumber},
    encode::{Encoded, MAX_LIST_BYTES, OTHER, encoded, fitting, json_bytes},
};
use crate::{
    domain::{AccountsPage, TenantAnswer, TenantTotals, ValueCounts},
    wire::Rfc3339,
};

/// Maximum size of an account in a reply without its name, in bytes.
const ACCOUNT_BYTES: usize = 40;
/// Maximum size of a count, with a colon and a comma, in bytes.
const COUNT_BYTES: usize = 22;

/// Encodes an answer about a tenant.
#[must_use]
pub fn tenant_answer(answer: &TenantAnswer, partition: PartitionNumber) -> Encoded {
    match answer {
        TenantAnswer::Accounts(page) => encoded("accounts", &accounts(page, partition)),
        TenantAnswer::Totals(totals) => encoded("totals", &of_totals(totals, partition)),
    }
}

fn accounts(page: &AccountsPage, partition: PartitionNumber) -> Body<'_> {
    let fitting = fitting(&page.accounts, MAX_LIST_BYTES, |it| {
        json_bytes(&it.account) + ACCOUNT_BYTES
    });
    let accounts = &page.accounts[..fitting];
    let has_more = page.has_more || fitting < page.accounts.len();
    let last = accounts.last().filter(|_| has_more);
    Body::Accounts {
        partition,
        tenant: Cow::Borrowed(&page.tenant),
        as_of: Rfc3339(page.as_of),
        accounts: Cow::Borrowed(accounts),
        next: last.map(|it| Cow::Borrowed(&it.account)),
    }
}

fn of_totals(totals: &TenantTotals, partition: PartitionNumber) -> Body<'_> {
    let room = MAX_LIST_BYTES / totals.by.len().max(1);
    let by = totals.by.iter().map(|(key, counts)| {
        let beside = json_bytes(key) + json_bytes(&OTHER) + 32;
        (key.clone(), counts_of(counts, room.saturating_sub(beside)))
    });
    Body::Totals {
        partition,
        tenant: Cow::Borrowed(&totals.tenant),
        as_of: Rfc3339(totals.as_of),
        accounts: totals.accounts,
        streams: totals.streams,
        by: by.collect(),
    }
}

/// The counts of the values that fit into `room` bytes, and of all others together: also of a value
/// that is like their key.
fn counts_of(counts: &ValueCounts, room: usize) -> BTreeMap<String, u64> {
    let mut shown = counts.clone();
    shown.keep(fitting(&counts.values, room, |(value, _)| {
        json_bytes(value) + COUNT_BYTES
    }));
    let mut by: BTreeMap<_, _> = shown.values.into_iter().collect();
    if shown.others > 0 {
        *by.entry(OTHER.to_owned()).or_default() += shown.others;
    }
    by
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::{AccountCount, AccountId, Tenant, WallTime},
        wire::{
            MAX_REPLY_BYTES,
            reply::{Reply, decode},
        },
    };

    const PARTITION: PartitionNumber = PartitionNumber {
        partition: 3,
        partitions: 4,
    };

    fn page(accounts: impl Iterator<Item = String>, has_more: bool) -> TenantAnswer {
        let accounts = accounts.map(|account| AccountCount {
            account: AccountId::new(&account).unwrap(),
            count: 3,
        });
        TenantAnswer::Accounts(AccountsPage {
            tenant: Tenant::new("acme").unwrap(),
            as_of: WallTime(1_763_805_600_000),
            accounts: accounts.collect(),
            has_more,
        })
    }

    fn totals(values: Vec<(String, u64)>, others: u64) -> TenantAnswer {
        let counts = ValueCounts { values, others };
        TenantAnswer::Totals(TenantTotals {
            tenant: Tenant::new("acme").unwrap(),
            as_of: WallTime(1_763_805_600_000),
            accounts: 2,
            streams: 3,
            by: vec![("channel".to_owned(), counts)],
        })
    }

    fn json(answer: &TenantAnswer) -> serde_json::Value {
        serde_json::from_slice(&tenant_answer(answer, PARTITION).body).unwrap()
    }

    #[test]
    fn the_replies_equal_the_examples_of_the_contract() {
        let accounts = ["alice", "bob"].map(str::to_owned).into_iter();
        assert_eq!(
            json(&page(accounts, true)),
            serde_json::json!({
                "type": "accounts", "partition": 3, "partitions": 4, "tenant": "acme",
                "as_of": "2025-11-22T10:00:00.000Z",
                "accounts": [{"account": "alice", "count": 3}, {"account": "bob", "count": 3}],
                "next": "bob"
            })
        );
        assert_eq!(
            json(&totals(vec![("news".to_owned(), 2)], 1)),
            serde_json::json!({
                "type": "totals", "partition": 3, "partitions": 4, "tenant": "acme",
                "as_of": "2025-11-22T10:00:00.000Z", "accounts": 2, "streams": 3,
                "by": {"channel": {"news": 2, "(other)": 1}}
            })
        );
    }

    #[test]
    fn a_client_decodes_the_replies_of_a_worker() {
        let accounts = ["alice", "é/\"", "zoe"].map(str::to_owned).into_iter();
        for written in [
            page(accounts.clone(), false),
            page(accounts, true),
            page(std::iter::empty(), false),
            totals(vec![("news".to_owned(), 2), ("a".to_owned(), 1)], 7),
        ] {
            let read = decode(&tenant_answer(&written, PARTITION).body).unwrap();
            let expected = Reply::Tenant {
                answer: written,
                partition: PARTITION,
            };
            assert_eq!(read, expected);
        }
    }

    #[test]
    fn a_page_beyond_the_bound_of_a_reply_ends_earlier_and_has_more() {
        let account = |n: u32| format!("{n:04}{}", "\"".repeat(124));
        let encoded = tenant_answer(&page((0..1_000).map(account), false), PARTITION);
        assert!(encoded.body.len() <= MAX_REPLY_BYTES);
        let Ok(Reply::Tenant {
            answer: TenantAnswer::Accounts(page),
            ..
        }) = decode(&encoded.body)
        else {
            panic!("not a page");
        };
        assert!(page.has_more && (800..1_000).contains(&page.accounts.len()));
        // Without escapes, a thousand of the longest accounts fit.
        let account = |n: u32| format!("{n:04}{}", "x".repeat(124));
        let all = json(&self::page((0..1_000).map(account), false));
        assert_eq!(all["accounts"].as_array().unwrap().len(), 1_000);
        assert!(all.get("next").is_none());
    }

    #[test]
    fn values_beyond_the_bound_of_a_reply_share_one_count() {
        let value = |n: u64| (format!("{n:04}{}", "\u{1}".repeat(252)), 1_000 - n);
        let sum = 7 + (0..1_000).map(|n| value(n).1).sum::<u64>();
        let encoded = tenant_answer(&totals((0..1_000).map(value).collect(), 7), PARTITION);
        assert!(encoded.body.len() <= MAX_REPLY_BYTES);
        let json: serde_json::Value = serde_json::from_slice(&encoded.body).unwrap();
        let counts = json["by"]["channel"].as_object().unwrap();
        let counted = counts.values().filter_map(serde_json::Value::as_u64);
        assert_eq!(counted.sum::<u64>(), sum);
        assert!(counts.len() > 100 && counts[OTHER].as_u64() > Some(7));
    }

    #[test]
    fn a_value_named_other_is_counted_with_the_others() {
        let counts = json(&totals(vec![(OTHER.to_owned(), 2), ("a".to_owned(), 1)], 7));
        let expected = serde_json::json!({ "a": 1, OTHER: 9 });
        assert_eq!(counts["by"]["channel"], expected);
    }
}
