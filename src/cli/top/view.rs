//! Drawing of the screen, for any backend.

mod panels;

use ratatui::{
    Frame,
    buffer::Buffer,
    layout::{Constraint, Layout, Rect},
    style::{Color, Style, Stylize},
    text::{Line, Span},
    widgets::{Block, Clear, Paragraph, Wrap},
};

use super::{
    format::{age, number, time},
    lines::rates,
    summary::Summary,
    ui::Ui,
};
use crate::cli::terminal::{escape, is_unsafe};

/// The smallest screen that fits everything.
const SMALLEST: (u16, u16) = (60, 16);
/// Lines above the panels.
const HEAD: u16 = 5;
/// Most problems shown at once.
const MOST_PROBLEMS: usize = 3;
/// Number of rates in the first of two lines.
const FIRST_RATES: usize = 4;

/// The help, above the list of workers.
const HELP: &str = "\
streams, accounts  active now; the largest figure of each partition's
                   replicas, as all have the same state
per second         over the last ten seconds; init and status that workers
                   answered
lag                age of a replica's state; * leader, ! not ready, ? worker
                   does not respond, - worker does not follow the partition
most streams       accounts with lifecycle events since top started, and
                   those that workers list, of the five largest tenants; the
                   latest 10,000 are kept; ? events may have been missed, and
                   the account is refreshed by a request
counted metadata   values of the keys of topology set --count-by
-                  unknown
";

/// Styles. No information is shown by colour alone.
#[derive(Clone, Copy, Debug)]
pub(super) struct Theme {
    /// Use colours.
    pub(super) colour: bool,
}

impl Theme {
    fn problem(self) -> Style {
        if self.colour {
            Style::new().fg(Color::Red).bold()
        } else {
            Style::new().bold()
        }
    }
}

/// Draws one frame.
pub(super) fn draw(frame: &mut Frame<'_>, summary: &Summary, ui: &Ui, theme: Theme) {
    let area = frame.area();
    if area.width < SMALLEST.0 || area.height < SMALLEST.1 {
        return too_small(frame, summary);
    }
    let problems = summary.problems.len().min(MOST_PROBLEMS);
    let [head, wrong, panels, keys] = Layout::vertical([
        Constraint::Length(HEAD),
        Constraint::Length(u16::try_from(problems).unwrap_or(0)),
        Constraint::Min(1),
        Constraint::Length(1),
    ])
    .areas(area);
    draw_head(frame, head, summary);
    draw_problems(frame, wrong, summary, theme);
    panels::draw(frame, panels, summary, ui, theme);
    let opened = summary.account.is_some();
    let text = if opened {
        " q quit   Esc close the account   ? help"
    } else {
        " q quit   \u{2191}\u{2193} choose an account   Enter open it   ? help"
    };
    frame.render_widget(Line::from(text).reversed(), keys);
    if ui.help {
        draw_help(frame, area, summary);
    }
    make_safe(frame.buffer_mut());
}

/// Removes control and bidirectional characters, as ratatui passes zero-width ones on.
fn make_safe(buffer: &mut Buffer) {
    for cell in &mut buffer.content {
        if cell.symbol().contains(is_unsafe) {
            let safe = cell.symbol().replace(is_unsafe, "");
            cell.set_symbol(if safe.is_empty() { " " } else { &safe });
        }
    }
}

fn too_small(frame: &mut Frame<'_>, summary: &Summary) {
    let totals = &summary.totals;
    let text = format!(
        "streams {}  accounts {}\nThe screen is too small: {} columns and {} lines show more. q quits.",
        number(totals.streams),
        number(totals.accounts),
        SMALLEST.0,
        SMALLEST.1
    );
    let text = Paragraph::new(text).wrap(Wrap { trim: true });
    frame.render_widget(text, frame.area());
}

fn draw_head(frame: &mut Frame<'_>, area: Rect, summary: &Summary) {
    let totals = &summary.totals;
    let lifecycle = match (summary.lifecycle.subscribed, summary.lifecycle.since) {
        (true, Some(since)) => format!("lifecycle since {}", time(since)),
        _ => "no lifecycle".to_owned(),
    };
    let ttl = totals.ttl_ms.map_or_else(|| "-".to_owned(), age);
    let missing = match totals.partitions_missing {
        0 => String::new(),
        n => format!(
            "   (without {n} of {} partitions)",
            summary.partitions.len()
        ),
    };
    let mut levels: Vec<_> = totals.accounts_by_streams.iter().collect();
    levels.sort_by_key(|(level, _)| level.parse().unwrap_or(u32::MAX));
    let playing = levels.into_iter().filter(|(_, accounts)| **accounts > 0);
    let levels: Vec<_> = playing
        .map(|(level, accounts)| format!("{}: {}", escape(level), number(Some(*accounts))))
        .collect();
    let rates = rates(&summary.per_second);
    let (first, second) = rates.split_at(FIRST_RATES);
    let lines = vec![
        Line::from(vec![
            Span::from(" streamwatch top").bold(),
            Span::from(format!(
                "  {}  workers {}/{}  {lifecycle}  TTL {ttl}",
                time(summary.at),
                summary.answering(),
                summary.workers.len(),
            )),
        ]),
        Line::from(vec![
            Span::from(format!(" streams {}", number(totals.streams))).bold(),
            Span::from(format!("   accounts {}", number(totals.accounts))).bold(),
            Span::from(format!("   remembered {}{missing}", number(totals.records))),
        ]),
        Line::from(format!(" per second  {}", first.join("  "))),
        Line::from(format!("             {}", second.join("  "))),
        Line::from(format!(" accounts by their streams  {}", levels.join("  "))),
    ];
    frame.render_widget(Paragraph::new(lines), area);
}

fn draw_problems(frame: &mut Frame<'_>, area: Rect, summary: &Summary, theme: Theme) {
    let all = summary.problems.len();
    let lines: Vec<_> = summary
        .problems
        .iter()
        .take(MOST_PROBLEMS)
        .enumerate()
        .map(|(n, problem)| {
            let more = if n + 1 == MOST_PROBLEMS && all > MOST_PROBLEMS {
                format!(" (and {} more)", all - MOST_PROBLEMS)
            } else {
                String::new()
            };
            Line::styled(format!(" !{more} {}", escape(problem)), theme.problem())
        })
        .collect();
    frame.render_widget(Paragraph::new(lines), area);
}

fn draw_help(frame: &mut Frame<'_>, area: Rect, summary: &Summary) {
    let mut text = HELP.to_owned();
    for (n, worker) in summary.workers.iter().enumerate() {
        let version = worker.version.as_deref().unwrap_or("does not answer");
        text += &format!("\nw{:<18}{}  {version}", n + 1, worker.metrics);
    }
    let lines = u16::try_from(text.lines().count()).unwrap_or(u16::MAX);
    let area = area.centered(
        Constraint::Length(78.min(area.width)),
        Constraint::Length(lines.saturating_add(2).min(area.height)),
    );
    frame.render_widget(Clear, area);
    let block = Block::bordered().title(" Help: ? or Esc closes it ");
    frame.render_widget(Paragraph::new(text).block(block), area);
}

#[cfg(test)]
mod tests;
