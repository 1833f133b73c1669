//! Values that files state, and that change while they are used.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use tokio::time::{Interval, MissedTickBehavior, interval};

/// Interval of reads of the files, which are small.
const READ_EVERY: Duration = Duration::from_secs(5);
/// Largest file, in bytes.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// A file that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {problem}", file.display())]
pub struct FileError {
    /// The file.
    pub file: PathBuf,
    /// The cause.
    pub problem: String,
}

/// Reads a file of at most 1 MiB.
pub(super) fn read(file: &Path) -> Result<Vec<u8>, FileError> {
    let problem = match fs::metadata(file).map(|about| about.len()) {
        Ok(bytes) if bytes > MAX_FILE_BYTES => "it has more than 1 MiB".to_owned(),
        Ok(_) => match fs::read(file) {
            Ok(content) => return Ok(content),
            Err(error) => format!("cannot read it: {}", error.kind()),
        },
        Err(error) => format!("cannot read it: {}", error.kind()),
    };
    let file = file.to_owned();
    Err(FileError { file, problem })
}

/// Reads a file of text.
pub(super) fn read_text(file: &Path) -> Result<String, FileError> {
    String::from_utf8(read(file)?).map_err(|_| FileError {
        file: file.to_owned(),
        problem: "it is not UTF-8".to_owned(),
    })
}

/// The value in use. Clones share it.
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

/// Files that are read again and again.
pub(super) struct Files<C, E> {
    /// The value that they state, in logs.
    what: &'static str,
    /// The content, as of the last time that it could be read.
    content: Option<C>,
    /// The mistake, if they cannot be read now.
    mistake: Option<E>,
}

impl<C, E> Files<C, E>
where
    C: PartialEq + Send + 'static,
    E: PartialEq + fmt::Display + Send + 'static,
{
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
        read: impl FnOnce() -> Result<C, E> + Send + 'static,
    ) -> bool {
        // A file system that hangs must not hold up requests.
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

    /// The content, as of the last time that it could be read.
    pub(super) const fn content(&self) -> Option<&C> {
        self.content.as_ref()
    }

    /// Puts the value of changed files in use, unless they have a mistake.
    pub(super) fn put<T>(&self, value: Result<T, E>, current: &Current<T>) {
        match value {
            Ok(value) => {
                current.set(value);
                tracing::info!("the files of {} are in use", self.what);
            }
            Err(mistake) => self.reject(&mistake),
        }
    }

    fn reject(&self, mistake: &E) {
        let what = self.what;
        tracing::error!(%mistake, "cannot use the changed files of {what}; those before stay in use");
    }
}

/// Reads files every 5 s, and puts their value in use once they have changed. Never returns.
pub(super) async fn keep_current<C, E, T>(
    mut files: Files<C, E>,
    read: impl Fn() -> Result<C, E> + Clone + Send + 'static,
    value_of: impl Fn(&C) -> Result<T, E>,
    current: &Current<T>,
) where
    C: PartialEq + Send + 'static,
    E: PartialEq + fmt::Display + Send + 'static,
{
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
