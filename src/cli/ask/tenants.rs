//! `streamwatch accounts` and `totals`: requests about all accounts of a tenant.

use std::process::ExitCode;

use serde_json::{Map, Value, json};

use super::{BrokerArgs, Mistakes, Output, Patience, Setting, connect, escape, plural, table};
use crate::{
    client::{AccountId, AccountsRequest, Tenant, TenantAccounts, Totals as TenantTotals},
    domain::MAX_ACCOUNTS,
    wire,
};

/// Exit code if a partition has not answered.
const INCOMPLETE: u8 = 5;

/// List a tenant's accounts with active streams, and the number of these
#[derive(clap::Args, Debug)]
pub struct Accounts {
    /// The tenant: 1 to 64 of A-Z a-z 0-9 _ -
    tenant: Setting<Tenant>,
    /// Only accounts with at least this many active streams, 1 to 1000
    #[arg(long, value_name = "N", default_value_t = 1,
          value_parser = clap::value_parser!(u32).range(1..=1_000))]
    min_active: u32,
    /// Only accounts after this one, in the order of their bytes
    #[arg(long, value_name = "ACCOUNT")]
    after: Option<Setting<AccountId>>,
    /// Most accounts to list, 1 to 1000
    #[arg(long, value_name = "N", default_value_t = 100,
          value_parser = clap::value_parser!(u16).range(1..=i64::from(MAX_ACCOUNTS)))]
    limit: u16,
    #[command(flatten)]
    patience: Patience,
}

/// Show a tenant's active streams, by the metadata keys that the installation counts
#[derive(clap::Args, Debug)]
pub struct Totals {
    /// The tenant: A-Z a-z 0-9 _ -
    tenant: Setting<Tenant>,
    /// Only the counts by this metadata key; may be repeated [default: all counted keys, see
    /// `topology set --count-by`]
    #[arg(long, value_name = "KEY")]
    by: Vec<String>,
    #[command(flatten)]
    patience: Patience,
}

/// The line about partitions that have not answered, and the exit code.
fn completeness(missing: &[u16]) -> (Option<String>, ExitCode) {
    if missing.is_empty() {
        return (None, ExitCode::SUCCESS);
    }
    let numbers: Vec<_> = missing.iter().map(|n| format!("{n:02}")).collect();
    let line = format!(
        "incomplete: partition {} did not answer in time",
        numbers.join(", ")
    );
    (Some(line), ExitCode::from(INCOMPLETE))
}

impl Accounts {
    pub async fn run(self, broker: &BrokerArgs, output: Output) -> anyhow::Result<ExitCode> {
        let mut mistakes = Mistakes::default();
        let after = mistakes.take(&self.after);
        let tenant = mistakes.take(&self.tenant);
        let (backend, tenant) = connect(broker, tenant, &self.patience, mistakes)?;
        let request = AccountsRequest {
            tenant,
            min_active: self.min_active,
            after,
            limit: self.limit,
        };
        let TenantAccounts {
            as_of,
            accounts,
            next,
            missing,
        } = backend.accounts(&request).await?;
        let tenant = &request.tenant;
        let mut lines = vec![format!(
            "{tenant}: {} account{} with at least {} active stream{} at {}",
            accounts.len(),
            plural(accounts.len()),
            request.min_active,
            plural(request.min_active),
            wire::show(as_of)
        )];
        if !accounts.is_empty() {
            let mut rows = vec![["account", "streams"].map(str::to_owned)];
            rows.extend(
                accounts
                    .iter()
                    .map(|it| [it.account.to_string(), it.count.to_string()]),
            );
            lines.extend(table(&rows));
        }
        if let Some(next) = &next {
            lines.push(format!("more: --after {}", escape(next.as_str())));
        }
        let (incomplete, code) = completeness(&missing);
        lines.extend(incomplete);
        let accounts = accounts.iter();
        let accounts =
            accounts.map(|it| json!({ "account": it.account.as_str(), "count": it.count }));
        let mut json = json!({
            "tenant": tenant.as_str(), "as_of": wire::show(as_of),
            "accounts": accounts.collect::<Vec<_>>(), "missing_partitions": missing,
        });
        if let Some(next) = next {
            json["next"] = next.as_str().into();
        }
        output.print(lines, &json);
        Ok(code)
    }
}

impl Totals {
    pub async fn run(self, broker: &BrokerArgs, output: Output) -> anyhow::Result<ExitCode> {
        let mut mistakes = Mistakes::default();
        let tenant = mistakes.take(&self.tenant);
        let (backend, tenant) = connect(broker, tenant, &self.patience, mistakes)?;
        let TenantTotals {
            as_of,
            accounts,
            streams,
            by,
            missing,
        } = backend.totals(&tenant, &self.by).await?;
        let mut lines = vec![format!(
            "{tenant}: {streams} active stream{} of {accounts} account{} at {}",
            plural(streams),
            plural(accounts),
            wire::show(as_of)
        )];
        let mut counts = Map::new();
        for (key, of_key) in &by {
            let others = (of_key.others > 0).then(|| ("(other)".to_owned(), of_key.others));
            let all = of_key.values.iter().cloned().chain(others);
            let mut rows = vec![[key.clone(), "streams".to_owned()]];
            rows.extend(all.clone().map(|(value, count)| [value, count.to_string()]));
            lines.push(String::new());
            lines.extend(table(&rows));
            let object = Map::from_iter(all.map(|(value, count)| (value, Value::from(count))));
            counts.insert(key.clone(), object.into());
        }
        for key in self.by.iter().filter(|key| !by.contains_key(*key)) {
            lines.push(format!(
                "{} is not counted: run `streamwatch topology set --count-by`",
                escape(key)
            ));
        }
        let (incomplete, code) = completeness(&missing);
        lines.extend(incomplete);
        let json = json!({
            "tenant": tenant.as_str(), "as_of": wire::show(as_of), "accounts": accounts,
            "streams": streams, "by": counts, "missing_partitions": missing,
        });
        output.print(lines, &json);
        Ok(code)
    }
}
