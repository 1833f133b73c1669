//! The panels below the totals.

use std::cmp::Reverse;

use ratatui::{
    Frame,
    layout::{Alignment, Constraint, Layout, Rect},
    style::Style,
    text::Line,
    widgets::{Block, Cell, List, ListState, Paragraph, Row, Table},
};

use super::{
    super::{
        format::{age, decimal, lag, number, time},
        rows::{OpenedAccount, PartitionRow, ReplicaRow},
        summary::Summary,
        ui::Ui,
    },
    Theme,
};
use crate::{
    cli::{
        output::{by_value, described, plural},
        terminal::escape,
    },
    client::ActiveStream,
    wire::Rfc3339,
};

/// Columns of the partitions' panel before those of the workers: partition, streams, heartbeats.
const BEFORE_WORKERS: [u16; 3] = [4, 10, 8];
/// One worker's column: a lag and a mark.
const OF_A_WORKER: u16 = 7;
/// A panel's frame and its heading.
const AROUND: u16 = 3;

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, summary: &Summary, ui: &Ui, theme: Theme) {
    let rows = summary.partitions.len().max(summary.tenants.len()).max(2);
    let wanted = u16::try_from(rows)
        .unwrap_or(u16::MAX)
        .saturating_add(AROUND);
    let above = wanted.min(area.height / 2);
    let [above, below] =
        Layout::vertical([Constraint::Length(above), Constraint::Min(1)]).areas(area);
    let sides = |left: u16| {
        let parts = [left, 100 - left].map(Constraint::Percentage);
        Layout::horizontal(parts)
    };
    let [left, right] = sides(60).areas(above);
    partitions(frame, left, summary, theme);
    tenants(frame, right, summary);
    if let Some(opened) = &summary.account {
        account(frame, below, opened);
    } else {
        let [left, right] = sides(53).areas(below);
        accounts(frame, left, summary, ui);
        if summary.values.is_empty() {
            events(frame, right, summary);
        } else {
            let halves = [Constraint::Percentage(50), Constraint::Percentage(50)];
            let [above, below] = Layout::vertical(halves).areas(right);
            values(frame, above, summary);
            events(frame, below, summary);
        }
    }
}

fn right(text: impl Into<String>) -> Cell<'static> {
    Cell::from(Line::from(text.into()).alignment(Alignment::Right))
}

