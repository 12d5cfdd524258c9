//! The program itself: what it says when it cannot start, and how it stops.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use crate::world::CLIENT_SECRET;

fn serve(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_miid-service"));
    command
        .current_dir(folder)
        .env_clear()
        .env("MIID_SERVICE_CLIENT_SECRET", CLIENT_SECRET)
        .args(["serve", "--listen", "127.0.0.1:0", "--gateway-url", "http://127.0.0.1:9"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn fails(command: &mut Command) -> String {
    let Output { status, stderr, stdout } = command.output().expect("it runs");
    let said = String::from_utf8_lossy(&stderr).into_owned();
    assert!(!status.success(), "{said}");
    assert!(stdout.is_empty(), "it never said that it listens");
    assert!(!said.contains(CLIENT_SECRET) && !said.contains("panicked"), "{said}");
    said
}

fn listening(command: &mut Command) -> (Child, String) {
    let mut child = command.spawn().expect("it starts");
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().expect("stdout")).read_line(&mut line).expect("a line");
    let url = line.trim().strip_prefix("listening on ").unwrap_or_else(|| panic!("{line:?}")).to_owned();
    (child, url)
}

#[test]
fn it_says_where_it_listens_and_stops_when_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut child, url) = listening(&mut serve(folder.path()));
    assert!(url.starts_with("http://127.0.0.1:") && !url.ends_with(":0"));
    assert!(folder.path().join("data/service/service.key").is_file());
    let second = fails(&mut serve(folder.path()));
    assert!(second.contains("in use by another miid-service"), "{second}");
    let killed = Command::new("kill").arg(child.id().to_string()).status().expect("kill");
    assert!(killed.success());
    assert!(child.wait().expect("it ends").success());
    for left in ["service.db-wal", "service.db-shm"] {
        assert!(
            !folder.path().join("data/service").join(left).exists(),
            "{left}: the database was not closed"
        );
    }
    let (mut again, _) = listening(&mut serve(folder.path()));
    again.kill().expect("killed");
    again.wait().expect("it ends");
}

#[test]
fn what_it_cannot_start_with_it_says_in_words() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path();
    for (args, expected) in [
        (vec!["--database-url", "mysql://x"], "sqlite://<file> or postgres://"),
        (vec!["--database-url", "sqlite::memory:"], "needs a file"),
        (vec!["--database-url", "sqlite:///proc/no/such.db"], "cannot be opened for writing"),
        (vec!["--gateway-url", "http://gateway.example"], "gateway URL"),
        (vec!["--public-url", "http://127.0.0.1:1/"], "public URL"),
        (vec!["--listen", "0.0.0.0:0"], "--public-url is missing"),
        (vec!["--return-url", "http://127.0.0.1:1/auth/return"], "return URL"),
        (vec!["--binding", "both"], "any, linked or addressed"),
        (vec!["--claims", "Name"], "claims"),
        (vec!["--client-id", "X"], "client id"),
        (vec!["--client-secret-file", "/no/such"], "cannot be read"),
        (vec!["--pages-dir", "/no/such"], "holds no index.html"),
        (vec!["--fail-closed-after", "1s"], "fail-closed-after"),
    ] {
        let (flag, value) = (args[0], args[1]);
        let mut command = serve(path);
        if flag == "--listen" || flag == "--gateway-url" {
            // These are given already; the environment stands behind the flags, so build it anew.
            command = Command::new(env!("CARGO_BIN_EXE_miid-service"));
            command
                .current_dir(path)
                .env_clear()
                .env("MIID_SERVICE_CLIENT_SECRET", CLIENT_SECRET)
                .arg("serve");
            if flag == "--gateway-url" {
                command.args(["--listen", "127.0.0.1:0"]);
            }
        }
        let said = fails(command.args([flag, value]));
        assert!(said.contains(expected), "{flag} {value}: {said}");
    }
    let said = fails(serve(path).env_remove("MIID_SERVICE_CLIENT_SECRET"));
    assert!(said.contains("no client secret"), "{said}");
    let said = fails(serve(path).env("MIID_SERVICE_CLIENT_SECRET", "hunter2"));
    assert!(said.contains("client secret") && !said.contains("hunter2"), "{said}");
}

#[test]
fn a_client_secret_that_others_can_read_is_pointed_out() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("secret");
    std::fs::write(&file, CLIENT_SECRET).expect("written");
    for (mode, is_said) in [(0o600, false), (0o444, true), (0o640, true)] {
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).expect("chmod");
        let said =
            fails(serve(folder.path()).arg("--client-secret-file").arg(&file).args(["--pages-dir", "/no"]));
        assert!(said.contains("holds no index.html"), "it went on: {said}");
        assert_eq!(said.contains("can be read by others"), is_said, "{mode:o}: {said}");
    }
}

#[test]
fn another_key_file_and_a_newer_database_are_refused_and_nothing_is_damaged() {
    let folder = tempfile::tempdir().expect("a folder");
    let stop = |(mut child, _): (Child, String)| {
        child.kill().expect("killed");
        child.wait().expect("it ends");
    };
    stop(listening(&mut serve(folder.path())));
    let said = fails(serve(folder.path()).args(["--key-file", "other.key"]));
    assert!(said.contains("not the one that this database was made with"), "{said}");

    let url = format!("sqlite://{}", folder.path().join("data/service/service.db").display());
    let sql = |sql: &'static str| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            use sqlx::Connection as _;
            let mut db = sqlx::SqliteConnection::connect(&url).await.expect("opens");
            sqlx::query(sql).execute(&mut db).await.expect(sql);
        });
    };
    sql("INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
         VALUES (9999, 'later', 1, x'00', 0)");
    let said = fails(&mut serve(folder.path()));
    assert!(said.contains("newer than this program"), "{said}");
    sql("DELETE FROM _sqlx_migrations WHERE version = 9999");
    stop(listening(&mut serve(folder.path())));
}
