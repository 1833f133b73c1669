//! Arguments of throttling.

use crate::{
    cli::{mistakes::Mistakes, setting::Setting},
    domain::Throttling,
};

/// Limits of requests per second.
#[derive(clap::Args, Clone, Debug, Default)]
pub(super) struct ThrottlingArgs {
    /// Most init requests of one tenant per second, 0 for no limit [default: 0]
    #[arg(long, env = "STREAMWATCH_TENANT_INITS_PER_SECOND", value_name = "N")]
    tenant_inits_per_second: Option<Setting<u32>>,
    /// Most status requests of one tenant per second, 0 for no limit [default: 0]
    #[arg(long, env = "STREAMWATCH_TENANT_STATUSES_PER_SECOND", value_name = "N")]
    tenant_statuses_per_second: Option<Setting<u32>>,
    /// Most init requests of one account per second at each worker, 0 for no limit [default: 0]
    #[arg(long, env = "STREAMWATCH_ACCOUNT_INITS_PER_SECOND", value_name = "N")]
    account_inits_per_second: Option<Setting<u32>>,
    /// Most status requests of one account per second at each worker, 0 for no limit [default: 0]
    #[arg(
        long,
        env = "STREAMWATCH_ACCOUNT_STATUSES_PER_SECOND",
        value_name = "N"
    )]
    account_statuses_per_second: Option<Setting<u32>>,
}

impl ThrottlingArgs {
    /// Sets the limits that are given, or notes the mistakes.
    pub(super) fn check(&self, limits: &mut Throttling, mistakes: &mut Mistakes) {
        let Throttling {
            tenant_inits_per_second,
            tenant_statuses_per_second,
            account_inits_per_second,
            account_statuses_per_second,
        } = limits;
        mistakes.set(&self.tenant_inits_per_second, tenant_inits_per_second);
        mistakes.set(&self.tenant_statuses_per_second, tenant_statuses_per_second);
        mistakes.set(&self.account_inits_per_second, account_inits_per_second);
        mistakes.set(
            &self.account_statuses_per_second,
            account_statuses_per_second,
        );
    }

    pub(super) const fn is_empty(&self) -> bool {
        matches!(
            self,
            Self {
                tenant_inits_per_second: None,
                tenant_statuses_per_second: None,
                account_inits_per_second: None,
                account_statuses_per_second: None,
            }
        )
    }
}
