//! Requests about all accounts of a tenant, which each partition answers for its own accounts.

use std::collections::BTreeMap;

use super::{Backend, ClientError, backend::other_reply};
use crate::{
    broker::Outgoing,
    domain::{
        AccountCount, AccountId, AccountsPage, AccountsRequest, Tenant, TenantAnswer,
        TenantRequest, TenantTotals, TotalsRequest, ValueCounts, WallTime,
    },
    wire::{self, News, Problem, Reply},
};

/// A page of a tenant's accounts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TenantAccounts {
    /// The moment of the oldest answer.
    pub as_of: WallTime,
    /// The accounts, in the order of their bytes.
    pub accounts: Vec<AccountCount>,
    /// The `after` of the next page; `None` if this is the last one.
    pub next: Option<AccountId>,
    /// The partitions that have not answered in time, whose accounts are missing.
    pub missing: Vec<u16>,
}

/// The totals of a tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Totals {
    /// The moment of the oldest answer.
    pub as_of: WallTime,
    /// Accounts with an active stream.
    pub accounts: u64,
    /// Active streams.
    pub streams: u64,
    /// Active streams by the values of each metadata key that the installation counts.
    pub by: BTreeMap<String, ValueCounts>,
    /// The partitions that have not answered in time, whose streams are missing.
    pub missing: Vec<u16>,
}

impl Backend {
    /// Returns the accounts of a tenant with at least as many active streams as requested, page by
    /// page. Waits until all partitions have answered, or for the patience of this backend.
    ///
    /// # Errors
    /// If no partition answers in time, or the request is rejected.
    pub async fn accounts(&self, request: &AccountsRequest) -> Result<TenantAccounts, ClientError> {
        let all = TenantRequest::Accounts(request.clone());
        let (answers, missing) = self.gather(&request.tenant, &all).await?;
        let pages = answers.into_values().filter_map(|answer| match answer {
            TenantAnswer::Accounts(page) => Some(page),
            TenantAnswer::Totals(_) => None,
        });
        Ok(merged(pages.collect(), request.limit, missing))
    }

    /// Returns the totals of `tenant`, with the counts by the metadata keys of `group_by` that the
    /// installation counts; by all that it counts if there are none. Waits until all partitions
    /// have answered, or for the patience of this backend.
    ///
    /// # Errors
    /// If no partition answers in time, or the request is rejected.
    pub async fn totals(
        &self,
        tenant: &Tenant,
        group_by: &[String],
    ) -> Result<Totals, ClientError> {
        let request = TenantRequest::Totals(TotalsRequest {
            tenant: tenant.clone(),
            group_by: group_by.to_vec(),
        });
        let (answers, missing) = self.gather(tenant, &request).await?;
        let of_partitions = answers.into_values().filter_map(|answer| match answer {
            TenantAnswer::Totals(totals) => Some(totals),
            TenantAnswer::Accounts(_) => None,
        });
        Ok(summed(of_partitions, missing))
    }

    /// Sends a request to each partition. Returns the answers by partition, and the partitions that
    /// have not answered.
    async fn gather(
        &self,
        tenant: &Tenant,
        request: &TenantRequest,
    ) -> Result<(BTreeMap<u16, TenantAnswer>, Vec<u16>), ClientError> {
        let (kind, body) = wire::tenant_body(request);
        let send = Outgoing::new(tenant, kind, None, body);
        let mut sent = self.client.send_to_each(send, self.patience).await?;
        let mut answers = BTreeMap::new();
        let (mut partitions, mut failures, mut failed) = (None, 0, None);
        while partitions.is_none_or(|of| answers.len() + failures < usize::from(of)) {
            let error = match sent.reply().await {
                Ok(Reply::Tenant { answer, partition }) => {
                    partitions = Some(partition.partitions);
                    answers.insert(partition.partition, answer);
                    continue;
                }
                Ok(Reply::News(News::Error { error })) => ClientError::Refused(error),
                Ok(_) => other_reply(),
                Err(error) => error,
            };
            match error {
                // Another partition may answer all the same.
                ClientError::Refused(Problem {
                    retryable: true, ..
                })
                | ClientError::Busy
                    if failures < MAX_FAILURES =>
                {
                    failures += 1;
                    failed = Some(error);
                }
                _ if sent.is_over() && !answers.is_empty() => break,
                error => return Err(failed.unwrap_or(error)),
            }
        }
        if let Some(error) = failed
            && answers.is_empty()
        {
            return Err(error);
        }
        let all = 0..partitions.unwrap_or(0);
        let missing = all.filter(|partition| !answers.contains_key(partition));
        let missing = missing.collect();
        Ok((answers, missing))
    }
}

/// Most retryable errors of partitions before a request fails.
const MAX_FAILURES: usize = 64;

