//! The terminal in raw mode, restored in all cases.

use std::io;

use crossterm::event::{Event, EventStream, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use futures_util::StreamExt;
use ratatui::{DefaultTerminal, Frame};

use super::ui::Key;

/// A terminal in raw mode with an alternate screen. Dropping it restores the terminal, and so does
/// a panic.
pub(super) struct Screen {
    terminal: DefaultTerminal,
    events: EventStream,
}

impl Screen {
    /// Enters raw mode and the alternate screen.
    pub(super) fn open() -> io::Result<Self> {
        match ratatui::try_init() {
            Ok(terminal) => Ok(Self {
                terminal,
                events: EventStream::new(),
            }),
            Err(error) => {
                // Undoes a partial change.
                let _ = ratatui::try_restore();
                Err(error)
            }
        }
    }

    /// Draws a frame, in the size that the terminal has now.
    pub(super) fn draw(&mut self, frame: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        self.terminal.draw(frame).map(drop)
    }

    /// Returns the next key; `None` for a new size, or a key without function. Cancel safe. A
    /// closed terminal counts as `q`.
    pub(super) async fn next(&mut self) -> Option<Key> {
        match self.events.next().await {
            Some(Ok(Event::Key(event))) if event.kind != KeyEventKind::Release => key(event),
            Some(Ok(_)) => None,
            Some(Err(_)) | None => Some(Key::Quit),
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = self.terminal.show_cursor();
        let _ = ratatui::try_restore();
    }
}

fn key(event: KeyEvent) -> Option<Key> {
    if event.modifiers.contains(KeyModifiers::CONTROL) {
        // In raw mode, Ctrl-C is a key.
        return (event.code == KeyCode::Char('c')).then_some(Key::Quit);
    }
    match event.code {
        KeyCode::Up | KeyCode::Char('k') => Some(Key::Up),
        KeyCode::Down | KeyCode::Char('j') => Some(Key::Down),
        KeyCode::Enter => Some(Key::Enter),
        KeyCode::Esc => Some(Key::Back),
        KeyCode::Char('?' | 'h') => Some(Key::Help),
        KeyCode::Char('q') => Some(Key::Quit),
        _ => None,
    }
}
