//! Answers about a tenant, encoded by workers and decoded by clients.

use std::{cmp::Reverse, collections::BTreeMap};

use serde::{Deserialize, Serialize, Serializer};

use super::{
    decode::BadReply,
    encode::{BESIDE_STREAMS_BYTES, Encoded, MAX_REPLY_BYTES, OTHER, PartitionNumber},
};
use crate::{
    domain::{
        AccountCount, AccountId, AccountsPage, Tenant, TenantAnswer, TenantTotals, ValueCounts,
    },
    wire::Rfc3339,
};

/// Maximum size of an account in a reply without its name, in bytes.
const ACCOUNT_BYTES: usize = 40;

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Out<'a> {
    Accounts {
        #[serde(flatten)]
        partition: PartitionNumber,
        tenant: &'a str,
        as_of: Rfc3339,
        accounts: Vec<AccountOut<'a>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        next: Option<&'a str>,
    },
    Totals {
        #[serde(flatten)]
        partition: PartitionNumber,
        tenant: &'a str,
        as_of: Rfc3339,
        accounts: u64,
        streams: u64,
        #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "as_map")]
        by: Vec<(&'a str, CountsOut<'a>)>,
    },
}

#[derive(Serialize)]
struct AccountOut<'a> {
    account: &'a str,
    count: u32,
}

/// The counts of the values that fit into `room` bytes, and of all others together.
struct CountsOut<'a> {
    values: &'a [(String, u64)],
    others: u64,
}

fn json_bytes(text: &str) -> usize {
    serde_json::to_vec(text).map_or(0, |json| json.len())
}

impl<'a> CountsOut<'a> {
    fn new(counts: &'a ValueCounts, mut room: usize) -> Self {
        let fitting = counts.values.iter().take_while(|(value, _)| {
            // A colon, a comma and the count.
            let bytes = json_bytes(value) + 22;
            let fits = bytes <= room;
            room = room.saturating_sub(bytes);
            fits
        });
        let (values, rest) = counts.values.split_at(fitting.count());
        let others = counts.others + rest.iter().map(|(_, count)| count).sum::<u64>();
        Self { values, others }
    }
}

impl Serialize for CountsOut<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        // A key of an object is there once, even if a player sends this value.
        let named = self.values.iter().filter(|(value, _)| value != OTHER);
        let of_players = self.values.iter().find(|(value, _)| value == OTHER);
        let others = self.others + of_players.map_or(0, |(_, count)| *count);
        let others = (others > 0).then_some((OTHER, others));
        to.collect_map(named.map(|(v, n)| (v.as_str(), *n)).chain(others))
    }
}

fn as_map<S: Serializer>(by: &[(&str, CountsOut)], to: S) -> Result<S::Ok, S::Error> {
    to.collect_map(by.iter().map(|(key, counts)| (key, counts)))
}

/// Encodes an answer about a tenant.
#[must_use]
pub fn tenant_answer(answer: &TenantAnswer, partition: PartitionNumber) -> Encoded {
    let (kind, out) = match answer {
        TenantAnswer::Accounts(page) => ("accounts", accounts(page, partition)),
        TenantAnswer::Totals(totals) => ("totals", of_totals(totals, partition)),
    };
    Encoded {
        kind,
        body: serde_json::to_vec(&out).expect("strings and numbers always encode"),
    }
}

fn accounts(page: &AccountsPage, partition: PartitionNumber) -> Out<'_> {
    let mut room = MAX_REPLY_BYTES - BESIDE_STREAMS_BYTES;
    let fitting = page.accounts.iter().take_while(|it| {
        let bytes = json_bytes(it.account.as_str()) + ACCOUNT_BYTES;
        let fits = bytes <= room;
        room = room.saturating_sub(bytes);
        fits
    });
    let accounts: Vec<_> = fitting
        .map(|it| AccountOut {
            account: it.account.as_str(),
            count: it.count,
        })
        .collect();
    let has_more = page.has_more || accounts.len() < page.accounts.len();
    Out::Accounts {
        partition,
        tenant: page.tenant.as_str(),
        as_of: Rfc3339(page.as_of),
        next: accounts.last().filter(|_| has_more).map(|it| it.account),
        accounts,
    }
}

fn of_totals(totals: &TenantTotals, partition: PartitionNumber) -> Out<'_> {
    let room = (MAX_REPLY_BYTES - BESIDE_STREAMS_BYTES) / totals.by.len().max(1);
    let by = totals.by.iter().map(|(key, counts)| {
        let beside = json_bytes(key) + json_bytes(OTHER) + 32;
        let room = room.saturating_sub(beside);
        (key.as_str(), CountsOut::new(counts, room))
    });
    Out::Totals {
        partition,
        tenant: totals.tenant.as_str(),
        as_of: Rfc3339(totals.as_of),
        accounts: totals.accounts,
        streams: totals.streams,
        by: by.collect(),
    }
}

/// A page of accounts as decoded.
#[derive(Deserialize)]
pub(super) struct AccountsIn {
    tenant: String,
    as_of: Rfc3339,
    accounts: Vec<AccountIn>,
    next: Option<String>,
}

#[derive(Deserialize)]
struct AccountIn {
    account: String,
    count: u32,
}

/// Totals as decoded.
#[derive(Deserialize)]
pub(super) struct TotalsIn {
    tenant: String,
    as_of: Rfc3339,
    accounts: u64,
    streams: u64,
    #[serde(default)]
    by: BTreeMap<String, BTreeMap<String, u64>>,
}

impl AccountsIn {
    pub(super) fn decode(self) -> Result<TenantAnswer, BadReply> {
        let accounts = self.accounts.into_iter().map(|it| {
            Ok(AccountCount {
                account: AccountId::new(&it.account).map_err(BadReply::new)?,
                count: it.count,
            })
        });
        Ok(TenantAnswer::Accounts(AccountsPage {
            tenant: Tenant::new(&self.tenant).map_err(BadReply::new)?,
            as_of: self.as_of.0,
            accounts: accounts.collect::<Result<_, _>>()?,
            has_more: self.next.is_some(),
        }))
    }
}

impl TotalsIn {
    pub(super) fn decode(self) -> Result<TenantAnswer, BadReply> {
        let by = self.by.into_iter().map(|(key, mut counts)| {
            let others = counts.remove(OTHER).unwrap_or_default();
            let mut values: Vec<_> = counts.into_iter().collect();
            values.sort_by_key(|(_, count)| Reverse(*count));
            (key, ValueCounts { values, others })
        });
        Ok(TenantAnswer::Totals(TenantTotals {
            tenant: Tenant::new(&self.tenant).map_err(BadReply::new)?,
            as_of: self.as_of.0,
            accounts: self.accounts,
            streams: self.streams,
            by: by.collect(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::WallTime,
        wire::reply::{Reply, decode},
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
