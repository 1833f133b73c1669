//! Requests about all accounts of a tenant, answered from the state. Reading the accounts of a
//! partition takes longer than an answer may delay entries, so pages are collected in small steps.

use super::{
    Effect, Now, Replica,
    in_flight::{HeldContent, Pending},
    requests::STATUS_MS,
};
use crate::domain::{TenantAnswer, TenantRequest, TenantTotals, TotalsRequest};

/// Maximum number of pages collected in one pass. All of its replies are encoded at once.
const MAX_PAGES: usize = 4;

impl<T> Replica<T> {
    /// Answers a request about a tenant: totals at once, accounts when [`Self::scan`] has
    /// collected them.
    pub fn about_tenant(&mut self, request: T, content: TenantRequest, now: Now) {
        // Totals are incomplete while streams are counted by other keys.
        let is_ready = self.is_live(now.mono)
            && (matches!(content, TenantRequest::Accounts(_))
                || self.accounts.indexes.values.uncounted().is_none());
        match content {
            content if !is_ready => self.hold(request, HeldContent::Tenant(content), now),
            TenantRequest::Totals(totals) => self.answer_totals(request, totals, now),
            TenantRequest::Accounts(accounts) => {
                self.requests.next_pages.push_back(Pending {
                    request,
                    at: now.mono,
                    content: accounts,
                });
                self.collect_next();
            }
        }
    }

    fn answer_totals(&mut self, request: T, totals: TotalsRequest, now: Now) {
        let TotalsRequest { tenant, group_by } = totals;
        let at = self.read_estimate(now.mono);
        let of_tenant = self.totals_of(tenant.as_str());
        let keys = self.counted_keys().iter();
        let keys = keys.filter(|key| group_by.is_empty() || group_by.contains(key));
        let by = keys.map(|key| (key.clone(), self.values_of(tenant.as_str(), key)));
        let by = by.collect();
        let answer = TenantAnswer::Totals(TenantTotals {
            as_of: self.clock.shift().show(at),
            tenant,
            accounts: of_tenant.accounts,
            streams: of_tenant.streams,
            by,
        });
        self.effects.push(Effect::AnswerTenant { request, answer });
    }

    /// Starts a pass for the requests that wait, unless one is under way.
    fn collect_next(&mut self) {
        let requests = &mut self.requests;
        if !requests.pages.is_empty() || requests.next_pages.is_empty() {
            return;
        }
        let count = requests.next_pages.len().min(MAX_PAGES);
        requests.pages.extend(requests.next_pages.drain(..count));
        let contents = requests.pages.iter().map(|page| page.content.clone());
        self.accounts.begin_scan(contents.collect());
    }

    /// Whether [`Self::scan`] has work.
    #[must_use]
    pub const fn is_scanning(&self) -> bool {
        self.accounts.scan.is_some() || self.accounts.indexes.values.uncounted().is_some()
    }

    /// Visits some accounts, for requests and for counts by new metadata keys, in less than a
    /// millisecond. Call it again while [`Self::is_scanning`].
    pub fn scan(&mut self, now: Now) {
        let at = self.read_estimate(now.mono);
        let Some(collected) = self.accounts.scan(at, self.clock.shift()) else {
            return;
        };
        let is_live = self.is_live(now.mono);
        for (pending, page) in self.requests.pages.drain(..).zip(collected) {
            self.effects
                .push(if now.mono.ms_since(pending.at) >= STATUS_MS {
                    Effect::Late(pending.request)
                } else if is_live {
                    Effect::AnswerTenant {
                        request: pending.request,
                        answer: TenantAnswer::Accounts(page),
                    }
                } else {
                    pending.release()
                });
        }
        self.collect_next();
    }
}
