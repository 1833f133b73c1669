//! Selection on the screen and actions of keys. No terminal here.

use super::rows::AccountRow;
use crate::domain::AccountKey;

/// The meaning of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Up,
    Down,
    Enter,
    /// Close the open view.
    Back,
    Help,
    Quit,
}

/// The action to take.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Action {
    Nothing,
    Open(AccountKey),
    Close,
    Quit,
}

/// The selection.
#[derive(Debug, Default)]
pub(super) struct Ui {
    /// By name, so that it stays selected if the order changes.
    chosen: Option<AccountKey>,
    pub(super) help: bool,
}

impl Ui {
    /// Applies a key, given the listed accounts `most` and the `opened` one.
    pub(super) fn press(&mut self, key: Key, most: &[AccountRow], opened: bool) -> Action {
        match key {
            Key::Quit => return Action::Quit,
            Key::Help => self.help = !self.help,
            Key::Back if self.help => self.help = false,
            Key::Back if opened => return Action::Close,
            Key::Up | Key::Down if !opened => self.choose(key, most),
            Key::Enter if !opened => {
                if let Some(n) = self.place(most) {
                    return Action::Open(most[n].key.clone());
                }
            }
            Key::Back | Key::Up | Key::Down | Key::Enter => {}
        }
        Action::Nothing
    }

    fn choose(&mut self, key: Key, most: &[AccountRow]) {
        let last = most.len().saturating_sub(1);
        let place = match (self.place(most), key) {
            (Some(n), Key::Up) => n.saturating_sub(1),
            (Some(n), _) => (n + 1).min(last),
            (None, Key::Up) => last,
            (None, _) => 0,
        };
        self.chosen = most.get(place).map(|row| row.key.clone());
    }

    /// The index of the selection in the list.
    pub(super) fn place(&self, most: &[AccountRow]) -> Option<usize> {
        let chosen = self.chosen.as_ref()?;
        most.iter().position(|row| row.key == *chosen)
    }
}

#[cfg(test)]
mod tests {
    use super::super::state::tests::key;
    use super::*;

    fn rows(accounts: &[&str]) -> Vec<AccountRow> {
        let row = |account: &&str| AccountRow {
            key: key(account),
            streams: 1,
            exact: true,
        };
        accounts.iter().map(row).collect()
    }

    #[test]
    fn arrows_select_and_enter_opens() {
        let (mut ui, most) = (Ui::default(), rows(&["alice", "bob"]));
        assert_eq!(ui.press(Key::Enter, &most, false), Action::Nothing);
        for (arrow, place) in [
            (Key::Down, 0),
            (Key::Down, 1),
            (Key::Down, 1),
            (Key::Up, 0),
            (Key::Up, 0),
        ] {
            assert_eq!(ui.press(arrow, &most, false), Action::Nothing);
            assert_eq!(ui.place(&most), Some(place));
        }
        assert_eq!(
            ui.press(Key::Enter, &most, false),
            Action::Open(key("alice"))
        );
        assert_eq!(ui.press(Key::Back, &most, true), Action::Close);
        assert_eq!(ui.press(Key::Down, &[], false), Action::Nothing);
    }

    #[test]
    fn a_selection_stays_if_the_order_changes() {
        let mut ui = Ui::default();
        ui.press(Key::Down, &rows(&["alice", "bob"]), false);
        assert_eq!(ui.place(&rows(&["carol", "bob", "alice"])), Some(2));
        assert_eq!(ui.place(&rows(&["carol"])), None);
    }

    #[test]
    fn escape_closes_the_help_before_the_account() {
        let mut ui = Ui::default();
        ui.press(Key::Help, &[], true);
        assert!(ui.help);
        assert_eq!(ui.press(Key::Back, &[], true), Action::Nothing);
        assert!(!ui.help);
        assert_eq!(ui.press(Key::Back, &[], true), Action::Close);
        assert_eq!(ui.press(Key::Quit, &[], true), Action::Quit);
    }
}
