//! Regular expressions of permissions.

use crate::{broker::Names, wire::Kind};

/// A pattern that matches no exchange and no queue, since their names are not empty.
pub(super) const NOTHING: &str = "^$";

/// A pattern of the kinds that players may publish.
pub(super) fn kinds() -> String {
    kinds_of(&Kind::OF_PLAYERS)
}

pub(super) fn kinds_of(kinds: &[Kind]) -> String {
    let words: Vec<_> = kinds.iter().map(|kind| kind.as_str()).collect();
    format!("({})", words.join("|"))
}

/// A pattern of the names of one exchange or queue in any partition.
pub(super) fn of_any_partition(names: &Names, name: fn(&Names, u16) -> String) -> String {
    let mut pattern = escaped(&name(names, 0));
    // The last occurrence: the namespace may contain `p00` too.
    if let Some(at) = pattern.rfind("p00") {
        pattern.replace_range(at..at + 3, "p[0-9]{2}");
    }
    pattern
}

/// A regular expression that matches exactly `name`.
pub(in crate::broker::topology) fn escaped(name: &str) -> String {
    name.replace('.', "\\.")
}

/// A regular expression that matches any of `expressions` completely.
pub(in crate::broker::topology) fn any_of(expressions: &[String]) -> String {
    match expressions {
        [one] => format!("^{one}$"),
        several => format!("^({})$", several.join("|")),
    }
}
