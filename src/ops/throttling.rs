//! Counters and log lines of throttled requests.

use std::collections::HashMap;

use metrics::{Counter, counter, describe_counter};

use super::{RateLimit, exposition::OTHERS, figures::MAX_TENANTS};

const THROTTLED: &str = "streamwatch_throttled_total";
const BY_TENANT: &str = "streamwatch_tenant_throttled_total";

/// A throttled request.
#[derive(Clone, Copy, Debug)]
pub struct ThrottledRequest<'a> {
    /// Its kind: `init` or `status`.
    pub kind: &'static str,
    /// The limit: that of the `tenant` or of the `account`.
    pub limit: &'static str,
    /// Whether it got a reply.
    pub replied: bool,
    /// Its tenant; `None` if its name is not valid.
    pub tenant: Option<&'a str>,
}

/// Counters of throttled requests. The first tenants that were throttled have series of their own.
pub struct ThrottleMetrics {
    /// By kind, limit and outcome.
    counters: HashMap<(&'static str, &'static str, bool), Counter>,
    tenants: HashMap<String, Counter>,
    others: Option<Counter>,
    lines: RateLimit,
}

impl ThrottleMetrics {
    /// Registers the counters, for each of these kinds and limits.
    pub fn new(kinds: &[&'static str], limits: &[&'static str]) -> Self {
        describe_counter!(
            THROTTLED,
            "Requests beyond --tenant-inits-per-second and the other limits of throttling, by the \
             limit of a tenant or an account. Those that are dropped get no reply, because their \
             tenant or account has got as many as its limit. One worker consumes each: sum() over \
             workers."
        );
        describe_counter!(
            BY_TENANT,
            "Throttled requests by tenant: the first 50 tenants that this worker throttled, all \
             others as (other). One worker consumes each: sum() over workers."
        );
        let mut counters = HashMap::new();
        for &kind in kinds {
            for &limit in limits {
                for (replied, outcome) in [(true, "replied"), (false, "dropped")] {
                    let counter =
                        counter!(THROTTLED, "kind" => kind, "limit" => limit, "outcome" => outcome);
                    counters.insert((kind, limit, replied), counter);
                }
            }
        }
        Self {
            counters,
            tenants: HashMap::new(),
            others: None,
            lines: RateLimit::new(1),
        }
    }

    /// Counts a request, and logs it if no other was logged in this second.
    pub fn count(&mut self, request: ThrottledRequest, now_s: u64) {
        let ThrottledRequest {
            kind,
            limit,
            replied,
            tenant,
        } = request;
        if let Some(counter) = self.counters.get(&(kind, limit, replied)) {
            counter.increment(1);
        }
        self.of_tenant(tenant).increment(1);
        if let Some(suppressed) = self.lines.admit_line(now_s) {
            let tenant = tenant.unwrap_or("(invalid)");
            tracing::warn!(tenant, kind, limit, suppressed, "throttled a request");
        }
    }

    fn of_tenant(&mut self, tenant: Option<&str>) -> &Counter {
        let named = tenant.filter(|tenant| {
            self.tenants.contains_key(*tenant) || self.tenants.len() < MAX_TENANTS
        });
        let Some(name) = named else {
            return self
                .others
                .get_or_insert_with(|| counter!(BY_TENANT, "tenant" => OTHERS));
        };
        // Not `entry`, which would allocate the name of each request.
        if !self.tenants.contains_key(name) {
            let counter = counter!(BY_TENANT, "tenant" => name.to_owned());
            self.tenants.insert(name.to_owned(), counter);
        }
        &self.tenants[name]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_tenants_with_series_is_bounded() {
        let mut metrics = ThrottleMetrics::new(&["init"], &["tenant"]);
        for n in 0..1_000 {
            let tenant = format!("t{n}");
            let request = ThrottledRequest {
                kind: "init",
                limit: "tenant",
                replied: true,
                tenant: Some(tenant.as_str()).filter(|_| n != 3),
            };
            metrics.count(request, 7);
        }
        assert_eq!(metrics.tenants.len(), MAX_TENANTS);
        assert!(!metrics.tenants.contains_key("t3"));
        assert!(metrics.others.is_some());
        assert_eq!(metrics.lines.admit_line(8), Some(999));
    }
}
