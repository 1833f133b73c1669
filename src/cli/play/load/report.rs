//! The report of a load, as text and as JSON.

use std::time::Duration;

use serde_json::{Value, json};

use super::{
    Load, meter::ProbeResults, population::Population, reply_times::ReplyTimes, search::Search,
    step::Step,
};
use crate::cli::output::{plural, table};

pub(super) fn subject(load: &Load, population: &Population) -> String {
    format!(
        "{} streams on {} accounts, {} partition{}, {} connection{}{}, seed {}",
        population.accounts * population.devices,
        population.accounts,
        population.partitions,
        plural(population.partitions),
        load.connections,
        plural(load.connections),
        match load.batch {
            1 => String::new(),
            events => format!(", batches of {events}"),
        },
        population.seed
    )
}

/// The report of one step, line by line.
pub(super) fn lines(step: &Step) -> Vec<String> {
    let counts = step.counts;
    let row = |what: &str, events: u64, per_s: f64| {
        [what.to_owned(), events.to_string(), format!("{per_s:.0}")]
    };
    let events = [
        ["", "events", "per second"].map(str::to_owned),
        row("requested", step.requested(), f64::from(step.rate_per_s)),
        row("published", counts.published, step.published_per_s),
        row("confirmed", counts.confirmed, step.confirmed_per_s),
        row("applied", step.applied, step.applied_per_s),
    ];
    let ProbeResults {
        init, status, lag, ..
    } = &step.results;
    let reply_times = [
        ["ms", "p50", "p90", "p99", "max", "answers", "unanswered"].map(str::to_owned),
        cells("lag", lag),
        cells("init", init),
        cells("status", status),
    ];
    let mut lines = table(&events);
    lines.extend(table(&reply_times));
    lines.extend(step.applied_after.map(applied_after));
    lines.extend(remarks(step));
    lines
}

/// `>5000` means that no reply arrived in that time.
fn cells(what: &str, reply_times: &ReplyTimes) -> [String; 7] {
    let at = |percent| match reply_times.percentile(percent) {
        None => "-".to_owned(),
        Some(wait) if wait.at_least => format!(">{:.0}", in_ms(wait.time)),
        Some(wait) => format!("{:.1}", in_ms(wait.time)),
    };
    [
        what.to_owned(),
        at(50),
        at(90),
        at(99),
        at(100),
        reply_times.answered().to_string(),
        reply_times.unanswered.to_string(),
    ]
}

/// Deviations from the requested load, each with its meaning, and whether there are none.
fn remarks(step: &Step) -> Vec<String> {
    let (counts, mut output) = (step.counts, Vec::new());
    if step.interrupted {
        output.push("interrupted: the figures end at the interruption".to_owned());
    }
    let asked = step.requested();
    // Smaller deviations are normal between two batches.
    if counts.published < asked - asked / 100 {
        output.push(format!(
            "the rate was not reached: {} of {asked} events were published, because the broker \
             confirmed no faster or this machine is too slow",
            counts.published
        ));
    }
    for (events, what) in [
        (
            counts.refused,
            "refused by RabbitMQ: a queue is full, or a log has no leader",
        ),
        (
            counts.unroutable,
            "routed to no queue: run `streamwatch topology declare`",
        ),
        (counts.lost, "without a confirm: they may have been stored"),
    ] {
        if events > 0 {
            output.push(format!("{events} event{} {what}", plural(events)));
        }
    }
    match counts.confirmed.saturating_sub(step.applied) {
        0 => {}
        1 => output.push("1 confirmed event was not seen to be applied".to_owned()),
        n => output.push(format!("{n} confirmed events were not seen to be applied")),
    }
    match (&step.error, &step.results.last_error) {
        (Some(error), _) => output.push(format!("the step ended with: {error}")),
        (None, Some(error)) => output.push(format!("last unanswered probe: {error}")),
        (None, None) => {}
    }
    output.push(if step.is_whole() {
        "everything published was confirmed and applied".to_owned()
    } else {
        "NOT everything published was confirmed and applied".to_owned()
    });
    output
}

