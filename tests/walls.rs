//! The allowed imports of each folder.
//!
//! The rules stay testable without a broker or a clock only as long as they
//! cannot reach one, and a protocol library stays replaceable only as long as
//! one folder imports it. Compilers do not check that, so this test reads the
//! sources as text.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

/// The other folders of `src/` that each folder may import.
const ARROWS: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("replica", &["domain"]),
    ("wire", &["domain"]),
    ("ops", &["domain"]),
    ("broker", &["wire", "domain"]),
    ("clock", &[]),
    ("allocator", &[]),
    (
        "worker",
        &["replica", "broker", "wire", "domain", "ops", "clock"],
    ),
    ("client", &["broker", "wire", "domain", "clock"]),
    (
        "cli",
        &[
            "worker", "client", "broker", "replica", "wire", "ops", "domain",
        ],
    ),
];

/// Crates that only some folders may name.
const CRATES: &[(&str, &[&str])] = &[
    ("lapin", &["broker"]),
    (
        "tokio",
        &["broker", "worker", "client", "ops", "cli", "wire"],
    ),
    (
        "axum",
        &["ops", "worker", "cli", "broker", "client", "wire"],
    ),
    (
        "metrics",
        &["ops", "worker", "cli", "broker", "client", "wire"],
    ),
    ("ratatui", &["cli"]),
    ("crossterm", &["cli"]),
];

/// Clocks: time reaches the rules as an argument.
const CLOCKS: &[&str] = &["Instant::now", "SystemTime"];
const WITHOUT_A_CLOCK: &[&str] = &["domain", "replica"];

const LONGEST_FILE: usize = 400;

const TOP_LEVEL: &[&str] = &[
    "Cargo.toml",
    "Cargo.lock",
    "README.md",
    "LICENSE",
    "CHANGELOG.md",
    "src",
    "deploy",
    "tests",
    "target",
];

#[derive(Debug, PartialEq, Eq)]
struct Violation {
    place: String,
    what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.what)
    }
}

/// Everything in one source file that goes against the walls. `path` is
/// relative to `src/`, with forward slashes.
fn violations(path: &str, text: &str) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut report = |line: usize, what: String| {
        found.push(Violation {
            place: format!("src/{path}:{line}"),
            what,
        });
    };

    let lines = text.lines().count();
    if lines > LONGEST_FILE {
        report(
            lines,
            format!("{lines} lines; a file has one reason to change and at most {LONGEST_FILE}"),
        );
    }
    if path == "lib.rs" && !text.contains("#![forbid(unsafe_code)]") {
        report(1, "`#![forbid(unsafe_code)]` is missing".into());
    }

    let Some(folder) = folder_of(path) else {
        return found; // main.rs and lib.rs wire everything together.
    };
    let Some((_, neighbours)) = ARROWS.iter().find(|(name, _)| *name == folder) else {
        report(
            1,
            format!("`{folder}` is not a folder of the map in DESIGN.md"),
        );
        return found;
    };

    let code: Vec<String> = text.lines().map(without_comment).collect();
    for (index, line) in code.iter().enumerate() {
        for (name, allowed) in CRATES {
            if names_crate(line, name) && !allowed.contains(&folder) {
                report(index + 1, format!("`{folder}` must not name {name}"));
            }
        }
        if WITHOUT_A_CLOCK.contains(&folder) {
            for clock in CLOCKS {
                if has_word(line, clock) {
                    report(
                        index + 1,
                        format!("`{folder}` must not name {clock}: time comes as an argument"),
                    );
                }
            }
        }
    }
    for (line, module) in imports(path, &code) {
        let known = ARROWS.iter().any(|(name, _)| *name == module);
        if known && module != folder && !neighbours.contains(&module.as_str()) {
            report(
                line,
                format!("`{folder}` must not import `{module}`: the arrows point the other way"),
            );
        }
    }
    found
}

/// The folder (or the module file beside it) that a path belongs to; `None` for
/// the crate's roots.
fn folder_of(path: &str) -> Option<&str> {
    match path.split_once('/') {
        Some((folder, _)) => Some(folder),
        None if path == "lib.rs" || path == "main.rs" => None,
        None => path.strip_suffix(".rs"),
    }
}

