//! What the documents point at is there: a line of SECURITY.md is worth the test that it names.

use std::path::{Path, PathBuf};

/// Every Rust file of the project, with what is in it.
fn sources() -> Vec<(PathBuf, String)> {
    let root = root();
    let mut folders: Vec<PathBuf> =
        ["e2e", "gateway", "protocol", "service-backend", "wallet-app", "xtask"].map(|f| root.join(f)).into();
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder of the project").flatten() {
            let path = entry.path();
            let name = entry.file_name();
            if path.is_dir() && name != "node_modules" && name != "target" {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).expect("a source file");
                found.push((path.strip_prefix(&root).expect("below it").to_owned(), text));
            }
        }
    }
    found
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}

/// What stands between backticks and is a path of modules: `restarts::*`, `edge_forwarding::a_websocket_…`.
fn named(text: &str) -> Vec<Vec<&str>> {
    let quoted = text.split('`').skip(1).step_by(2);
    let is_name = |part: &&str| {
        !part.is_empty() && part.chars().all(|c| matches!(c, 'a'..='z' | '0'..='9' | '_' | '…' | '*'))
    };
    let paths = quoted.map(|quoted| quoted.split("::").collect::<Vec<_>>());
    paths.filter(|path| path.len() > 1 && path.iter().all(is_name)).collect()
}

/// Whether a file is the module, or lies in it. `…` is the one that was named before.
fn is_in(file: &Path, module: &str) -> bool {
    module == "…"
        || file.file_stem().is_some_and(|stem| stem == module)
        || file.iter().any(|part| part == module)
}

fn is_there(sources: &[(PathBuf, String)], path: &[&str]) -> bool {
    let (Some(last), modules) = (path.last(), &path[..path.len() - 1]) else { return false };
    let mut inside = sources.iter().filter(|(file, _)| modules.iter().all(|module| is_in(file, module)));
    match last.strip_suffix(['…', '*']) {
        Some(beginning) => inside.any(|(_, text)| text.contains(&format!("fn {beginning}"))),
        None => inside.any(|(file, text)| {
            file.file_stem().is_some_and(|stem| stem == *last)
                || ["(", "<", ":"].iter().any(|end| text.contains(&format!("fn {last}{end}")))
        }),
    }
}

#[test]
fn every_test_that_the_documents_name_is_there() {
    let sources = sources();
    for document in ["SECURITY.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "docs/edge.md", "docs/protocol.md"]
    {
        let text = std::fs::read_to_string(root().join(document)).expect("a document");
        let gone: Vec<String> = named(&text)
            .into_iter()
            .filter(|path| !is_there(&sources, path))
            .map(|path| path.join("::"))
            .collect();
        assert!(gone.is_empty(), "{document} names what is not there: {gone:#?}");
    }
}

#[test]
fn what_is_not_there_is_found_to_be_missing() {
    let sources = sources();
    for path in ["restarts::no_such_test", "no_such_module::*", "linked::chromium_of_somebody_else_…"] {
        assert!(!is_there(&sources, &path.split("::").collect::<Vec<_>>()), "{path}");
    }
    assert!(is_there(&sources, &["xtask", "every_test_that_the_documents_name_is_there"]));
    assert_eq!(named("see `a::b` and `c` or `Vec::new`, `d::e_…`"), [["a", "b"], ["d", "e_…"]]);
}