pub(super) fn json(load: &Load, population: &Population, step: &Step) -> Value {
    let (counts, results) = (step.counts, &step.results);
    json!({
        "accounts": population.accounts, "streams": population.accounts * population.devices,
        "partitions": population.partitions, "connections": load.connections,
        "batch": load.batch, "seed": population.seed,
        "rate_per_s": step.rate_per_s, "published_for_ms": in_ms(step.published_for),
        "requested": step.requested(), "published": counts.published, "confirmed": counts.confirmed,
        "applied": step.applied, "refused": counts.refused, "unroutable": counts.unroutable,
        "lost": counts.lost, "published_per_s": number(step.published_per_s),
        "confirmed_per_s": number(step.confirmed_per_s),
        "applied_per_s": number(step.applied_per_s),
        "lag": reply_times(&results.lag), "init": reply_times(&results.init), "status": reply_times(&results.status),
        "lag_at_end_ms": in_ms(step.lag_at_end),
        "applied_after_ms": step.applied_after.map(in_ms),
        "complete": step.is_whole(), "interrupted": step.interrupted,
        "error": step.error.as_ref().map(ToString::to_string),
    })
}

/// Percentiles of all probes, including those without a reply. If `…_at_least` is true, `…_ms` is
/// the timeout and so a lower bound.
fn reply_times(reply_times: &ReplyTimes) -> Value {
    let mut object = json!({
        "answered": reply_times.answered(), "unanswered": reply_times.unanswered,
    });
    for (name, percent) in [("p50", 50), ("p90", 90), ("p99", 99), ("max", 100)] {
        let wait = reply_times.percentile(percent);
        object[format!("{name}_ms")] = wait.map(|wait| in_ms(wait.time)).into();
        object[format!("{name}_at_least")] = wait.is_some_and(|wait| wait.at_least).into();
    }
    object
}

/// One step of a search, as text.
pub(super) fn line(step: &Step) -> String {
    let verdict = if step.holds() {
        "holds"
    } else {
        "does not hold"
    };
    let applied = step.applied_after.map(applied_after);
    let lag = step.most_lag();
    format!(
        "{}/s {verdict}: {:.0}/s confirmed, lag {} {}, {}",
        step.rate_per_s,
        step.confirmed_per_s,
        if lag.at_least { "over" } else { "up to" },
        ms(lag.time),
        applied.unwrap_or_else(|| "not all seen to be applied".to_owned())
    )
}

fn applied_after(lag: Duration) -> String {
    format!("all applied {} after the last event", ms(lag))
}

/// One step of a search, as JSON.
pub(super) fn line_json(step: &Step) -> Value {
    json!({
        "rate_per_s": step.rate_per_s, "holds": step.holds(),
        "confirmed_per_s": number(step.confirmed_per_s),
        "lag": reply_times(&step.results.lag), "lag_at_end_ms": in_ms(step.lag_at_end),
        "applied_after_ms": step.applied_after.map(in_ms),
        "error": step.error.as_ref().map(ToString::to_string),
    })
}

/// The result of a search, which precedes the report of its best step. Contains the reason of an
/// early end, as the last step may not be the best one.
pub(super) fn found(search: Search, steps: &[Step], step: &Step) -> Vec<String> {
    let mut lines = vec![match search.held {
        Some(held) if search.next().is_none() => format!("the highest rate that holds: {held}/s"),
        Some(held) => format!("{held}/s holds; the search ended early, and more may hold"),
        None => "no rate held".to_owned(),
    }];
    let last = steps.last().filter(|last| !std::ptr::eq(*last, step));
    if let Some(last) = last.filter(|last| !last.is_whole() || last.interrupted) {
        lines.push(format!("the last step was {}/s:", last.rate_per_s));
        let remarks = remarks(last);
        lines.extend(remarks.iter().map(|remark| format!("  {remark}")));
    }
    lines.push(format!("at {}/s:", step.rate_per_s));
    lines
}

/// Three decimals are more precise than a run is repeatable.
fn number(number: f64) -> f64 {
    (number * 1_000.0).round() / 1_000.0
}

fn in_ms(duration: Duration) -> f64 {
    number(duration.as_secs_f64() * 1_000.0)
}

