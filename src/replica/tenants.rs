//! Requests about all accounts of a tenant, answered from the state. Reading the accounts of a
//! partition takes longer than an answer may delay entries, so pages are collected in small steps.

use super::{
    Effect, Now, Replica,
    in_flight::{PendingContent, PendingPage},
    requests::STATUS_MS,
};
use crate::domain::{
    AccountsPage, AccountsRequest, TenantAnswer, TenantRequest, TenantTotals, TotalsRequest,
};

/// Maximum number of pages collected in one pass. All of its replies are encoded at once.
const MAX_PAGES: usize = 4;

impl<T> Replica<T> {
    /// Answers a request about a tenant: totals at once, accounts when [`Self::scan`] has
    /// collected them.
    pub fn about_tenant(&mut self, request: T, content: TenantRequest, now: Now) {
        // Totals are incomplete while streams are counted by other keys.
        let is_ready = self.is_live(now.mono)
            && (matches!(content, TenantRequest::Accounts(_))
                || self.accounts.values_are_counted());
        match content {
            content if !is_ready => self.hold(request, PendingContent::Tenant(content), now),
            TenantRequest::Totals(totals) => self.answer_totals(request, totals, now),
            TenantRequest::Accounts(accounts) => {
                let next = &mut self.requests.pages.next;
                next.push_back((request, accounts, now.mono));
                self.collect_next();
            }
        }
    }

    fn answer_totals(&mut self, request: T, totals: TotalsRequest, now: Now) {
        let TotalsRequest { tenant, group_by } = totals;
        let of_tenant = self.accounts.of_tenant(tenant.as_str());
        let keys = self.accounts.counted_keys().iter();
        let keys = keys.filter(|key| group_by.is_empty() || group_by.contains(key));
        let by = keys.map(|key| (key.clone(), self.accounts.values_of(tenant.as_str(), key)));
        let by = by.collect();
        let at = self.read_estimate(now.mono);
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
        let pages = &mut self.requests.pages;
        if !pages.collecting.is_empty() || pages.next.is_empty() {
            return;
        }
        let count = pages.next.len().min(MAX_PAGES);
        let mut contents: Vec<AccountsRequest> = Vec::with_capacity(count);
        for (request, content, at) in pages.next.drain(..count) {
            let tenant = content.tenant.clone();
            pages.collecting.push(PendingPage {
                request,
                tenant,
                at,
            });
            contents.push(content);
        }
        self.accounts.begin_scan(contents);
    }

    /// Whether [`Self::scan`] has work.
    #[must_use]
    pub const fn is_scanning(&self) -> bool {
        self.accounts.is_scanning()
    }

    /// Visits some accounts, for requests and for counts by new metadata keys, in less than a
    /// millisecond. Call it again while [`Self::is_scanning`].
    pub fn scan(&mut self, now: Now) {
        let at = self.read_estimate(now.mono);
        let Some(collected) = self.accounts.scan(at) else {
            return;
        };
        let pending = std::mem::take(&mut self.requests.pages.collecting);
        for (pending, page) in pending.into_iter().zip(collected) {
            let PendingPage {
                request,
                tenant,
                at: asked,
            } = pending;
            if now.mono.ms_since(asked) >= STATUS_MS {
                self.effects.push(Effect::Late(request));
                continue;
            }
            if !self.is_live(now.mono) {
                self.effects.push(Effect::Release(request));
                continue;
            }
            let answer = TenantAnswer::Accounts(AccountsPage {
                tenant,
                as_of: self.clock.shift().show(at),
                accounts: page.accounts,
                has_more: page.has_more,
            });
            self.effects.push(Effect::AnswerTenant { request, answer });
        }
        self.collect_next();
    }

    /// Requeues the requests for accounts.
    pub(super) fn release_pages(&mut self) {
        self.accounts.abandon_scan();
        let pages = std::mem::take(&mut self.requests.pages);
        let collecting = pages.collecting.into_iter().map(|page| page.request);
        let waiting = pages.next.into_iter().map(|(request, ..)| request);
        let requests = collecting.chain(waiting).map(Effect::Release);
        self.effects.extend(requests);
    }
}
