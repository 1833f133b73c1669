use std::time::Duration;

use ratatui::{Terminal, backend::TestBackend, style::Modifier};

use super::{
    super::{
        state::{
            Round, State,
            tests::{NOW, event, key, status},
        },
        ui::Key,
        worker_metrics::{WorkerMetrics, tests::PAGE},
    },
    *,
};
use crate::broker::BrokerError;

const PLAIN: Theme = Theme { colour: false };

/// Two workers, one of which is not ready; events; two accounts; RabbitMQ answers.
fn state() -> State {
    let urls = (1..=2).map(|n| format!("http://10.0.0.{n}:9419/metrics"));
    let mut state = State::new(urls.collect(), true);
    state.subscribed(NOW);
    state.apply_event(&event("opened", "alice", 1), None, Duration::ZERO);
    state.apply_event(&event("opened", "alice", 2), None, Duration::ZERO);
    state.apply_event(&event("refused", "bob", 1), None, Duration::ZERO);
    let behind = PAGE
        .replace("_ready{partition=\"00\"} 1", "_ready{partition=\"00\"} 0")
        .replace(
            "seconds{partition=\"00\"} 0.250",
            "seconds{partition=\"00\"} 12.500",
        )
        .replace("held{partition=\"00\"} 1", "held{partition=\"00\"} 0");
    let later = PAGE.replace("\"refreshed\"} 100", "\"refreshed\"} 120");
    for (at, page) in [(0, PAGE), (2, later.as_str())] {
        let round = Round {
            listed: Vec::new(),
            pages: [page, &behind]
                .map(|text| Ok(WorkerMetrics::read(text).unwrap()))
                .into(),
            answers: Vec::new(),
        };
        state.take(round, Duration::from_secs(at));
    }
    state
}

fn summary(state: &State) -> Summary {
    Summary::new(state, NOW, 2_000)
}

/// The text on a screen of this size, without trailing blanks.
fn screen(size: (u16, u16), summary: &Summary, ui: &Ui) -> String {
    let mut terminal = Terminal::new(TestBackend::new(size.0, size.1)).unwrap();
    terminal
        .draw(|frame| draw(frame, summary, ui, PLAIN))
        .unwrap();
    let buffer = terminal.backend().buffer();
    let rows = buffer.content.chunks(usize::from(size.0));
    let lines = rows.map(|row| {
        let line: String = row.iter().map(ratatui::buffer::Cell::symbol).collect();
        line.trim_end().to_owned() + "\n"
    });
    lines.collect()
}

fn is(seen: &str, expected: &str) {
    assert!(
        seen == expected,
        "this is seen:\n{seen}\nexpected:\n{expected}"
    );
}

#[test]
fn everything_fits_on_80_by_24() {
    let mut ui = Ui::default();
    let summary = summary(&state());
    ui.press(Key::Down, &summary.accounts.largest, false);
    let seen = screen((80, 24), &summary, &ui);
    is(&seen, include_str!("tests/80x24.txt"));
}

#[test]
fn a_larger_screen_shows_the_opened_account_and_longer_lists() {
    let mut state = state();
    state.open(Some(key("alice")));
    let round = Round {
        listed: Vec::new(),
        pages: Vec::new(),
        answers: vec![(state.requests().remove(0), Ok(status("alice", 2)))],
    };
    state.take(round, Duration::from_secs(2));
    let seen = screen((120, 40), &summary(&state), &Ui::default());
    is(&seen, include_str!("tests/120x40.txt"));
}