/// A line up to its `//`, with emptied strings, as comments and texts are not
/// imports.
fn without_comment(line: &str) -> String {
    let mut code = String::with_capacity(line.len());
    let line = line.replace("'\"'", "' '").replace("'\\\"'", "' '");
    let mut rest = line.chars().peekable();
    let mut in_string = false;
    while let Some(c) = rest.next() {
        match c {
            '\\' if in_string => {
                rest.next();
            }
            '"' => {
                in_string = !in_string;
                code.push(c);
            }
            '/' if !in_string && rest.peek() == Some(&'/') => break,
            _ if in_string => {}
            _ => code.push(c),
        }
    }
    code
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Where `word` stands in `line` as a whole word; yields what comes after it.
fn after_word<'a>(line: &'a str, word: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
    line.match_indices(word).filter_map(move |(at, _)| {
        let (before, after) = (&line[..at], &line[at + word.len()..]);
        let whole = !before.ends_with(is_word) && !after.starts_with(is_word);
        whole.then_some((before, after))
    })
}

fn has_word(line: &str, word: &str) -> bool {
    after_word(line, word).next().is_some()
}

/// `name::…`, `use name;`, `use name as …` and `#[name::main]`, but not a local
/// variable or a module of ours that has the same name.
fn names_crate(line: &str, name: &str) -> bool {
    after_word(line, name).any(|(before, after)| {
        let ours = before
            .strip_suffix("::")
            .is_some_and(|path| path.ends_with(is_word));
        let used = before.trim_end().ends_with("use") || before.trim_end().ends_with("crate");
        !ours && (after.starts_with("::") || used)
    })
}

/// Modules at the crate's root that a file names: `crate::x`, `crate::{x, y::z}`
/// over several lines, and `super::super::x` where that leads to the root.
fn imports(path: &str, code: &[String]) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let text = code.join("\n");
    let line_of = |at: usize| text[..at].matches('\n').count() + 1;

    let depth = {
        let parts = path.trim_end_matches(".rs").split('/').collect::<Vec<_>>();
        parts.len() - usize::from(parts.last() == Some(&"mod"))
    };
    let to_the_root = "super::".repeat(depth);
    for prefix in ["crate::", "streamwatch::", to_the_root.as_str()] {
        for (at, _) in text.match_indices(prefix) {
            if text[..at].ends_with(is_word) || text[..at].ends_with("super::") {
                continue;
            }
            let start = at + prefix.len();
            if text[start..].starts_with('{') {
                for (offset, name) in first_names(&text[start..]) {
                    found.push((line_of(start + offset), name));
                }
            } else {
                let name = text[start..].chars().take_while(|c| is_word(*c)).collect();
                found.push((line_of(at), name));
            }
        }
    }
    found
}

/// The first name of each path in a `{…}` group.
fn first_names(group: &str) -> Vec<(usize, String)> {
    let mut names = Vec::new();
    let mut depth = 0_u32;
    let mut expected = false;
    for (at, c) in group.char_indices() {
        match c {
            '{' => {
                depth += 1;
                expected = depth == 1;
            }
            '}' => {
                depth -= 1;
                if depth == 0 {
                    break;
                }
            }
            ',' if depth == 1 => expected = true,
            c if expected && is_word(c) => {
                expected = false;
                let name = group[at..].chars().take_while(|c| is_word(*c)).collect();
                names.push((at, name));
            }
            _ => {}
        }
    }
    names
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn sources(folder: &Path, into: &mut BTreeSet<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("src can be read") {
        let path = entry.expect("src can be read").path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            into.insert(path);
        }
    }
}

#[test]
fn the_sources_keep_to_the_walls() {
    let src = root().join("src");
    let mut files = BTreeSet::new();
    sources(&src, &mut files);
    assert!(!files.is_empty(), "no sources in {}", src.display());

    let mut found = Vec::new();
    for file in &files {
        let path = file.strip_prefix(&src).expect("it is in src");
        let text = std::fs::read_to_string(file).expect("a source is UTF-8");
        found.extend(violations(
            &path.to_string_lossy().replace('\\', "/"),
            &text,
        ));
    }
    let list: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert!(list.is_empty(), "\n{}\n", list.join("\n"));
}