fn heading(names: Vec<Cell<'static>>) -> Row<'static> {
    Row::new(names).style(Style::new().underlined())
}

fn partitions(frame: &mut Frame<'_>, area: Rect, summary: &Summary, theme: Theme) {
    let room = usize::from(area.height.saturating_sub(AROUND));
    let mut rows: Vec<&PartitionRow> = summary.partitions.iter().collect();
    let all = rows.len();
    let mut title = " Partitions: lag by worker".to_owned();
    if all > room {
        // Partitions with problems.
        rows.sort_by_key(|row| Reverse((row.lag_ms.is_none(), row.lag_ms)));
        rows.truncate(room);
        title = format!(" Partitions: the {room} of {all} furthest behind");
    }
    let before: u16 = BEFORE_WORKERS.iter().map(|width| width + 1).sum();
    let columns = area.width.saturating_sub(2 + before) / (OF_A_WORKER + 1);
    let workers = summary.workers.len();
    let shown = workers.min(usize::from(columns));
    if shown < workers {
        title += &format!(", {} workers not shown", workers - shown);
    }
    let mut names = Vec::from(["part", "streams", "beats/s"].map(right));
    names.extend((1..=shown).map(|n| right(format!("w{n} "))));
    let lines = rows.into_iter().map(|row| {
        let mut cells = vec![
            right(format!("{:02}", row.partition)),
            right(number(row.streams)),
            right(decimal(row.heartbeats_per_second)),
        ];
        cells.extend((0..shown).map(|n| {
            let replica = row.replicas.iter().find(|it| it.worker == n);
            let answers = summary.workers[n].reachable;
            let cell = right(replica_text(replica, answers));
            if replica.is_some_and(|it| !it.ready) || !answers {
                cell.style(theme.problem())
            } else {
                cell
            }
        }));
        Row::new(cells)
    });
    let widths = BEFORE_WORKERS.into_iter().chain(vec![OF_A_WORKER; shown]);
    let table = Table::new(lines, widths.map(Constraint::Length))
        .header(heading(names))
        .block(Block::bordered().title(title + " "));
    frame.render_widget(table, area);
}

/// A replica's lag, and a mark.
fn replica_text(replica: Option<&ReplicaRow>, answers: bool) -> String {
    match replica {
        None if answers => "- ".to_owned(),
        None => "? ".to_owned(),
        Some(it) => {
            let mark = match (it.ready, it.leads) {
                (false, _) => '!',
                (true, true) => '*',
                (true, false) => ' ',
            };
            format!("{}{mark}", lag(it.lag_ms))
        }
    }
}

fn tenants(frame: &mut Frame<'_>, area: Rect, summary: &Summary) {
    let names = vec![Cell::from("tenant"), right("streams"), right("accounts")];
    let rows = summary.tenants.iter().map(|it| {
        let name = Cell::from(it.tenant.clone());
        Row::new(vec![
            name,
            right(number(Some(it.streams))),
            right(number(Some(it.accounts))),
        ])
    });
    let widths = [
        Constraint::Min(6),
        Constraint::Length(9),
        Constraint::Length(9),
    ];
    let table = Table::new(rows, widths)
        .header(heading(names))
        .block(Block::bordered().title(" Busiest tenants "));
    frame.render_widget(table, area);
}

fn accounts(frame: &mut Frame<'_>, area: Rect, summary: &Summary, ui: &Ui) {
    let known = &summary.accounts;
    let more = if known.evicted > 0 { "+" } else { "" };
    let all = number(u64::try_from(known.known).ok());
    let title = match known.since {
        Some(_) if known.listed => format!(" Most streams, of {all}{more} "),
        Some(since) => format!(" Most streams since {}, of {all}{more} ", time(since)),
        None => " Most streams: none known yet ".to_owned(),
    };
    let inside = usize::from(area.width.saturating_sub(4));
    let lines = known.largest.iter().map(|it| {
        let mark = if it.exact { ' ' } else { '?' };
        let count = format!("{:>5}{mark}", it.streams);
        let room = inside.saturating_sub(count.len());
        let name = Line::from(it.key.as_str());
        let gap = room.saturating_sub(name.width());
        if gap > 0 {
            Line::from(format!("{name}{}{count}", " ".repeat(gap)))
        } else {
            // Shortened so that the count stays visible.
            Line::from(format!("{count} {name}"))
        }
    });
    let list = List::new(lines)
        .highlight_symbol("> ")
        .highlight_spacing(ratatui::widgets::HighlightSpacing::Always)
        .highlight_style(Style::new().reversed())
        .block(Block::bordered().title(title));
    let mut state = ListState::default().with_selected(ui.place(&known.largest));
    frame.render_stateful_widget(list, area, &mut state);
}

fn values(frame: &mut Frame<'_>, area: Rect, summary: &Summary) {
    let rows = summary.values.iter().map(|it| {
        let of = format!("{} {}={}", it.tenant, escape(&it.key), escape(&it.value));
        Row::new(vec![Cell::from(of), right(number(Some(it.streams)))])
    });
    let widths = [Constraint::Min(6), Constraint::Length(9)];
    let table =
        Table::new(rows, widths).block(Block::bordered().title(" Streams by counted metadata "));
    frame.render_widget(table, area);
}

fn events(frame: &mut Frame<'_>, area: Rect, summary: &Summary) {
    let room = usize::from(area.height.saturating_sub(2));
    let latest = summary.events.iter().rev().take(room);
    let lines = latest.map(|it| {
        let time = time(it.at);
        let time = time.trim_end_matches('Z');
        Line::from(format!("{time} {:<7}{:>3} {}", it.kind, it.count, it.key))
    });
    let block = Block::bordered().title(" Lifecycle: streams after it ");
    frame.render_widget(Paragraph::new(lines.collect::<Vec<_>>()).block(block), area);
}

fn account(frame: &mut Frame<'_>, area: Rect, opened: &OpenedAccount) {
    let name = opened.key.as_str();
    let Some(status) = &opened.status else {
        let parts = match &opened.error {
            Some(_) => "no answer yet",
            None => "asking",
        };
        let block = Block::bordered().title(format!(" {name} "));
        return frame.render_widget(Paragraph::new(parts).block(block), area);
    };
    let activity = &status.activity;
    let title = format!(
        " {name}: {} active stream{} at {} ",
        activity.count(),
        plural(activity.count()),
        time(Rfc3339(activity.as_of))
    );
    let counts = status.by.iter().filter(|(_, counts)| !counts.is_empty());
    let counts: Vec<_> = counts
        .map(|(key, counts)| Line::from(by_value(key, counts)))
        .collect();
    let block = Block::bordered().title(title);
    let inside = block.inner(area);
    frame.render_widget(block, area);
    let above = u16::try_from(counts.len())
        .unwrap_or(0)
        .min(inside.height / 2);
    let [above, below] =
        Layout::vertical([Constraint::Length(above), Constraint::Min(1)]).areas(inside);
    frame.render_widget(Paragraph::new(counts), above);
    let names = vec![
        Cell::from("stream"),
        right("playing"),
        right("expires"),
        Cell::from("metadata"),
    ];
    let widths = [
        Constraint::Length(36),
        Constraint::Length(7),
        Constraint::Length(7),
        Constraint::Min(8),
    ];
    let rows = activity
        .streams
        .iter()
        .map(|stream| stream_row(stream, activity.as_of.0));
    frame.render_widget(Table::new(rows, widths).header(heading(names)), below);
}

fn stream_row(stream: &ActiveStream, as_of: i64) -> Row<'static> {
    let playing_ms = as_of.saturating_sub(stream.started_at.0);
    Row::new(vec![
        Cell::from(stream.stream.to_string()),
        right(age(u64::try_from(playing_ms).unwrap_or(0))),
        right(age(stream.expires_in_ms)),
        Cell::from(described(stream)),
    ])
}
