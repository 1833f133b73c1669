//! Namespaces of installations.

/// Longest namespace, in bytes: names with it must fit into AMQP's 255 bytes.
pub const MAX_NAMESPACE_BYTES: usize = 64;

/// A namespace that is not `[A-Za-z0-9_.-]{0,64}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a namespace is at most {MAX_NAMESPACE_BYTES} characters of A-Z a-z 0-9 _ . -")]
pub struct NamespaceError;

pub(super) fn is_namespace(text: &str) -> bool {
    text.len() <= MAX_NAMESPACE_BYTES && text.bytes().all(is_plain)
}

/// Returns whether an operator may use this byte in a name.
pub(super) fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_.-".contains(&byte)
}