#[test]
fn the_visible_top_level_holds_only_what_a_newcomer_needs() {
    let extra: Vec<String> = std::fs::read_dir(root())
        .expect("the checkout can be read")
        .map(|entry| {
            entry
                .expect("the checkout can be read")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .filter(|name| !name.starts_with('.') && !TOP_LEVEL.contains(&name.as_str()))
        .collect();
    assert!(extra.is_empty(), "not expected at the top level: {extra:?}");
}

/// The places and texts of what a piece of source would be blamed for.
fn blamed(path: &str, text: &str) -> Vec<String> {
    violations(path, text)
        .iter()
        .map(ToString::to_string)
        .collect()
}

#[test]
fn the_rules_may_not_reach_for_a_clock_or_a_broker() {
    for (line, name) in [
        ("use tokio::time::sleep;", "tokio"),
        ("let c = lapin::Channel::new();", "lapin"),
        ("use lapin;", "lapin"),
        ("use axum as web;", "axum"),
        ("metrics::counter!(\"x\").increment(1);", "metrics"),
        ("    #[tokio::test]", "tokio"),
        ("let now = Instant::now();", "Instant::now"),
        ("let now = std::time::Instant::now();", "Instant::now"),
        ("use std::time::SystemTime;", "SystemTime"),
        ("use ::tokio::sync;", "tokio"),
    ] {
        for folder in ["domain", "replica"] {
            let list = blamed(&format!("{folder}/mod.rs"), &format!("\n{line}\n"));
            assert_eq!(list.len(), 1, "{line} in {folder}: {list:?}");
            assert!(
                list[0].starts_with(&format!("src/{folder}/mod.rs:2: ")),
                "{list:?}"
            );
            assert!(list[0].contains(name), "{list:?}");
        }
    }
}

#[test]
fn prose_strings_and_names_of_our_own_are_not_blamed() {
    for line in [
        "// no tokio::spawn here, see crate::worker",
        "/// Like [`crate::wire`], but without lapin::Channel.",
        "let metrics = Metrics::default(); metrics.add(1);",
        "let text = \"use lapin::Channel; SystemTime\";",
        "use crate::domain::tokio::Thing;",
        "fn arrived(now: Instant) {}",
        "let url = \"amqp://host\"; let quote = '\"'; let x = 1; // lapin::x",
        "use super::super::domain::Tenant;",
    ] {
        assert_eq!(blamed("replica/state.rs", line), Vec::<String>::new());
    }
}

#[test]
fn only_the_broker_folder_names_lapin() {
    let line = "use lapin::Channel;\n";
    assert_eq!(
        blamed("worker/run.rs", line),
        ["src/worker/run.rs:1: `worker` must not name lapin"]
    );
    assert_eq!(blamed("client/mod.rs", line).len(), 1);
    assert_eq!(blamed("cli/play.rs", line).len(), 1);
    assert_eq!(blamed("broker/log.rs", line), Vec::<String>::new());
}

#[test]
fn imports_follow_the_arrows() {
    assert_eq!(
        blamed("domain/ids.rs", "use crate::wire::Problem;\n"),
        ["src/domain/ids.rs:1: `domain` must not import `wire`: the arrows point the other way"]
    );
    assert_eq!(
        blamed(
            "wire/mod.rs",
            "use crate::{\n    domain::{Tenant, replica},\n    broker::Log,\n};\n"
        ),
        ["src/wire/mod.rs:3: `wire` must not import `broker`: the arrows point the other way"]
    );
    assert_eq!(
        blamed("domain/ids.rs", "use super::super::ops::Health;\n").len(),
        1
    );
    assert_eq!(
        blamed("ops/mod.rs", "fn f() { crate::replica::f() }\n").len(),
        1
    );
    assert_eq!(blamed("broker.rs", "use crate::worker::Run;\n").len(), 1);
    for (path, line) in [
        ("replica/mod.rs", "use crate::domain::Tenant;"),
        ("worker/mod.rs", "use crate::{broker, replica, ops, wire};"),
        ("cli/mod.rs", "use crate::{client, worker};"),
        ("main.rs", "use streamwatch::cli;"),
        ("domain/account.rs", "use crate::domain::ids::StreamId;"),
        ("domain/account.rs", "use super::wire_format::X;"),
    ] {
        assert_eq!(blamed(path, line), Vec::<String>::new(), "{path}");
    }
}

#[test]
fn long_files_strange_folders_and_a_root_without_its_promise_are_blamed() {
    assert!(blamed("domain/mod.rs", &"//\n".repeat(401))[0].contains("401 lines"));
    assert_eq!(
        blamed("domain/mod.rs", &"//\n".repeat(400)),
        Vec::<String>::new()
    );
    assert!(blamed("util/mod.rs", "")[0].contains("`util` is not a folder"));
    assert!(blamed("lib.rs", "//! Docs\n")[0].contains("forbid(unsafe_code)"));
    assert_eq!(
        blamed("lib.rs", "#![forbid(unsafe_code)]\n"),
        Vec::<String>::new()
    );
}
