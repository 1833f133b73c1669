//! The activity of an account.

use axum::{Json, extract::RawQuery};

use super::{
    bodies,
    described::{Fails, OfAccount},
    problem::ApiError,
    target::Target,
};
use crate::{
    client::{Consistency, StatusQuery},
    wire::group_by_keys,
};

/// Returns the account's active streams.
#[utoipa::path(
    get,
    path = "/api/v1/accounts/{account}",
    operation_id = "account_activity",
    params(
        OfAccount,
        ("group_by" = Option<Vec<String>>, Query, description = "Metadata keys to count by, repeated or separated by commas"),
        ("consistency" = Option<String>, Query, description = "local (default), or strong: includes all that RabbitMQ had confirmed before the request"),
    ),
    responses(
        (status = 200, description = "The activity", body = bodies::Activity),
        Fails,
    )
)]
pub(super) async fn activity(
    target: Target,
    RawQuery(query): RawQuery,
) -> Result<Json<bodies::Activity>, ApiError> {
    let query = status_query(query.as_deref().unwrap_or_default())?;
    let status = target.activity(&query).await?;
    Ok(Json(bodies::Activity::new(status.activity, status.by)))
}

/// Decodes the query of an activity.
///
/// # Errors
/// If a part of it is not acceptable.
pub fn status_query(query: &str) -> Result<StatusQuery, ApiError> {
    let mut keys = Vec::new();
    let mut consistency = Consistency::Local;
    for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
        let plain = value.replace('+', " ");
        let decode = |text: &str| {
            let decoded = percent_encoding::percent_decode_str(text).decode_utf8();
            let decoded = decoded.map(std::borrow::Cow::into_owned);
            decoded.map_err(|_| ApiError::bad("group_by", "must be percent-encoded UTF-8"))
        };
        match (name, plain.as_str()) {
            ("group_by", "") => {}
            // A key can contain an escaped comma.
            ("group_by", list) => {
                for key in list.split(',') {
                    keys.push(decode(key)?);
                }
            }
            ("consistency", "local") => consistency = Consistency::Local,
            ("consistency", "strong") => consistency = Consistency::Strong,
            ("consistency", _) => {
                let detail = "must be local or strong, not another string";
                return Err(ApiError::bad("consistency", detail));
            }
            _ => {}
        }
    }
    Ok(StatusQuery {
        stream: None,
        group_by: group_by_keys(keys.iter().map(String::as_str))?,
        consistency,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_lists_keys_and_a_consistency() {
        let query = status_query("group_by=device,a%2Cb&consistency=strong&x=1&group_by=c+d");
        let query = query.unwrap();
        assert_eq!(query.group_by, ["device", "a,b", "c d"]);
        assert_eq!(query.consistency, Consistency::Strong);
        assert_eq!(status_query("").unwrap(), StatusQuery::default());
        for bad in ["consistency=x", "group_by=a,,b", "group_by=%ff"] {
            assert!(status_query(bad).is_err(), "{bad}");
        }
    }
}
