//! The terminal: taken over, and given back whatever happens.

use std::io;

use crossterm::event::{Event, EventStream, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use futures_util::StreamExt;
use ratatui::{DefaultTerminal, Frame};

use super::ui::Key;

/// A terminal in raw mode that shows nothing but ours. Dropping it gives it back; so does a panic.
pub(super) struct Screen {
    terminal: DefaultTerminal,
    events: EventStream,
}

/// What somebody did at the terminal.
pub(super) enum Input {
    Pressed(Key),
    /// It has another size, or a key means nothing.
    Other,
}

impl Screen {
    /// Takes the terminal over.
    pub(super) fn open() -> io::Result<Self> {
        match ratatui::try_init() {
            Ok(terminal) => Ok(Self {
                terminal,
                events: EventStream::new(),
            }),
            Err(error) => {
                // Perhaps half of it is done.
                let _ = ratatui::try_restore();
                Err(error)
            }
        }
    }

    /// Draws a frame, in the size that the terminal has now.
    pub(super) fn draw(&mut self, frame: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        self.terminal.draw(frame).map(drop)
    }

    /// The next input. Dropping the future loses none. A terminal that is gone is as good as `q`.
    pub(super) async fn next(&mut self) -> Input {
        match self.events.next().await {
            Some(Ok(Event::Key(event))) if event.kind != KeyEventKind::Release => {
                key(event).map_or(Input::Other, Input::Pressed)
            }
            Some(Ok(_)) => Input::Other,
            Some(Err(_)) | None => Input::Pressed(Key::Quit),
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
        // In raw mode Ctrl-C is no signal.
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
