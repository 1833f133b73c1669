//! An in-memory log, which may be truncated.

use std::{collections::VecDeque, rc::Rc};

use streamwatch::domain::{Entry, Internal, InternalEntry};

#[derive(Default)]
pub struct Log {
    /// Number of times that the log was deleted and declared again.
    pub generation: u32,
    /// Number of these times, and of losses of the last entries.
    pub epoch: u32,
    first: u64,
    entries: VecDeque<(u64, Rc<Entry>)>,
}

impl Log {
    /// Appends at true time `at` and returns the offset.
    pub fn append(&mut self, at: u64, entry: Rc<Entry>) -> u64 {
        self.entries.push_back((at, entry));
        self.end() - 1
    }

    /// The offset of the oldest entry.
    pub fn first(&self) -> u64 {
        self.first
    }

    /// The offset of the next entry.
    pub fn end(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    /// The entries from `offset` on. As on a real broker, truncated ones are skipped silently, and
    /// an offset after the end returns none.
    pub fn from(&self, offset: u64) -> impl Iterator<Item = (u64, &Rc<Entry>)> {
        let skip = offset.saturating_sub(self.first) as usize;
        let offsets = self.first..;
        let entries = self.entries.iter().map(|(_, entry)| entry);
        offsets.zip(entries).skip(skip)
    }

    /// The entry at `offset`, if it exists.
    pub fn at(&self, offset: u64) -> Option<&Entry> {
        let there = self.from(offset).next();
        there.and_then(|(first, entry)| (first == offset).then_some(&**entry))
    }

    /// Drops the entries that were appended before `before`.
    pub fn truncate(&mut self, before: u64) {
        while self.entries.front().is_some_and(|(at, _)| *at < before) {
            self.entries.pop_front();
            self.first += 1;
        }
    }

    /// Drops the entries from `end` on; others get their offsets.
    pub fn lose_tail(&mut self, end: u64) {
        self.epoch += 1;
        self.entries.truncate((end - self.first) as usize);
    }

    /// The offset from which on the log contains the settings and a time.
    pub fn settings_from(&self) -> Option<u64> {
        let named = self.entries.iter().find(|(_, entry)| match &**entry {
            Entry::Internal(InternalEntry {
                body: Internal::Tick(Some(_)),
                writer_state,
                ..
            }) => writer_state.is_some(),
            Entry::Internal(InternalEntry {
                body: Internal::Settings { .. },
                ..
            }) => self.first == 0,
            _ => false,
        });
        named.map(|(at, _)| *at)
    }

    /// Deletes the log and declares it again.
    pub fn declare_anew(&mut self) {
        *self = Self {
            generation: self.generation + 1,
            epoch: self.epoch + 1,
            ..Self::default()
        };
    }
}
