//! Streams by the values of metadata keys.

use super::{Exposition, OTHERS, Partitions};
use crate::ops::figures::{MAX_TENANTS_BY_VALUE, MAX_VALUES_SHOWN, ReplicaContents};

/// Writes the streams of tenants by the values of the metadata keys that the installation counts.
pub(super) fn by_value(page: &mut Exposition, held: &Partitions<&ReplicaContents>, same: &str) {
    if held.iter().all(|(_, held)| held.values.is_empty()) {
        return;
    }
    let name = "streamwatch_tenant_active_streams_by";
    let help = format!(
        "Active streams by the values of the metadata keys of --count-by: the {MAX_VALUES_SHOWN} \
         values with the most streams, all others as {OTHERS}, of the {MAX_TENANTS_BY_VALUE} \
         tenants with the most streams of each partition. {same}"
    );
    page.family(name, "gauge", &help);
    for (partition, held) in held {
        for of_key in &held.values {
            let of = |value: &str, count: u64, page: &mut Exposition| {
                let labels = [
                    ("partition", partition.as_str()),
                    ("tenant", &of_key.tenant),
                    ("key", &escaped(&of_key.key)),
                    ("value", &escaped(value)),
                ];
                page.value(name, &labels, count);
            };
            // A series is there once, even if a player sends this value.
            let mut others = of_key.counts.others;
            for (value, count) in &of_key.counts.values {
                if value == OTHERS {
                    others += count;
                } else {
                    of(value, *count, page);
                }
            }
            of(OTHERS, others, page);
        }
    }
}

/// The text of a player as the value of a label.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\\' => escaped.push_str("\\\\"),
            '"' => escaped.push_str("\\\""),
            '\n' => escaped.push_str("\\n"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{domain::ValueCounts, ops::figures::TenantValues};

    fn lines(values: Vec<(String, u64)>, others: u64) -> Vec<String> {
        let held = ReplicaContents {
            values: vec![TenantValues {
                tenant: "acme".to_owned(),
                key: "channel".to_owned(),
                counts: ValueCounts { values, others },
            }],
            ..ReplicaContents::default()
        };
        let mut page = Exposition(String::new());
        by_value(&mut page, &vec![("03".to_owned(), &held)], "");
        let lines = page.0.lines().filter(|line| !line.starts_with('#'));
        lines.map(str::to_owned).collect()
    }

    #[test]
    fn the_text_of_players_is_escaped_in_labels() {
        let begin = "streamwatch_tenant_active_streams_by{partition=\"03\",tenant=\"acme\",\
                     key=\"channel\",value=";
        let values = vec![("a\"b\\c\nd".to_owned(), 2), ("é".to_owned(), 1)];
        assert_eq!(
            lines(values, 7),
            [
                format!("{begin}\"a\\\"b\\\\c\\nd\"}} 2"),
                format!("{begin}\"é\"}} 1"),
                format!("{begin}\"(other)\"}} 7"),
            ]
        );
        let values = vec![("(other)".to_owned(), 2)];
        assert_eq!(lines(values, 7), [format!("{begin}\"(other)\"}} 9")]);
    }

    #[test]
    fn no_family_is_written_if_nothing_is_counted() {
        let mut page = Exposition(String::new());
        by_value(
            &mut page,
            &vec![("03".to_owned(), &ReplicaContents::default())],
            "",
        );
        assert_eq!(page.0, "");
    }
}
