//! Plain lines, without a terminal.

use super::{
    format::{decimal, lag, number, time},
    rows::PerSecond,
    summary::Summary,
    worker_metrics::Counter,
};

/// Names of a list in one line.
const NAMES: usize = 5;

/// The rates with their names, in display order.
pub(super) fn rates(of: &PerSecond) -> Vec<String> {
    let rates = Counter::ALL.iter().zip(of.0);
    let rates = rates.map(|(counter, rate)| {
        let name = counter.as_str().trim_end_matches("_answered");
        format!("{} {}", name.replace('_', " "), decimal(rate))
    });
    rates.collect()
}

/// A line of totals, with indented details below.
pub(super) fn lines(summary: &Summary) -> Vec<String> {
    let totals = &summary.totals;
    let mut lines = vec![format!(
        "{}  streams {}  accounts {}  workers {}/{}  lag {}",
        summary.at,
        number(totals.streams),
        number(totals.accounts),
        summary.answering(),
        summary.workers.len(),
        lag(summary.worst_lag_ms())
    )];
    let rates = rates(&summary.per_second);
    lines.push(format!("per second: {}", rates.join(", ")));
    let tenants = summary
        .tenants
        .iter()
        .map(|it| (it.tenant.clone(), it.streams));
    push_list(&mut lines, "streams by tenant", tenants);
    if let Some(since) = summary.accounts.since {
        let most = summary.accounts.largest.iter();
        let most = most.map(|it| (it.key.as_str().to_owned(), it.streams.into()));
        let what = format!(
            "most streams, of {} accounts seen since {}",
            summary.accounts.known,
            time(since)
        );
        push_list(&mut lines, &what, most);
    }
    if let Some(status) = summary.account.as_ref().and_then(|it| it.status.as_ref()) {
        let activity = &status.activity;
        lines.push(format!(
            "{}: {} active",
            activity.key.as_str(),
            activity.streams.len()
        ));
        for (key, counts) in &status.by {
            let counts = counts
                .iter()
                .map(|(value, n)| (value.clone(), u64::from(*n)));
            push_list(&mut lines, &format!("by {key}"), counts);
        }
    }
    lines.extend(
        summary
            .problems
            .iter()
            .map(|problem| format!("! {problem}")),
    );
    for line in &mut lines[1..] {
        line.insert_str(0, "  ");
    }
    lines
}

fn push_list(
    lines: &mut Vec<String>,
    what: &str,
    names: impl ExactSizeIterator<Item = (String, u64)>,
) {
    let more = names.len().saturating_sub(NAMES);
    let named: Vec<_> = names
        .take(NAMES)
        .map(|(name, n)| format!("{name} {n}"))
        .collect();
    if named.is_empty() {
        return;
    }
    let more = match more {
        0 => String::new(),
        more => format!(", and {more} more"),
    };
    lines.push(format!("{what}: {}{more}", named.join(", ")));
}