fn ms(duration: Duration) -> String {
    let ms = in_ms(duration);
    if ms < 10.0 {
        format!("{ms:.1} ms")
    } else {
        format!("{ms:.0} ms")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cli::play::load::{
            Goal,
            meter::LoadCounts,
            step::tests::{step, unanswered},
        },
        client::{ClientError, Tenant},
    };

    fn json(step: &Step) -> Value {
        let load = Load {
            goal: Goal::Rate {
                per_s: 500,
                warm_up: Duration::ZERO,
            },
            connections: 4,
            batch: 1,
            gzip: false,
            partitions: None,
        };
        let population = Population {
            tenant: Tenant::new("acme").unwrap(),
            accounts: 100,
            devices: 2,
            seed: 7,
            partitions: 1,
        };
        super::json(&load, &population, step)
    }

    #[test]
    fn a_step_without_problems_has_one_line_of_success() {
        let output = lines(&step()).join("\n");
        let last: Vec<_> = output.lines().skip(9).collect();
        assert_eq!(
            last,
            [
                "all applied 2.6 ms after the last event",
                "everything published was confirmed and applied"
            ]
        );
        assert!(output.contains("published  1000    500"), "{output}");
    }

    #[test]
    fn every_problem_is_reported() {
        let mut step = step();
        step.counts = LoadCounts {
            published: 900,
            confirmed: 800,
            refused: 50,
            unroutable: 1,
            lost: 49,
        };
        step.applied = 799;
        step.error = Some(ClientError::NoAnswer(Duration::from_secs(5)));
        let output = lines(&step).join("\n");
        for part in [
            "not reached: 900 of 1000 events",
            "50 events refused",
            "1 event routed to no queue",
            "49 events without a confirm",
            "1 confirmed event was not seen",
            "the step ended with: no worker replied within 5s: check that one runs",
            "NOT everything",
        ] {
            assert!(output.contains(part), "{part:?} is missing: {output}");
        }
        assert!(!step.is_whole());
    }

    #[test]
    fn names_of_numbers_have_their_units() {
        let object = json(&step());
        assert_eq!(object["applied_per_s"], 499.123);
        assert_eq!(object["lag_at_end_ms"], 30.0);
        assert_eq!(object["applied_after_ms"], 2.6);
        assert_eq!(object["init"]["answered"], 1);
        assert_eq!(object["requested"], 1_000);
    }

    #[test]
    fn the_longest_lag_of_a_step_is_in_its_line() {
        assert_eq!(
            line(&step()),
            "500/s holds: 500/s confirmed, lag up to 30 ms, all applied 2.6 ms after the last event"
        );
        assert_eq!(
            line(&unanswered()),
            "500/s does not hold: 500/s confirmed, lag over 10000 ms, all applied 2.6 ms after the \
             last event"
        );
    }

    #[test]
    fn a_percentile_beyond_all_replies_is_a_lower_bound() {
        let step = unanswered();
        let output = lines(&step).join("\n");
        let lag = output.lines().find(|line| line.starts_with("lag "));
        let lag: Vec<_> = lag.expect("a line").split_whitespace().collect();
        assert_eq!(lag, ["lag", "3.0", ">10000", ">10000", ">10000", "2", "1"]);
        let lag = &json(&step)["lag"];
        assert_eq!(
            (&lag["p50_ms"], &lag["p50_at_least"]),
            (&3.001.into(), &false.into())
        );
        assert_eq!(
            (&lag["p99_ms"], &lag["p99_at_least"]),
            (&10_000.0.into(), &true.into())
        );
        assert_eq!(line_json(&step)["lag"], *lag);
    }

    #[test]
    fn a_search_that_ended_early_does_not_claim_the_highest_rate() {
        let mut search = Search::default();
        let steps = [step()];
        assert_eq!(found(search, &steps, &steps[0])[0], "no rate held");
        search.note(500, true);
        assert!(
            found(search, &steps, &steps[0])[0].starts_with("500/s holds; the search ended early")
        );
        search.note(501, false);
        let output = found(search, &steps, &steps[0]).join("\n");
        assert_eq!(output, "the highest rate that holds: 500/s\nat 500/s:");
    }
}
