//! A user and its permissions.

/// A user of RabbitMQ, and its permissions in the installation's virtual host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Role {
    /// The name of the user.
    pub user: String,
    /// A description of the user, for documents.
    pub purpose: &'static str,
    /// A regular expression of the exchanges and queues that it may declare and delete.
    pub configure: String,
    /// A regular expression of the exchanges it may publish to, and of the exchanges and queues
    /// that it may bind.
    pub write: String,
    /// A regular expression of the queues it may consume, and of the exchanges it may bind from.
    pub read: String,
    /// The permitted routing keys of topic exchanges.
    pub topics: Vec<TopicPermission>,
}

/// The routing keys of one topic exchange that a role may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicPermission {
    /// The name of the exchange.
    pub exchange: String,
    /// A regular expression of the keys that it may publish with.
    pub write: String,
    /// A regular expression of the keys that it may bind with.
    pub read: String,
}