#[test]
fn problems_are_shown_above_the_panels() {
    let mut state = state();
    state.lost(BrokerError::AccessRefused("user x".to_owned()));
    let round = Round {
        listed: Vec::new(),
        pages: vec![
            Err("cannot read w1".to_owned()),
            Err("cannot read w2".to_owned()),
        ],
        answers: Vec::new(),
    };
    state.take(round, Duration::from_secs(4));
    let seen = screen((80, 24), &summary(&state), &Ui::default());
    let wrong: Vec<_> = seen.lines().filter(|line| line.starts_with(" !")).collect();
    assert_eq!(wrong.len(), 3, "{seen}");
    assert!(wrong[0].contains("RabbitMQ refuses access"), "{seen}");
    assert_eq!(wrong[1..], [" ! cannot read w1", " ! cannot read w2"]);
    assert!(
        seen.contains("workers 0/2") && seen.contains("streams -"),
        "{seen}"
    );
    // Earlier events are still there.
    assert!(seen.contains("acme/alice"), "{seen}");
}

#[test]
fn no_information_is_shown_by_colour_alone() {
    let summary = summary(&state());
    let coloured = |colour| {
        let mut terminal = Terminal::new(TestBackend::new(80, 24)).unwrap();
        let theme = Theme { colour };
        terminal
            .draw(|frame| draw(frame, &summary, &Ui::default(), theme))
            .unwrap();
        let content = terminal.backend().buffer().content.clone();
        content.iter().any(|cell| cell.fg != Color::Reset)
    };
    assert!(coloured(true) && !coloured(false));
    let seen = screen((80, 24), &summary, &Ui::default());
    assert!(seen.contains("12.5s!"), "{seen}");
}

#[test]
fn the_selected_account_is_highlighted() {
    let summary = summary(&state());
    let mut ui = Ui::default();
    ui.press(Key::Down, &summary.accounts.largest, false);
    let mut terminal = Terminal::new(TestBackend::new(80, 24)).unwrap();
    terminal
        .draw(|frame| draw(frame, &summary, &ui, PLAIN))
        .unwrap();
    let buffer = terminal.backend().buffer();
    let seen = screen((80, 24), &summary, &ui);
    let row = seen
        .lines()
        .position(|line| line.contains("> acme/alice"))
        .unwrap();
    let cell = &buffer[(5, u16::try_from(row).unwrap())];
    assert!(cell.modifier.contains(Modifier::REVERSED), "{seen}");
}

#[test]
fn the_help_lists_the_workers() {
    let mut ui = Ui::default();
    ui.press(Key::Help, &[], false);
    let seen = screen((80, 24), &summary(&state()), &ui);
    assert!(
        seen.contains("w2                 http://10.0.0.2:9419/metrics  0.1.0"),
        "{seen}"
    );
}

#[test]
fn partitions_with_the_largest_lag_are_shown() {
    let mut all = String::new();
    for n in 0..64 {
        let lag = format!("seconds{{partition=\"00\"}} {n}.000");
        let page = PAGE.replace("seconds{partition=\"00\"} 0.250", &lag);
        all += &page.replace("partition=\"00\"", &format!("partition=\"{n:02}\""));
    }
    let mut state = State::new(vec!["http://w:1/metrics".to_owned()], true);
    let round = Round {
        listed: Vec::new(),
        pages: vec![Ok(WorkerMetrics::read(&all).unwrap())],
        answers: Vec::new(),
    };
    state.take(round, Duration::ZERO);
    let seen = screen((80, 24), &summary(&state), &Ui::default());
    assert!(seen.contains("of 64 furthest behind"), "{seen}");
    assert!(
        seen.contains("63.0s*") && !seen.contains(" 0.0s*"),
        "{seen}"
    );
    assert!(seen.contains("streams 320"), "{seen}");
}

#[test]
fn every_size_can_be_drawn() {
    let (state, mut ui) = (state(), Ui::default());
    ui.press(Key::Help, &[], false);
    for size in [(1, 1), (20, 5), (59, 40), (60, 16), (61, 17), (300, 100)] {
        let seen = screen(size, &summary(&state), &ui);
        assert_eq!(seen.lines().count(), usize::from(size.1));
    }
    let small = screen((40, 6), &summary(&state), &Ui::default());
    assert!(
        small.contains("streams 5") && small.contains("too small"),
        "{small}"
    );
}
