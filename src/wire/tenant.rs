//! Requests about a tenant.

use serde::Deserialize;

use super::{
    Code, Kind, Message, Problem, RoutingKey,
    fields::{Text, Whole},
    request::bytes,
    shared_fields::group_by,
};
use crate::domain::{
    AccountId, AccountsRequest, MAX_ACCOUNTS, Tenant, TenantRequest, TotalsRequest,
};

/// Number of accounts in an answer to a request that states none.
const DEFAULT_LIMIT: u16 = 100;

type UpTo1000 = Whole<1, 1_000>;

const _: () = assert!(MAX_ACCOUNTS == 1_000);

#[derive(Deserialize)]
struct AccountsBody<'a> {
    min_active: Option<UpTo1000>,
    #[serde(borrow)]
    after: Option<Text<'a>>,
    limit: Option<UpTo1000>,
}

#[derive(Deserialize)]
struct TotalsBody<'a> {
    #[serde(borrow)]
    group_by: Option<Vec<Text<'a>>>,
}

pub(super) fn totals(message: &Message, key: &RoutingKey) -> Result<TenantRequest, Problem> {
    let tenant = tenant_of(key)?;
    let body: TotalsBody = message.json()?;
    Ok(TenantRequest::Totals(TotalsRequest {
        tenant,
        group_by: group_by(body.group_by)?,
    }))
}

pub(super) fn accounts(message: &Message, key: &RoutingKey) -> Result<TenantRequest, Problem> {
    let tenant = tenant_of(key)?;
    let body: AccountsBody = message.json()?;
    let after = body.after.map(|Text(account)| {
        AccountId::new(&account)
            .map_err(|error| Problem::field(Code::BadField, "after", error.to_string()))
    });
    Ok(TenantRequest::Accounts(AccountsRequest {
        tenant,
        min_active: body.min_active.map_or(1, |n| n.0),
        after: after.transpose()?,
        limit: body.limit.map_or(DEFAULT_LIMIT, |n| {
            u16::try_from(n.0).unwrap_or(MAX_ACCOUNTS)
        }),
    }))
}

fn tenant_of(key: &RoutingKey) -> Result<Tenant, Problem> {
    Tenant::new(key.tenant).map_err(|error| Problem::new(Code::BadTenant, error.to_string()))
}

/// The kind and the body of a request about a tenant.
#[must_use]
pub fn tenant_body(request: &TenantRequest) -> (Kind, Vec<u8>) {
    match request {
        TenantRequest::Accounts(request) => (Kind::Accounts, bytes(request)),
        TenantRequest::Totals(request) => (Kind::Totals, bytes(request)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::wire::{Query, query};

    fn decoded(routing_key: &str, body: &str) -> Result<TenantRequest, Problem> {
        let message = Message {
            exchange: "streamwatch",
            routing_key,
            body: body.as_bytes(),
            ..Message::default()
        };
        query(&message).map(|query| match query {
            Query::Tenant(request) => request,
            Query::Account(status) => panic!("{status:?}"),
        })
    }

    fn accounts(min_active: u32, after: Option<&str>, limit: u16) -> TenantRequest {
        TenantRequest::Accounts(AccountsRequest {
            tenant: Tenant::new("acme").unwrap(),
            min_active,
            after: after.map(|account| AccountId::new(account).unwrap()),
            limit,
        })
    }

    #[test]
    fn a_request_without_fields_asks_for_the_first_hundred_accounts() {
        assert_eq!(decoded("acme.accounts", "{}"), Ok(accounts(1, None, 100)));
        let totals = TotalsRequest {
            tenant: Tenant::new("acme").unwrap(),
            group_by: Vec::new(),
        };
        let expected = Ok(TenantRequest::Totals(totals));
        assert_eq!(decoded("acme.totals", "{}"), expected);
    }

    #[test]
    fn the_bounds_of_a_request_are_accepted_and_values_beyond_them_are_not() {
        for n in [1, 1_000] {
            let body = format!(r#"{{"min_active": {n}, "limit": {n}, "after": "a/é"}}"#);
            let expected = accounts(n, Some("a/é"), u16::try_from(n).unwrap());
            assert_eq!(decoded("acme.accounts", &body), Ok(expected));
        }
        let long = "x".repeat(129);
        for (field, value) in [
            ("min_active", "0".to_owned()),
            ("min_active", "1001".to_owned()),
            ("limit", "0".to_owned()),
            ("limit", "1001".to_owned()),
            ("limit", "\"ten\"".to_owned()),
            ("after", "7".to_owned()),
            ("after", "\"\"".to_owned()),
            ("after", format!("{long:?}")),
        ] {
            let problem = decoded("acme.accounts", &format!("{{{field:?}: {value}}}")).unwrap_err();
            assert_eq!(
                (problem.code, problem.field.as_deref()),
                (Code::BadField, Some(field)),
                "{value}"
            );
        }
        let sixteen: Vec<_> = (0..16).map(|n| n.to_string()).collect();
        let body = json!({ "group_by": sixteen }).to_string();
        assert!(decoded("acme.totals", &body).is_ok());
        let seventeen: Vec<_> = (0..17).map(|n| n.to_string()).collect();
        let body = json!({ "group_by": seventeen }).to_string();
        let problem = decoded("acme.totals", &body).unwrap_err();
        assert_eq!(problem.field.as_deref(), Some("group_by"));
    }

    #[test]
    fn a_request_about_a_tenant_names_no_account_in_its_routing_key() {
        let code = |key, body| decoded(key, body).unwrap_err().code;
        assert_eq!(code("acme.accounts.alice", "{}"), Code::AccountMismatch);
        assert_eq!(code("acme.totals.", "{}"), Code::AccountMismatch);
        assert_eq!(code("acme.init", "{}"), Code::UnknownKind);
        assert_eq!(code("a cme.totals", "{}"), Code::BadTenant);
        assert_eq!(code("acme.totals", "[]"), Code::BadJson);
    }

    #[test]
    fn a_worker_decodes_the_requests_of_a_client() {
        let totals = TenantRequest::Totals(TotalsRequest {
            tenant: Tenant::new("acme").unwrap(),
            group_by: vec!["channel".to_owned()],
        });
        for request in [
            accounts(3, Some("zoe"), 7),
            accounts(1, None, 1_000),
            totals,
        ] {
            let (kind, body) = tenant_body(&request);
            let body = String::from_utf8(body).unwrap();
            assert_eq!(decoded(&format!("acme.{kind}"), &body), Ok(request));
        }
    }
}
