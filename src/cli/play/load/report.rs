//! What a load comes to, for people and for programs.

use std::time::Duration;

use serde_json::{Value, json};

use super::{
    meter::{Probed, Waits},
    search::Search,
    stage::Step,
};
use crate::cli::output::table;

/// Of what the report is.
pub(super) struct About {
    pub(super) accounts: usize,
    pub(super) devices: usize,
    pub(super) partitions: usize,
    pub(super) connections: usize,
    pub(super) seed: u64,
}

impl About {
    pub(super) fn text(&self) -> String {
        format!(
            "{} streams on {} accounts, {} partition{}, {} connection{}, seed {}",
            self.accounts * self.devices,
            self.accounts,
            self.partitions,
            plural(self.partitions),
            self.connections,
            plural(self.connections),
            self.seed
        )
    }
}

/// What one step comes to.
pub(super) fn text(step: &Step) -> String {
    let counts = step.counts;
    let row = |what: &str, events: u64, per_s: f64| {
        [what.to_owned(), events.to_string(), format!("{per_s:.0}")]
    };
    let events = [
        ["", "events", "per second"].map(str::to_owned),
        row("asked for", step.asked(), f64::from(step.rate_per_s)),
        row("published", counts.published, step.published_per_s),
        row("confirmed", counts.confirmed, step.confirmed_per_s),
        row("applied", step.applied, step.applied_per_s),
    ];
    let Probed {
        init, status, lag, ..
    } = &step.probed;
    let waits = [
        ["ms", "p50", "p90", "p99", "max", "answers", "unanswered"].map(str::to_owned),
        cells("lag", lag),
        cells("init", init),
        cells("status", status),
    ];
    let mut lines = vec![table(&events), table(&waits)];
    lines.extend(step.applied_after.map(applied_after));
    lines.extend(remarks(step));
    lines.join("\n")
}

fn cells(what: &str, waits: &Waits) -> [String; 7] {
    let at = |percentile| {
        let wait = waits.percentile_ms(percentile);
        wait.map_or_else(|| "-".to_owned(), |ms| format!("{ms:.1}"))
    };
    [
        what.to_owned(),
        at(50.0),
        at(90.0),
        at(99.0),
        at(100.0),
        waits.answered().to_string(),
        waits.unanswered.to_string(),
    ]
}

