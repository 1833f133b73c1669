//! Imports between the folders of `src` point one way, and files stay short. Clippy bans clocks
//! (`.clippy.toml`); `src/lib.rs` forbids `domain` and `replica` to lift that ban.

use std::{fs, path::Path};

/// Each folder, and the folders and crates that it must not name.
const WALLS: &str = "
    domain: replica wire ops broker worker client edge cli clock tokio lapin
    replica: wire ops broker worker client edge cli clock tokio lapin
    wire: replica ops broker worker client edge cli clock lapin
    ops: replica wire broker worker client edge cli clock lapin
    broker: replica ops worker client edge cli clock
    worker: client edge cli lapin
    client: replica ops worker edge cli lapin
    edge: domain broker replica worker cli lapin
    cli: clock lapin";

fn check(folder: &Path, banned: &str) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            check(&path, banned);
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.lines().count() <= 400, "{path:?} is too long");
        for line in text.lines() {
            let code = line.split("//").next().unwrap_or_default();
            let code = code.replace("std::ops::", "");
            let names = |name: &str| {
                let whole = |rest: &str| !rest.starts_with(|c: char| c.is_alphanumeric());
                let imports = |way: &str| code.split(&format!("{way}{name}")).skip(1).any(whole);
                code.contains(&format!("{name}::"))
                    || ["crate::", "super::", "use "].map(imports).contains(&true)
            };
            let named = banned.split_whitespace().find(|name| names(name));
            assert_eq!(named, None, "{path:?} must not name it: {line}");
        }
    }
}

#[test]
fn imports_point_one_way() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for (folder, banned) in WALLS.lines().filter_map(|wall| wall.split_once(':')) {
        check(&src.join(folder.trim()), banned);
    }
}