/// Merges the pages of partitions. If a page is not the last one of its partition, accounts after
/// its end are left for the next page: the partition may have further accounts before them.
fn merged(pages: Vec<AccountsPage>, limit: u16, missing: Vec<u16>) -> TenantAccounts {
    let as_of = pages.iter().map(|page| page.as_of).min();
    let ends = pages.iter().filter(|page| page.has_more);
    let end = ends
        .filter_map(|page| page.accounts.last())
        .map(|it| &it.account)
        .min()
        .cloned();
    let mut accounts: Vec<_> = pages.into_iter().flat_map(|page| page.accounts).collect();
    accounts.sort_unstable_by(|a, b| a.account.cmp(&b.account));
    let all = accounts.len();
    accounts.retain(|it| end.as_ref().is_none_or(|end| it.account <= *end));
    accounts.truncate(limit.into());
    let has_more = end.is_some() || accounts.len() < all;
    let last = accounts.last().map(|it| it.account.clone());
    TenantAccounts {
        as_of: as_of.unwrap_or_default(),
        next: last.filter(|_| has_more),
        accounts,
        missing,
    }
}

fn summed(of_partitions: impl Iterator<Item = TenantTotals>, missing: Vec<u16>) -> Totals {
    let mut sum = Totals {
        as_of: WallTime::default(),
        accounts: 0,
        streams: 0,
        by: BTreeMap::new(),
        missing,
    };
    let mut by: BTreeMap<String, (BTreeMap<String, u64>, u64)> = BTreeMap::new();
    for (n, totals) in of_partitions.enumerate() {
        sum.as_of = if n == 0 {
            totals.as_of
        } else {
            sum.as_of.min(totals.as_of)
        };
        sum.accounts += totals.accounts;
        sum.streams += totals.streams;
        for (key, counts) in totals.by {
            let (values, others) = by.entry(key).or_default();
            *others += counts.others;
            for (value, count) in counts.values {
                *values.entry(value).or_default() += count;
            }
        }
    }
    sum.by = by
        .into_iter()
        .map(|(key, (values, others))| {
            let mut values: Vec<_> = values.into_iter().collect();
            // Equal counts stay in the order of their values.
            values.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
            (key, ValueCounts { values, others })
        })
        .collect();
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(accounts: &[&str], has_more: bool) -> AccountsPage {
        let accounts = accounts.iter().map(|account| AccountCount {
            account: AccountId::new(account).unwrap(),
            count: 1,
        });
        AccountsPage {
            tenant: Tenant::new("acme").unwrap(),
            as_of: WallTime(7),
            accounts: accounts.collect(),
            has_more,
        }
    }

    fn names(merged: &TenantAccounts) -> Vec<&str> {
        merged
            .accounts
            .iter()
            .map(|it| it.account.as_str())
            .collect()
    }

    #[test]
    fn pages_of_partitions_are_merged_in_order() {
        let pages = vec![page(&["b", "d"], false), page(&["a", "c"], false)];
        let all = merged(pages.clone(), 100, vec![2]);
        assert_eq!((names(&all), &all.next), (vec!["a", "b", "c", "d"], &None));
        assert_eq!((all.as_of, all.missing), (WallTime(7), vec![2]));
        let first = merged(pages, 3, vec![]);
        assert_eq!(names(&first), ["a", "b", "c"]);
        assert_eq!(first.next, Some(AccountId::new("c").unwrap()));
    }

    #[test]
    fn no_account_is_skipped_if_a_partition_has_more() {
        // The second partition may have an account between c and d.
        let pages = vec![page(&["b", "d"], false), page(&["a", "c"], true)];
        let first = merged(pages, 100, vec![]);
        assert_eq!(names(&first), ["a", "b", "c"]);
        assert_eq!(first.next, Some(AccountId::new("c").unwrap()));
    }

    #[test]
    fn totals_of_partitions_add_up() {
        let of = |news: u64, sport: u64, others: u64| TenantTotals {
            tenant: Tenant::new("acme").unwrap(),
            as_of: WallTime(10 - i64::try_from(news).unwrap()),
            accounts: 1,
            streams: news + sport + others,
            by: vec![(
                "channel".to_owned(),
                ValueCounts {
                    values: vec![("news".to_owned(), news), ("sport".to_owned(), sport)],
                    others,
                },
            )],
        };
        let sum = summed([of(1, 5, 1), of(2, 3, 0)].into_iter(), vec![]);
        assert_eq!((sum.accounts, sum.streams, sum.as_of), (2, 12, WallTime(8)));
        let expected = ValueCounts {
            values: vec![("sport".to_owned(), 8), ("news".to_owned(), 3)],
            others: 1,
        };
        assert_eq!(sum.by["channel"], expected);
    }
}