/// What is not as it was asked for, each with what it means, and whether all is well.
fn remarks(step: &Step) -> Vec<String> {
    let (counts, mut said) = (step.counts, Vec::new());
    if step.interrupted {
        said.push("interrupted: this is what was seen until then".to_owned());
    }
    let asked = step.asked();
    // Less is what falls due between two batches.
    if counts.published < asked - asked / 100 {
        said.push(format!(
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
            "taken by no queue: run `streamwatch topology declare`",
        ),
        (counts.lost, "without a confirm: they may count or not"),
    ] {
        if events > 0 {
            said.push(format!(
                "{events} event{} {what}",
                if events == 1 { "" } else { "s" }
            ));
        }
    }
    if counts.confirmed > step.applied {
        said.push(format!(
            "{} confirmed event{} not seen to be applied",
            counts.confirmed - step.applied,
            if counts.confirmed - step.applied == 1 {
                " was"
            } else {
                "s were"
            },
        ));
    }
    match (&step.error, &step.probed.last_error) {
        (Some(error), _) => said.push(format!("it ended with: {error}")),
        (None, Some(error)) => said.push(format!("last unanswered probe: {error}")),
        (None, None) => {}
    }
    said.push(if step.is_whole() {
        "everything published was confirmed and applied".to_owned()
    } else {
        "NOT everything published was confirmed and applied".to_owned()
    });
    said
}

/// The same as [`text`], for programs.
pub(super) fn json(about: &About, step: &Step) -> Value {
    let (counts, probed) = (step.counts, &step.probed);
    json!({
        "accounts": about.accounts, "streams": about.accounts * about.devices,
        "partitions": about.partitions, "connections": about.connections, "seed": about.seed,
        "rate_per_s": step.rate_per_s, "published_for_ms": in_ms(step.published_for),
        "asked": step.asked(), "published": counts.published, "confirmed": counts.confirmed,
        "applied": step.applied, "refused": counts.refused, "unroutable": counts.unroutable,
        "lost": counts.lost, "published_per_s": number(step.published_per_s),
        "confirmed_per_s": number(step.confirmed_per_s),
        "applied_per_s": number(step.applied_per_s),
        "lag": waits(&probed.lag), "init": waits(&probed.init), "status": waits(&probed.status),
        "lag_at_end_ms": in_ms(step.lag_at_end),
        "applied_after_ms": step.applied_after.map(in_ms),
        "complete": step.is_whole(), "interrupted": step.interrupted,
        "error": step.error.as_ref().map(ToString::to_string),
    })
}

fn waits(waits: &Waits) -> Value {
    let at = |percentile| waits.percentile_ms(percentile).map(number);
    json!({
        "p50_ms": at(50.0), "p90_ms": at(90.0), "p99_ms": at(99.0), "max_ms": at(100.0),
        "answered": waits.answered(), "unanswered": waits.unanswered,
    })
}

/// One step of a search, for people.
pub(super) fn line(step: &Step) -> String {
    let verdict = if step.holds() {
        "holds"
    } else {
        "does not hold"
    };
    let applied = step.applied_after.map(applied_after);
    format!(
        "{}/s {verdict}: {:.0}/s confirmed, lag {}, {}",
        step.rate_per_s,
        step.confirmed_per_s,
        ms(step.lag_at_end),
        applied.unwrap_or_else(|| "not all seen to be applied".to_owned())
    )
}

fn applied_after(lag: Duration) -> String {
    format!("all applied {} after the last event", ms(lag))
}

/// The same, for programs.
pub(super) fn line_json(step: &Step) -> Value {
    json!({
        "rate_per_s": step.rate_per_s, "holds": step.holds(),
        "confirmed_per_s": number(step.confirmed_per_s),
        "lag_at_end_ms": in_ms(step.lag_at_end),
        "applied_after_ms": step.applied_after.map(in_ms),
    })
}

/// What a search found, before the report about its best step. An end that came early is told by
/// the step, which may not be the one that the report is about.
pub(super) fn found(search: Search, steps: &[Step], about: &Step) -> String {
    let mut text = match search.held() {
        Some(held) if search.next().is_none() => format!("the highest rate that holds: {held}/s"),
        Some(held) => format!("{held}/s holds; the search ended early, and more may hold"),
        None => "no rate held".to_owned(),
    };
    let last = steps.last().filter(|last| !std::ptr::eq(*last, about));
    if let Some(last) = last.filter(|last| !last.is_whole() || last.interrupted) {
        text += &format!("\nthe last step was {}/s:\n  ", last.rate_per_s);
        text += &remarks(last).join("\n  ");
    }
    text += &format!("\nat {}/s:", about.rate_per_s);
    text
}

/// Three digits behind the point are more than a run repeats.
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

const fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cli::play::load::meter::{Counts, Meter, Probe},
        client::ClientError,
    };

    fn about() -> About {
        About {
            accounts: 100,
            devices: 2,
            partitions: 1,
            connections: 4,
            seed: 7,
        }
    }

    /// A thousand events in two seconds, all well.
    fn step() -> Step {
        let meter = Meter::new();
        for probe in [Probe::Init, Probe::Status, Probe::Lag] {
            meter.answered(probe, Ok(Duration::from_millis(3)));
        }
        Step {
            rate_per_s: 500,
            published_for: Duration::from_secs(2),
            counts: Counts {
                published: 1_000,
                confirmed: 1_000,
                ..Counts::default()
            },
            applied: 1_000,
            published_per_s: 500.0,
            confirmed_per_s: 499.6,
            applied_per_s: 499.123_456,
            probed: meter.take_probed(),
            lag_at_end: Duration::from_millis(30),
            applied_after: Some(Duration::from_micros(2_600)),
            error: None,
            interrupted: false,
        }
    }

    #[test]
    fn a_whole_step_says_so_and_nothing_more() {
        let said = text(&step());
        let last: Vec<_> = said.lines().skip(9).collect();
        assert_eq!(
            last,
            [
                "all applied 2.6 ms after the last event",
                "everything published was confirmed and applied"
            ]
        );
        assert!(said.contains("published  1000    500"), "{said}");
    }

    #[test]
    fn whatever_is_not_well_is_said() {
        let mut step = step();
        step.counts = Counts {
            published: 900,
            confirmed: 800,
            refused: 50,
            unroutable: 1,
            lost: 49,
        };
        step.applied = 799;
        step.error = Some(ClientError::NoAnswer(Duration::from_secs(5)));
        let said = text(&step);
        for part in [
            "not reached: 900 of 1000 events",
            "50 events refused",
            "1 event taken by no queue",
            "49 events without a confirm",
            "1 confirmed event was not seen",
            "it ended with: no worker answered in 5s",
            "NOT everything",
        ] {
            assert!(said.contains(part), "{part:?} is not in {said}");
        }
        assert!(!step.is_whole());
    }

    #[test]
    fn names_of_numbers_have_their_units() {
        let object = json(&about(), &step());
        assert_eq!(object["applied_per_s"], 499.123);
        assert_eq!(object["lag_at_end_ms"], 30.0);
        assert_eq!(object["applied_after_ms"], 2.6);
        assert_eq!(object["init"]["answered"], 1);
        assert_eq!(object["asked"], 1_000);
    }

    #[test]
    fn a_rate_holds_that_is_confirmed_and_applied_in_time() {
        assert!(step().holds());
        let slow = Step {
            confirmed_per_s: 470.0,
            ..step()
        };
        let behind = Step {
            lag_at_end: Duration::from_secs(1),
            ..step()
        };
        let late = Step {
            applied_after: Some(Duration::from_secs(1)),
            ..step()
        };
        let unseen = Step {
            applied_after: None,
            ..step()
        };
        let cut_short = Step {
            interrupted: true,
            ..step()
        };
        assert!(
            [slow, behind, late, unseen, cut_short]
                .iter()
                .all(|step| !step.holds())
        );
        assert_eq!(
            line(&step()),
            "500/s holds: 500/s confirmed, lag 30 ms, all applied 2.6 ms after the last event"
        );
    }

    #[test]
    fn a_search_that_ended_early_does_not_claim_the_highest_rate() {
        let mut search = Search::default();
        let steps = [step()];
        assert!(found(search, &steps, &steps[0]).starts_with("no rate held\n"));
        search.note(500, true);
        assert!(
            found(search, &steps, &steps[0]).starts_with("500/s holds; the search ended early")
        );
        search.note(501, false);
        let said = found(search, &steps, &steps[0]);
        assert_eq!(said, "the highest rate that holds: 500/s\nat 500/s:");
    }
}
