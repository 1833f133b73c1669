//! Values from files, replaced when the files change.

use std::{
    fmt, fs, io,
    path::Path,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use tokio::time::{Interval, MissedTickBehavior, interval};

/// Interval between reads of the files, which are small.
const READ_EVERY: Duration = Duration::from_secs(5);
/// Largest file, in bytes.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// The problems of a file, each with its place. They quote no secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("; "))]
pub struct FileProblems(pub Vec<String>);

impl FileProblems {
    /// A problem of a file, or of a part of it.
    pub(super) fn of(place: impl fmt::Display, problem: impl fmt::Display) -> Self {
        Self(vec![format!("{place}: {problem}")])
    }
}

/// Reads a file of at most 1 MiB.
pub(super) fn read(file: &Path) -> Result<Vec<u8>, FileProblems> {
    let content = match fs::metadata(file) {
        Ok(about) if about.len() > MAX_FILE_BYTES => {
            return Err(FileProblems::of(file.display(), "larger than 1 MiB"));
        }
        Ok(_) => fs::read(file),
        Err(error) => Err(error),
    };
    let unreadable = |error: io::Error| format!("cannot read it: {}", error.kind());
    content.map_err(|error| FileProblems::of(file.display(), unreadable(error)))
}

/// Reads a text file.
pub(super) fn read_text(file: &Path) -> Result<String, FileProblems> {
    String::from_utf8(read(file)?).map_err(|_| FileProblems::of(file.display(), "not UTF-8"))
}

/// The number of the line with a syntax error.
pub(super) fn line_of(text: &str, error: &toml::de::Error) -> usize {
    let before = error.span().and_then(|span| text.get(..span.start));
    before.map_or(1, |before| before.matches('\n').count() + 1)
}

/// The current value. Clones share it.
pub(super) struct Current<T>(Arc<RwLock<Arc<T>>>);

impl<T> Clone for Current<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Current<T> {
    pub(super) fn new(value: T) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(value))))
    }

    pub(super) fn get(&self) -> Arc<T> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn set(&self, value: T) {
        let mut value = Arc::new(value);
        std::mem::swap(
            &mut *self.0.write().unwrap_or_else(PoisonError::into_inner),
            &mut value,
        );
        // The former value is dropped here, without the lock, since it can be large.
    }
}

/// The times of reads.
pub(super) fn times() -> Interval {
    let mut times = interval(READ_EVERY);
    times.set_missed_tick_behavior(MissedTickBehavior::Delay);
    times
}

/// Files that are read periodically.
pub(super) struct Files<C> {
    /// The name of their content, in logs.
    what: &'static str,
    /// The content of the last successful read.
    content: Option<C>,
    /// The mistake of the last read, if it failed.
    mistake: Option<FileProblems>,
}

impl<C: PartialEq + Send + 'static> Files<C> {
    pub(super) const fn new(what: &'static str) -> Self {
        Self {
            what,
            content: None,
            mistake: None,
        }
    }

    /// Reads the files. Returns whether the content has changed. A mistake is logged once.
    pub(super) async fn have_changed(
        &mut self,
        read: impl FnOnce() -> Result<C, FileProblems> + Send + 'static,
    ) -> bool {
        // A file system that hangs must not block requests.
        match tokio::task::spawn_blocking(read).await {
            Ok(Ok(content)) => {
                self.mistake = None;
                let has_changed = self.content.as_ref() != Some(&content);
                self.content = Some(content);
                has_changed
            }
            Ok(Err(mistake)) => {
                if self.mistake.as_ref() != Some(&mistake) {
                    self.reject(&mistake);
                }
                self.mistake = Some(mistake);
                false
            }
            Err(_) => false,
        }
    }

    /// The content of the last successful read.
    pub(super) const fn content(&self) -> Option<&C> {
        self.content.as_ref()
    }

    /// Replaces the current value by that of changed files, unless they have a mistake.
    pub(super) fn put<T>(&self, value: Result<T, FileProblems>, current: &Current<T>) {
        match value {
            Ok(value) => {
                current.set(value);
                tracing::info!("loaded changed {}", self.what);
            }
            Err(mistake) => self.reject(&mistake),
        }
    }

    fn reject(&self, mistake: &FileProblems) {
        let what = self.what;
        tracing::error!(%mistake, "cannot load changed {what}; the edge keeps using the previous {what}");
    }
}

/// Reads files every 5 s, and replaces the current value when they have changed. Never returns.
pub(super) async fn keep_current<C: PartialEq + Send + 'static, T>(
    mut files: Files<C>,
    read: impl Fn() -> Result<C, FileProblems> + Clone + Send + 'static,
    value_of: impl Fn(&C) -> Result<T, FileProblems>,
    current: &Current<T>,
) {
    let mut times = times();
    loop {
        times.tick().await;
        if files.have_changed(read.clone()).await
            && let Some(content) = files.content()
        {
            files.put(value_of(content), current);
        }
    }
}
