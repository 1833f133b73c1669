//! Reads the access file and its changes.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use futures_util::future::join_all;
use tokio::{sync::Notify, time::Instant};

use super::{
    AccessRules,
    config::{AccessFile, Fetched, Tables},
    jwks,
    secret::Secret,
};
use crate::edge::{
    FileProblems,
    reload::{Current, Files, line_of, read_text, times},
};

/// Interval between reads of the key URLs.
const FETCH_EVERY: Duration = Duration::from_secs(5 * 60);
/// Interval between reads of the key URLs until all have been read.
const FETCH_AGAIN: Duration = Duration::from_secs(15);
/// Shortest time from one read of the key URLs to the next if a token names an unknown key.
const FETCH_FOR_KEY: Duration = Duration::from_secs(30);

/// Reads an access file, and the files that it names.
pub(super) fn read(file: &Path) -> Result<AccessFile, FileProblems> {
    let tables = parse(file, &read_text(file)?)?;
    let mut files = BTreeMap::new();
    let base = file.parent().unwrap_or(Path::new(""));
    for named in named(&tables) {
        let content = read_text(&base.join(&named))?;
        files.insert(named, Secret(content));
    }
    Ok(AccessFile {
        file: file.to_owned(),
        tables,
        files,
    })
}

fn parse(file: &Path, text: &str) -> Result<Tables, FileProblems> {
    toml::from_str(text).map_err(|error| mistake(file, text, &error))
}

/// Checks the text of an access file that names no other files.
///
/// # Errors
/// [`FileProblems`] if it has a mistake, or names a file.
pub fn check_file(text: &str) -> Result<(), FileProblems> {
    let file = Path::new("access.toml");
    let loaded = AccessFile {
        file: file.to_owned(),
        tables: parse(file, text)?,
        files: BTreeMap::new(),
    };
    loaded.rules(&Fetched::new()).map(drop)
}

/// A syntax error of the file. Most of the parser's messages quote values, which may be secrets.
fn mistake(file: &Path, text: &str, error: &toml::de::Error) -> FileProblems {
    let place = format!("{}, line {}", file.display(), line_of(text, error));
    let about_names = ["unknown field", "missing field", "duplicate key"];
    let message = error.message();
    if about_names.iter().any(|start| message.starts_with(start)) {
        return FileProblems::of(place, message);
    }
    FileProblems::of(place, "the file is not TOML, or a value has a wrong type")
}

/// The files that the tables name.
fn named(tables: &Tables) -> impl Iterator<Item = PathBuf> {
    let secrets = tables.applications.iter().map(|it| &it.secret_file);
    let of_keys = tables.tokens.iter().flat_map(|it| &it.keys);
    let keys = of_keys.flat_map(|it| [&it.secret_file, &it.pem_file]);
    let sets = tables.tokens.iter().map(|it| &it.jwks_file);
    secrets.chain(keys).chain(sets).flatten().cloned()
}

/// Reads the files and the key URLs periodically, and applies changes. Never returns.
pub(super) async fn keep_current(
    file: &Path,
    current: &Current<AccessRules>,
    unknown_key: &Notify,
) {
    let mut state = State {
        files: Files::new("access rules"),
        fetched: Fetched::new(),
        fetched_at: None,
        fetch_at: None,
    };
    let mut times = times();
    loop {
        tokio::select! {
            _ = times.tick() => {}
            () = unknown_key.notified() => {
                let soon = state.fetched_at.map(|at| at + FETCH_FOR_KEY);
                state.fetch_at = state.fetch_at.min(soon);
                // The next tick reads the URLs.
                continue;
            }
        }
        if state.has_changed(file).await
            && let Some(loaded) = state.files.content()
        {
            state.files.put(loaded.rules(&state.fetched), current);
        }
    }
}

struct State {
    files: Files<AccessFile>,
    fetched: Fetched,
    fetched_at: Option<Instant>,
    fetch_at: Option<Instant>,
}

impl State {
    /// Reads the files, and the URLs if they are due. Returns whether something has changed.
    async fn has_changed(&mut self, file: &Path) -> bool {
        let path = file.to_owned();
        let has_changed = self.files.have_changed(move || read(&path)).await;
        if has_changed {
            self.fetch_at = None;
        }
        has_changed | self.fetch().await
    }

    /// Reads the URLs if they are due. A URL that cannot be read keeps its keys. Returns whether a key
    /// set has changed.
    async fn fetch(&mut self) -> bool {
        let now = Instant::now();
        let tables = self.files.content().map(|loaded| &loaded.tables);
        let tokens = tables.into_iter().flat_map(|tables| &tables.tokens);
        let urls: Vec<_> = tokens.filter_map(|it| it.jwks_url.clone()).collect();
        if urls.is_empty() || self.fetch_at.is_some_and(|at| now < at) {
            return false;
        }
        self.fetched.retain(|url, _| urls.contains(url));
        let (mut failed, mut has_changed) = (false, false);
        // At the same time, so that a slow server does not delay the others.
        let fetched = join_all(urls.iter().map(|url| jwks::fetch(url))).await;
        for (url, fetched) in urls.into_iter().zip(fetched) {
            match fetched {
                Ok(set) => {
                    has_changed |= self.fetched.get(&url) != Some(&set);
                    self.fetched.insert(url, set);
                }
                Err(error) => {
                    failed = true;
                    tracing::warn!(
                        url,
                        error,
                        "cannot read token keys; the edge keeps using the keys that it read before"
                    );
                }
            }
        }
        self.fetched_at = Some(now);
        self.fetch_at = Some(now + if failed { FETCH_AGAIN } else { FETCH_EVERY });
        has_changed
    }
}
