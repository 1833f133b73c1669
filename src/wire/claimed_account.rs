//! The tenant and the account of a request, read without its body.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use super::{AccountHeader, Message};

/// The tenant and the account that a request's routing key and headers name. Not validated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimedAccount<'a> {
    /// The first word of the routing key.
    pub tenant: &'a str,
    /// The account: that of the routing key, which permissions can bind to one account, else that of
    /// the header.
    pub account: Option<Cow<'a, [u8]>>,
}

impl<'a> ClaimedAccount<'a> {
    /// The tenant and the account of `message`.
    #[must_use]
    pub fn of(message: &Message<'a>) -> Self {
        let mut words = message.routing_key.splitn(3, '.');
        let tenant = words.next().unwrap_or_default();
        let account = match (words.nth(1), message.account) {
            (Some(encoded), _) => Some(percent_decode_str(encoded).into()),
            (None, AccountHeader::Text(text)) => Some(Cow::Borrowed(text)),
            (None, AccountHeader::Absent | AccountHeader::NotText) => None,
        };
        Self { tenant, account }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claimed<'a>(routing_key: &'a str, account: AccountHeader<'a>) -> (&'a str, Option<String>) {
        let message = Message {
            routing_key,
            account,
            ..Message::default()
        };
        let ClaimedAccount { tenant, account } = ClaimedAccount::of(&message);
        let text = account.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        (tenant, text)
    }

    #[test]
    fn the_account_is_that_of_the_routing_key_else_of_the_header() {
        let header = AccountHeader::Text(b"bob");
        let some = |account: &str| Some(account.to_owned());
        assert_eq!(
            claimed("acme.init.al%C3%AF.ce%2e", header),
            ("acme", some("alï.ce."))
        );
        assert_eq!(claimed("acme.init", header), ("acme", some("bob")));
        assert_eq!(
            claimed("acme.status", AccountHeader::NotText),
            ("acme", None)
        );
        assert_eq!(claimed("", AccountHeader::Absent), ("", None));
    }
}
