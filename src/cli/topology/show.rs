//! Output of `topology show`.

use crate::{
    broker::{Names, settings::InForce, topology::QueueState},
    cli::output::{Output, duration_ms},
    domain::Settings,
};

pub(super) fn print(
    names: &Names,
    settings: &Settings,
    in_force: &InForce,
    queues: &[QueueState],
    by_mqtt: bool,
    output: Output,
) {
    let lines = [
        ("exchange", names.exchange().to_owned()),
        ("settings", format!("number {}", settings.number)),
        ("rules", settings.rules.to_string()),
        ("ttl", duration_ms(settings.ttl_ms)),
        ("heartbeat-every", duration_ms(settings.heartbeat_every_ms)),
        (
            "max-stream-age",
            settings
                .max_age_ms()
                .map_or_else(|| "none".to_owned(), duration_ms),
        ),
        ("tick interval", duration_ms(settings.interval_ms())),
        (
            "max-streams-per-account",
            settings.max_streams_per_account.to_string(),
        ),
        (
            "max-tombstones-per-account",
            settings.max_tombstones_per_account.to_string(),
        ),
        (
            "max-refusals-per-account",
            settings.max_refusals_per_account.to_string(),
        ),
        (
            "max-streams-per-partition",
            settings.max_streams_per_partition.to_string(),
        ),
        (
            "max-streams-per-tenant",
            settings.max_streams_per_tenant.to_string(),
        ),
        ("snapshot-every", duration_ms(settings.snapshot_every_ms)),
        (
            "count-by",
            if settings.count_by.is_empty() {
                "none".to_owned()
            } else {
                settings.count_by.join(",")
            },
        ),
        ("partitions", settings.partitions.to_string()),
        (
            "mqtt",
            if by_mqtt { "accepted" } else { "not accepted" }.to_owned(),
        ),
    ];
    let throttling = settings.throttling.by_name();
    let limits = throttling.map(|(name, limit)| match limit {
        0 => (name, "none".to_owned()),
        limit => (name, limit.to_string()),
    });
    let lines = lines.iter().chain(&limits);
    let mut text: Vec<_> = lines
        .map(|(name, value)| format!("{name:<28}{value}"))
        .collect();
    if !in_force.agree() {
        text.push(String::new());
        text.push(
            "The partitions have different settings, because a change was interrupted: run \
             `streamwatch topology set` again."
                .to_owned(),
        );
    }
    text.push(String::new());
    text.push(format!(
        "{:<40}{:>10}{:>11}",
        "queue", "messages", "consumers"
    ));
    for QueueState {
        name,
        messages,
        consumers,
    } in queues
    {
        let messages = messages.unwrap_or_default();
        text.push(format!("{name:<40}{messages:>10}{consumers:>11}"));
    }
    let json = serde_json::json!({
        "exchange": names.exchange(),
        "settings": settings,
        "mqtt": by_mqtt,
        // The number of the settings in force by partition, null if it has none.
        "settings_numbers": in_force.by_partition().iter()
            .map(|s| s.as_ref().map(|s| s.number)).collect::<Vec<_>>(),
        "queues": queues.iter().map(|q| serde_json::json!({
            "name": q.name, "messages": q.messages, "consumers": q.consumers,
        })).collect::<Vec<_>>(),
    });
    output.print(text, &json);
}
