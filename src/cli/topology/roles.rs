//! `streamwatch topology roles`: the permissions of each role.

use crate::{
    broker::{
        Addresses, Names,
        topology::{self, Role, RoleScope},
    },
    cli::{arguments::BrokerArgs, mistakes::Mistakes, output::Output, setting::Setting},
    domain::{AccountId, Tenant},
};

/// Default virtual host.
const VHOST: &str = "streamwatch";

/// Arguments of `topology roles`.
#[derive(clap::Args, Clone, Debug, Default, PartialEq)]
pub struct RolesArgs {
    /// The virtual host [default: the address's, else streamwatch]
    #[arg(long, value_name = "VHOST")]
    vhost: Option<String>,
    /// Also print the roles of this tenant: players, backends, subscribers; may be repeated
    #[arg(long, value_name = "TENANT")]
    tenant: Vec<Setting<Tenant>>,
    /// Also print the role of one viewer of each such tenant
    #[arg(long, value_name = "ACCOUNT")]
    account: Option<Setting<AccountId>>,
    /// Also print the role of an edge that serves this tenant; may be repeated
    #[arg(long, value_name = "TENANT")]
    edge: Vec<Setting<Tenant>>,
    /// Also print the roles of MQTT devices
    #[arg(long)]
    mqtt: bool,
}

impl RolesArgs {
    /// Returns the virtual host, by default that of `addresses`, and the requested roles, or notes
    /// the mistakes.
    pub(super) fn check(
        &self,
        addresses: Option<&Addresses>,
        mistakes: &mut Mistakes,
    ) -> (String, RoleScope) {
        let mut taken = |tenants: &[Setting<Tenant>]| {
            let tenants = tenants.iter();
            tenants.filter_map(|tenant| mistakes.take(tenant)).collect()
        };
        let tenants = taken(&self.tenant);
        let edge = taken(&self.edge);
        let account = mistakes.take(&self.account);
        if account.is_some() && self.tenant.is_empty() {
            mistakes.note("--account: needs one --tenant");
        }
        let given = self.vhost.as_deref().or(addresses.map(Addresses::vhost));
        let whose = RoleScope {
            tenants,
            account,
            edge,
            by_mqtt: self.mqtt,
        };
        (given.unwrap_or(VHOST).to_owned(), whose)
    }

    /// Prints the permissions, as text in the form of commands that set them.
    pub(super) fn run(&self, broker: &BrokerArgs, output: Output) -> Result<(), Mistakes> {
        let mut mistakes = Mistakes::default();
        let addresses = broker.addresses_if_given(&mut mistakes);
        let (vhost, whose) = self.check(addresses.as_ref(), &mut mistakes);
        let given = broker.names(&mut mistakes).and_then(|names| {
            let roles = list(&names, &whose, &mut mistakes)?;
            Some((names, roles))
        });
        let (names, roles) = mistakes.finish(given)?;
        let json = topology::permissions(&names, &roles, &vhost);
        output.print(commands(&roles, &vhost), &json);
        Ok(())
    }
}

pub(super) fn list(names: &Names, whose: &RoleScope, mistakes: &mut Mistakes) -> Option<Vec<Role>> {
    let roles = topology::roles(names, whose);
    if roles.is_none() {
        mistakes.note("--account: it is too long for a routing key, encoded");
    }
    roles
}

/// Returns the commands that set the permissions. Topic permissions come first, as a user without
/// any may publish with every routing key.
fn commands(roles: &[Role], vhost: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let vhost = quoted(vhost);
    for role in roles {
        let user = quoted(&role.user);
        lines.push(format!("# {}", role.purpose));
        lines.push(format!(
            "rabbitmqctl add_user {user}   # asks for a password"
        ));
        for it in &role.topics {
            let [exchange, write, read] = [&it.exchange, &it.write, &it.read].map(|s| quoted(s));
            lines.push(format!(
                "rabbitmqctl set_topic_permissions --vhost {vhost} {user} {exchange} {write} {read}"
            ));
        }
        let all = [&role.configure, &role.write, &role.read].map(|s| quoted(s));
        let [configure, write, read] = all;
        lines.push(format!(
            "rabbitmqctl set_permissions --vhost {vhost} {user} {configure} {write} {read}"
        ));
    }
    lines
}

/// Quotes one word for a shell.
fn quoted(word: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"_-./%".contains(&b);
    if !word.is_empty() && word.bytes().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_words_of_a_shell_and_topics_come_first() {
        let tenant = Tenant::new("acme").unwrap();
        let whose = RoleScope {
            tenants: vec![tenant],
            ..RoleScope::default()
        };
        let roles = topology::roles(&Names::default(), &whose).unwrap();
        let lines = commands(&roles, "it's tv");
        let player: Vec<_> = lines
            .iter()
            .filter(|line| line.contains("streamwatch.acme.player"))
            .collect();
        assert_eq!(
            player,
            [
                "rabbitmqctl add_user streamwatch.acme.player   # asks for a password",
                "rabbitmqctl set_topic_permissions --vhost 'it'\\''s tv' streamwatch.acme.player \
                 streamwatch '^acme\\.(init|heartbeat|stop|status)(\\.[^.]+)?$' '^$'",
                "rabbitmqctl set_permissions --vhost 'it'\\''s tv' streamwatch.acme.player '^$' \
                 '^streamwatch$' '^amq\\.rabbitmq\\.reply-to\\..+$'",
            ]
        );
    }
}
