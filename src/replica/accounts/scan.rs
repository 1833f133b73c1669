//! Pages of tenants' accounts, collected in one pass over the slots for several requests at once.
//!
//! The pass advances in small steps, between which accounts change. Each account that exists all
//! the time is visited once: one that moves from a slot ahead of the pass to a slot behind it is
//! visited at the move.

use std::collections::BTreeMap;

use compact_str::CompactString;

use super::slots::{Slot, SlotId};
use crate::domain::{
    AccountCount, AccountId, AccountsPage, AccountsRequest, LogTime, WallShift, WallTime,
};

/// Cost of an account that is added to a page, in visits of slots.
const ADDED: usize = 8;

/// A pass over the slots.
#[derive(Debug)]
pub(in crate::replica) struct Scan {
    /// The next slot.
    place: usize,
    /// Log time of the last step.
    at: LogTime,
    /// Lowest `min_active` of the pages.
    least: u32,
    pages: Vec<Page>,
}

/// A page that is being collected: the first accounts after a given one.
#[derive(Debug)]
struct Page {
    request: AccountsRequest,
    found: BTreeMap<CompactString, u32>,
    has_more: bool,
}

impl Scan {
    pub(super) fn new(requests: Vec<AccountsRequest>) -> Self {
        let least = requests.iter().map(|request| request.min_active).min();
        let pages = requests.into_iter().map(|request| Page {
            request,
            found: BTreeMap::new(),
            has_more: false,
        });
        Self {
            place: 0,
            at: LogTime(0),
            least: least.unwrap_or(u32::MAX),
            pages: pages.collect(),
        }
    }

    /// Visits slots from the current position on, up to a total cost, at log time `at`. Returns
    /// whether slots are left.
    pub(super) fn step<'s>(
        &mut self,
        slots: impl Iterator<Item = &'s Slot>,
        at: LogTime,
        mut budget: usize,
    ) -> bool {
        self.at = at;
        for slot in slots {
            self.place += 1;
            let cost = self.visit(slot);
            if cost >= budget {
                return true;
            }
            budget -= cost;
        }
        false
    }

    pub(super) const fn place(&self) -> usize {
        self.place
    }

    /// Visits the account that has moved from one slot to another, if the pass would miss it.
    pub(super) fn moved(&mut self, from: SlotId, to: SlotId, slot: &Slot) {
        if to.place() < self.place && self.place <= from.place() {
            self.visit(slot);
        }
    }

    /// Adds an account to the pages to which it belongs. Returns the cost.
    fn visit(&mut self, slot: &Slot) -> usize {
        // The count is not updated until an expiry is processed, and never too low.
        if slot.counted.active < self.least {
            return 1;
        }
        let (mut cost, mut count) = (1 + self.pages.len() / 2, None);
        for page in &mut self.pages {
            if let Some(account) = page.concerns(slot) {
                let count = *count.get_or_insert_with(|| {
                    cost += slot.account.records() / 8;
                    u32::try_from(slot.account.count(self.at)).unwrap_or(u32::MAX)
                });
                cost += page.add(account, count);
            }
        }
        cost
    }

    /// The pages at the time of the last step, in the order of their requests.
    pub(super) fn collected(self, shift: WallShift) -> Vec<AccountsPage> {
        let as_of = shift.show(self.at);
        let pages = self.pages.into_iter().map(|page| page.collected(as_of));
        pages.collect()
    }
}

impl Page {
    /// The account in the slot, if it is one of the tenant's and may have enough streams.
    fn concerns<'s>(&self, slot: &'s Slot) -> Option<&'s str> {
        if slot.counted.active < self.request.min_active {
            return None;
        }
        let key = slot.key.as_str();
        let account = key.strip_prefix(self.request.tenant.as_str())?;
        account.strip_prefix('/')
    }

    /// Adds an account if it belongs to the page. Returns the cost.
    fn add(&mut self, account: &str, count: u32) -> usize {
        let is_before = self
            .request
            .after
            .as_ref()
            .is_some_and(|it| account <= it.as_str());
        if is_before || count < self.request.min_active {
            return 1;
        }
        let limit = usize::from(self.request.limit);
        let last = self
            .found
            .last_key_value()
            .filter(|_| self.found.len() >= limit);
        if last.is_some_and(|(last, _)| account > last.as_str()) {
            self.has_more = true;
            return 1;
        }
        self.found.insert(account.into(), count);
        if self.found.len() > limit {
            self.found.pop_last();
            self.has_more = true;
        }
        ADDED
    }

    fn collected(self, as_of: WallTime) -> AccountsPage {
        let accounts = self.found.into_iter().filter_map(|(account, count)| {
            let account = AccountId::new(&account).ok()?;
            Some(AccountCount { account, count })
        });
        AccountsPage {
            tenant: self.request.tenant,
            as_of,
            accounts: accounts.collect(),
            has_more: self.has_more,
        }
    }
}
