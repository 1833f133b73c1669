//! Shell completions and manual pages, as the shell and `man` read them.

use std::process::Command;

use crate::fixture::cli_with;
use crate::fixture::exit::{DONE, FAILED};

#[tokio::test]
async fn bash_completes_the_commands() {
    let script = cli_with(&[], &["completions", "bash"]).await;
    script.exits(DONE);
    let file = std::env::temp_dir().join(format!("streamwatch-{}.bash", fastrand::u64(..)));
    std::fs::write(&file, &script.stdout).expect("a file");
    // As if a user typed `streamwatch topology d` and the tabulator.
    let asked = "source \"$0\"; COMP_WORDS=(streamwatch topology d); COMP_CWORD=2; \
                 _streamwatch streamwatch d topology; printf '%s ' \"${COMPREPLY[@]}\"";
    let bash = Command::new("bash").args(["-c", asked]).arg(&file).output();
    std::fs::remove_file(&file).expect("it is there");
    let output = String::from_utf8(bash.expect("bash runs").stdout).expect("text");
    assert_eq!(output.trim(), "declare delete");
}

#[tokio::test]
async fn every_command_has_a_manual_page() {
    let folder = std::env::temp_dir().join(format!("streamwatch-{}", fastrand::u64(..)));
    std::fs::create_dir(&folder).expect("a folder");
    let written = cli_with(&[], &["man", folder.to_str().expect("text")]).await;
    let pages = [
        "streamwatch",
        "streamwatch-worker",
        "streamwatch-topology-declare",
    ];
    let texts = pages.map(|page| std::fs::read_to_string(folder.join(format!("{page}.1"))));
    std::fs::remove_dir_all(&folder).expect("it is there");
    written.exits(DONE);
    let [program, worker, declare] = texts.map(|text| text.expect("the page is there"));
    assert!(program.contains("Concurrency monitoring") && program.contains("streamwatch\\-check"));
    assert!(worker.contains("STREAMWATCH_HTTP") && declare.contains("\\-\\-ttl"));
    let nowhere = cli_with(&[], &["man", "/nonexistent/streamwatch"]).await;
    nowhere.exits(FAILED).reports("/nonexistent/streamwatch");
}
