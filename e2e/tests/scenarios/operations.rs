//! What an operator meets: starts that must not happen, what lies on disk, what logs and metrics say.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use miid_e2e::port::Port;
use miid_e2e::program::{self, Ran};
use miid_e2e::service::RETURN_URL;
use miid_e2e::{Gateway, Renewable as _, World, eventually, on_both, on_sqlite};
use miid_protocol::service::{Challenge, CreateChallenge};
use miid_protocol::{ErrorCode, paths};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::sign_in::sign_in;

on_both!(
    a_database_newer_than_the_program_is_left_alone,
    no_secret_lies_about,
    keys_of_another_gateway_are_refused,
    a_return_url_added_to_a_service_counts_at_running_gateways,
    what_is_changed_about_a_service_counts_from_then_on_and_the_rest_stays,
);
on_sqlite!(
    a_second_gateway_on_one_sqlite_file_is_refused,
    starts_that_cannot_work_say_why,
    the_shops_starts_that_cannot_work_say_why,
    a_file_that_is_no_database_is_left_alone,
    metrics_count_and_name_nobody,
    settings_come_from_flags_then_the_environment_then_a_file,
    a_hangup_ends_no_gateway_without_an_edge,
    commands_work_beside_a_running_gateway,
    changes_of_a_service_that_cannot_be_say_why,
);

async fn serve(world: &World, words: &[&str]) -> Ran {
    let mut command = Command::new(program::bin("miid-gateway"));
    // Nothing of a start that should fail may land beside the sources.
    command.arg("serve").args(words).current_dir(world.folder());
    program::capture(command).await
}

#[track_caller]
fn says(ran: Ran, wanted: &str) {
    let complaint = ran.complaint();
    assert!(
        complaint.to_lowercase().contains(&wanted.to_lowercase()),
        "it should say {wanted:?}:\n{complaint}"
    );
    assert!(complaint.lines().count() < 20, "a clear message is short:\n{complaint}");
}

async fn a_second_gateway_on_one_sqlite_file_is_refused(world: World) {
    let (gateway, shop) = world.gateway_and_service(&[]).await;
    let alice = world.wallet();
    let tokens = shop.sign_in(&gateway, &alice).await;
    let port = Port::take();
    let data_dir = gateway.data_dir.to_str().unwrap();
    let words =
        ["--listen", &port.address(), "--database-url", gateway.database.url(), "--data-dir", data_dir];
    says(serve(&world, &words).await, "another gateway");
    assert!(shop.introspect(&gateway, &tokens.access_token).await.active);
    shop.sign_in(&gateway, &alice).await;
}

async fn starts_that_cannot_work_say_why(world: World) {
    let gateway = world.gateway(&[]).await;
    let folder = world.folder().join("tries");
    std::fs::create_dir(&folder).unwrap();
    let file = folder.join("a-file");
    std::fs::write(&file, "not a folder").unwrap();
    let (port, nobody) = (Port::take(), Port::take());
    let listen = port.address();
    let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let good = path("data");
    let config = |name: &str, text: &str| {
        std::fs::write(folder.join(name), text).unwrap();
        path(name)
    };
    let cases: Vec<(&str, Vec<String>, &str)> = vec![
        ("a data dir below a file", vec!["--data-dir".into(), path("a-file/data")], "a-file"),
        ("a data dir in /proc", vec!["--data-dir".into(), "/proc/miid".into()], "/proc/miid"),
        ("a broken file", vec!["--config".into(), config("broken.toml", "listen = [")], "broken.toml"),
        ("an unknown setting", vec!["--config".into(), config("unknown.toml", "lisen = \"x\"")], "lisen"),
        ("a file that is not there", vec!["--config".into(), path("nowhere.toml")], "nowhere.toml"),
        ("a wrong value", vec!["--config".into(), config("value.toml", "code-ttl = \"soon\"")], "code-ttl"),
        ("a lifetime without a unit", vec!["--challenge-ttl".into(), "5".into()], "challenge-ttl"),
        ("an unknown flag", vec!["--no-such-flag".into()], "no-such-flag"),
        ("an issuer with a path", vec!["--issuer".into(), "http://127.0.0.1:1/x".into()], "issuer"),
        ("plain http elsewhere", vec!["--issuer".into(), "http://gateway.example".into()], "loopback"),
        ("another kind of database", vec!["--database-url".into(), "mysql://x".into()], "sqlite"),
        (
            "a database below a file",
            vec!["--database-url".into(), format!("sqlite://{}", path("a-file/x.db"))],
            "a-file",
        ),
        (
            "a server that is not there",
            vec!["--database-url".into(), format!("postgres://nobody@{}/x", nobody.address())],
            "database",
        ),
        ("a broken key file", vec!["--keys-file".into(), path("a-file")], "a-file"),
    ];
    for (name, mut words, wanted) in cases {
        for (flag, value) in [("--data-dir", good.as_str()), ("--listen", listen.as_str())] {
            if !words.iter().any(|word| word == flag) {
                words.extend([flag.to_owned(), value.to_owned()]);
            }
        }
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        println!("{name}");
        says(serve(&world, &words).await, wanted);
    }
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "not a folder");

    let taken = gateway.origin.strip_prefix("http://").unwrap();
    says(serve(&world, &["--data-dir", &good, "--listen", taken]).await, taken);
    // After all of it the folder still serves.
    let mut command = program::command(program::bin("miid-gateway"), "KILL");
    command.args(["serve", "--data-dir", &good, "--listen", "127.0.0.1:0"]).current_dir(world.folder());
    let mut started = program::Program::start(command, &world.logs(), "after-the-tries");
    let origin = started.line("listening on ").await.expect("it serves");
    assert!(origin.starts_with("http://127.0.0.1:") && !origin.ends_with(":0"), "{origin}");
}

async fn the_shops_starts_that_cannot_work_say_why(world: World) {
    let (gateway, service) = world.gateway_and_service(&[]).await;
    let port = Port::take();
    let (listen, origin) = (port.address(), port.origin());
    let database = format!("sqlite://{}", world.folder().join("try.db").display());
    let data_dir = world.folder().join("try-data").to_str().unwrap().to_owned();
    let run = async |change: &[(&str, Option<&str>)], secret: Option<&str>| {
        let mut flags = vec![
            ("--listen", listen.as_str()),
            ("--gateway-url", gateway.origin.as_str()),
            ("--client-id", "demo-shop"),
            ("--public-url", origin.as_str()),
            ("--database-url", database.as_str()),
            ("--data-dir", data_dir.as_str()),
        ];
        for (name, value) in change {
            flags.retain(|(flag, _)| flag != name);
            if let Some(value) = value {
                flags.push((name, value));
            }
        }
        let mut command = Command::new(program::bin("miid-service"));
        command.arg("serve").current_dir(world.folder()).env_remove("MIID_SERVICE_CLIENT_SECRET");
        for (flag, value) in flags {
            command.args([flag, value]);
        }
        if let Some(secret) = secret {
            command.env("MIID_SERVICE_CLIENT_SECRET", secret);
        }
        program::capture(command).await
    };
    let secret = Some(service.secret.as_str());
    says(run(&[], None).await, "secret");
    says(run(&[("--client-secret-file", Some("/nowhere/secret"))], None).await, "/nowhere/secret");
    says(run(&[("--public-url", Some("http://shop.example"))], secret).await, "loopback");
    says(run(&[("--gateway-url", Some("http://gateway.example"))], secret).await, "loopback");
    says(run(&[("--client-id", Some("Demo Shop!"))], secret).await, "client");
    says(run(&[("--database-url", Some("mysql://x"))], secret).await, "sqlite");
    says(run(&[("--data-dir", Some("/proc/miid"))], secret).await, "/proc/miid");
    says(run(&[("--listen", gateway.origin.strip_prefix("http://"))], secret).await, "address");
}

async fn a_file_that_is_no_database_is_left_alone(world: World) {
    let path = world.folder().join("notes.db");
    let text = "this was never a database, and somebody still wants it\n".repeat(100);
    std::fs::write(&path, &text).unwrap();
    let data_dir = world.folder().join("data").to_str().unwrap().to_owned();
    let url = format!("sqlite://{}", path.display());
    let words = ["--listen", "127.0.0.1:0", "--data-dir", &data_dir, "--database-url", &url];
    says(serve(&world, &words).await, "database");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
}

async fn a_database_newer_than_the_program_is_left_alone(world: World) {
    let (mut gateway, shop) = world.gateway_and_service(&[]).await;
    let alice = world.wallet();
    let tokens = shop.sign_in(&gateway, &alice).await;
    gateway.stop().await;
    let tomorrow = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
                    SELECT 9999, 'of a later version', success, checksum, execution_time FROM _sqlx_migrations \
                    WHERE version = (SELECT max(version) FROM _sqlx_migrations)";
    gateway.database.execute(tomorrow).await;
    let before = gateway.database.row_counts().await;

    let port = Port::take();
    let data_dir = gateway.data_dir.to_str().unwrap();
    let words =
        ["--listen", &port.address(), "--database-url", gateway.database.url(), "--data-dir", data_dir];
    says(serve(&world, &words).await, "newer");
    says(gateway.run(&["service", "list"]).await, "newer");
    assert_eq!(gateway.database.row_counts().await, before);

    gateway.database.execute("DELETE FROM _sqlx_migrations WHERE version = 9999").await;
    gateway.restart().await;
    assert!(shop.introspect(&gateway, &tokens.access_token).await.active);
}

async fn keys_of_another_gateway_are_refused(world: World) {
    let (mut gateway, shop) = world.gateway_and_service(&[]).await;
    let alice = world.wallet();
    let tokens = shop.sign_in(&gateway, &alice).await;
    gateway.stop().await;
    let port = Port::take();
    let other = world.folder().join("other-data").to_str().unwrap().to_owned();
    let words = ["--listen", &port.address(), "--database-url", gateway.database.url(), "--data-dir", &other];
    says(serve(&world, &words).await, "key");
    gateway.restart().await;
    assert!(shop.introspect(&gateway, &tokens.access_token).await.active);
}

async fn no_secret_lies_about(world: World) {
    let (mut gateway, mut shop) = world.gateway_and_shop(&["--log-json"]).await;
    let (alice, bob) = (world.wallet(), world.wallet());
    alice.claim_handle(&gateway, "unmistakable-alice").await.is(200);
    let browser = world.browser(&shop);
    // One of everything that hands a secret out.
    let first = browser.start("unmistakable-alice").await;
    crate::sign_in::approve(&gateway, &alice, &first, &[("email", "unmistakable@example.com")]).await;
    crate::sign_in::is_active(&browser, &first).await;
    browser.complete(first.challenge_id).await.is(200);
    sign_in(&gateway, &world.browser(&shop), &bob).await;
    let other = gateway.add_service("other-shop", &[]).await;
    let mut log = other.events(&gateway, None, None).await;
    let tokens = other.sign_in(&gateway, &alice).await;
    assert!(log.expect("challenge_verified").await.data.contains("miid_ac_"));
    other.refresh(&gateway, tokens.renewal()).await.is(200);
    let waiting = other.login(&gateway, bob.did().as_str()).await;
    bob.approve(&gateway, &waiting.challenge, waiting.number()).await.is(200);
    other.code(&gateway, waiting.id()).await;
    world.secrets().add(waiting.verifier.clone());
    // By link: the secret in it, and what comes back through a browser, used, of another browser and waiting.
    let links = [other.linked(&gateway).await, other.linked(&gateway).await, other.linked(&gateway).await];
    let mut response_codes = Vec::new();
    for link in &links {
        bob.claim(&gateway, link).await.is(200);
        response_codes.push(bob.approve_linked(&gateway, &link.challenge).await.response_code);
        world.secrets().add(link.verifier.clone());
    }
    let code = other.code(&gateway, links[0].id()).await;
    let response_code = response_codes[0].expose();
    other.exchange_returned(&gateway, &code, &links[0].verifier, response_code).await.is(200);
    other.withdraw(&gateway, links[1].id(), Some(response_codes[1].expose())).await.is(200);
    assert!(bob.listed(&gateway, links[2].id()).await.unwrap().return_to.is_some());
    other.create(&gateway, &other.asking_for_a_link().0).await.is(201);
    // And of what is refused with one in hand.
    other.exchange(&gateway, tokens.renewal(), &waiting.verifier).await.refused(ErrorCode::InvalidGrant);
    let query = format!("/v1/nothing?token={}", tokens.renewal());
    world.get(&gateway, &query).await.refused(ErrorCode::NotFound);
    let path = format!("/v1/auth/challenges/{}", tokens.access_token);
    other.get(&gateway, &path).await.refused(ErrorCode::ChallengeNotFound);
    let (link, response_code) = (links[2].link(), response_codes[2].expose());
    bob.claim_with(&gateway, link.secret.expose(), link.secret.expose())
        .await
        .refused(ErrorCode::ChallengeNotFound);
    let query = format!("/v1/auth/return?response_code={response_code}&s={}", link.secret.expose());
    world.get(&gateway, &query).await.refused(ErrorCode::NotFound);
    other.withdraw(&gateway, links[0].id(), Some(response_code)).await.refused(ErrorCode::WrongResponseCode);
    browser.get(&format!("/auth/status/{}", browser.cookie("sid").unwrap())).await;
    assert!(world.secrets().found_in(response_code.as_bytes()).is_some());
    assert!(world.secrets().found_in(link.secret.expose().as_bytes()).is_some());
    assert!(world.secrets().count() >= 25, "{}", world.secrets().count());
    world.keeps_its_secrets_in_dumps().await;
    gateway.stop().await;
    shop.kill();
    world.keeps_its_secrets();
    world.keeps_its_secrets_in_dumps().await;

    // Logs name nobody: neither a DID nor a handle, a shared value or an id in a path.
    let did = alice.did().as_str().strip_prefix("did:key:").unwrap().to_owned();
    for entry in std::fs::read_dir(world.logs()).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        for word in [did.as_str(), "unmistakable", &format!("/{}", first.challenge_id), "/v1/nothing"] {
            assert!(!text.contains(word), "{word} in {}", path.display());
        }
    }
    keys_are_for_their_owner_only(world.folder());
}

/// Whatever looks like a key file may be read by its owner alone.
fn keys_are_for_their_owner_only(folder: &Path) {
    let mut keys = 0;
    for data in ["gateway-data", "shop-data"] {
        for entry in std::fs::read_dir(folder.join(data)).unwrap() {
            let entry = entry.unwrap();
            if entry.file_name().to_str().unwrap().contains("key") && entry.path().is_file() {
                keys += 1;
                let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
                assert_eq!(mode, 0o600, "{}", entry.path().display());
            }
        }
    }
    assert!(keys >= 2, "the gateway's and the shop's");
}

async fn metrics_count_and_name_nobody(world: World) {
    let metrics = Port::take();
    let (mut gateway, shop) = world.gateway_and_service(&["--metrics-listen", &metrics.address()]).await;
    let origin = gateway.program().line("metrics on ").await.expect("it serves metrics");
    assert!(origin.trim().starts_with(&metrics.origin()), "{origin}");
    let alice = world.wallet();
    alice.claim_handle(&gateway, "unmistakable-alice").await.is(200);
    let stream = alice.events(&gateway, None).await;
    shop.sign_in(&gateway, &alice).await;
    world.get(&gateway, "/v1/nothing/unmistakable-path").await.refused(ErrorCode::NotFound);
    // A method that a client makes up must not become a label: there are as many as it likes.
    let made_up = reqwest::Method::from_bytes(b"UNMISTAKABLE").expect("a token is a method");
    world.http().request(made_up, format!("{}/v1/nothing", gateway.origin)).send().await.expect("an answer");
    let url = format!("{}/metrics", metrics.origin());
    let text = eventually("the metrics have counted", || async {
        let text = world.http().get(&url).send().await.ok()?.text().await.ok()?;
        text.contains(paths::TOKEN_EXCHANGE).then_some(text)
    })
    .await;
    assert!(text.contains("{id}"), "routes are templates:\n{text}");
    for word in ["unmistakable", "UNMISTAKABLE", "did:key", alice.did().as_str()] {
        assert!(!text.contains(word), "{word}:\n{text}");
    }
    assert!(world.secrets().found_in(text.as_bytes()).is_none());
    assert_eq!(world.get(&gateway, "/metrics").await.status, 404, "not on the public listener");
    drop(stream);
}

async fn commands_work_beside_a_running_gateway(world: World) {
    let (gateway, shop) = world.gateway_and_service(&[]).await;
    let alice = world.wallet();
    let tokens = shop.sign_in(&gateway, &alice).await;
    let listed = gateway.run(&["service", "list"]).await.ok();
    assert!(listed.contains("demo-shop") && listed.contains("Demo Shop"), "{listed}");
    says(gateway.run(&["service", "add", "demo-shop", "--name", "Again"]).await, "demo-shop");
    says(gateway.run(&["service", "add", "Demo!", "--name", "x"]).await, "client");
    says(gateway.run(&["service", "add", "evil", "--name", "a\u{202e}b"]).await, "name");
    says(gateway.run(&["service", "remove", "nobody"]).await, "nobody");
    // A key that leaked: whatever it signed is refused at once, and the session goes on with another.
    let keys: serde_json::Value =
        serde_json::from_str(&gateway.run(&["keys", "list", "--json"]).await.ok()).unwrap();
    let kid = signing_kid(&tokens.access_token);
    assert!(keys.to_string().contains(&kid), "{keys}");
    gateway.run(&["keys", "retire", &kid, "--now"]).await.ok();
    eventually("the retired key's token is inactive", || async {
        (!shop.introspect(&gateway, &tokens.access_token).await.active).then_some(())
    })
    .await;
    let next = refreshed(&gateway, &shop, tokens.renewal()).await;
    assert_ne!(signing_kid(&next), kid);
    assert!(shop.introspect(&gateway, &next).await.active);
    let jwks = world.get(&gateway, paths::JWKS).await.text();
    assert!(!jwks.contains(&kid), "{jwks}");
}

/// `service update demo-shop`; what it says stands now.
async fn update(gateway: &Gateway, changes: &[&str]) -> Value {
    let words = [&["service", "update", "demo-shop", "--json"], changes].concat();
    serde_json::from_str(&gateway.run(&words).await.ok()).expect("--json prints JSON")
}

async fn a_return_url_added_to_a_service_counts_at_running_gateways(world: World) {
    let (gateway, shop) = world.gateway_and_service(&[]).await;
    let alice = world.wallet();
    let added = "https://shop.example/auth/return";
    let (body, _) = shop.asking_for_a_link();
    let elsewhere = CreateChallenge { return_url: Some(added.into()), ..body };
    shop.create(&gateway, &elsewhere).await.refused(ErrorCode::InvalidRequest);
    let stands = update(&gateway, &["--add-return-url", added]).await;
    assert_eq!(stands["return_urls"], json!([RETURN_URL, added]));
    let taken: Challenge = eventually("the running gateway takes it", || async {
        let answer = shop.create(&gateway, &elsewhere).await;
        (answer.status == 201).then(|| answer.ok())
    })
    .await;
    assert!(taken.wallet_link.is_some());

    // Those that it had are there, too; added again it is there once.
    let begun = shop.linked(&gateway).await;
    assert!(!begun.challenge.claimed);
    alice.claim(&gateway, &begun).await.is(200);
    assert!(shop.challenge(&gateway, begun.id()).await.claimed);
    assert_eq!(update(&gateway, &["--add-return-url", added]).await, stands);

    // Another list takes the place of this one. What was begun goes back to where it was to.
    let stands = update(&gateway, &["--return-url", added]).await;
    assert_eq!(stands["return_urls"], json!([added]));
    eventually("the running gateway knows the old one no more", || async {
        let answer = shop.create(&gateway, &shop.asking_for_a_link().0).await;
        (answer.status == 400).then_some(())
    })
    .await;
    let returned = alice.approve_linked(&gateway, &begun.challenge).await;
    let code = shop.code(&gateway, begun.id()).await;
    let response_code = returned.response_code.expose();
    shop.exchange_returned(&gateway, &code, &begun.verifier, response_code).await.is(200);
}

async fn what_is_changed_about_a_service_counts_from_then_on_and_the_rest_stays(world: World) {
    let (gateway, shop) = world.gateway_and_service(&[]).await;
    let other = gateway.add_service("other-shop", &[]).await;
    let alice = world.wallet();
    let begun = shop.login(&gateway, alice.did().as_str()).await;
    let listed = async || -> Value {
        serde_json::from_str(&gateway.run(&["service", "list", "--json"]).await.ok()).unwrap()
    };
    let before = listed().await;
    let changes = ["--name", "My Shop", "--scopes", "profile,orders", "--session-policy", "multiple"];
    let stands = update(&gateway, &changes).await;
    assert_eq!(before[1]["client_id"], "other-shop", "they are sorted");
    let mut after = before[0].clone();
    after["name"] = "My Shop".into();
    after["scopes"] = json!(["profile", "orders"]);
    after["session_policy"] = "multiple".into();
    assert_eq!(stands, after);
    let words = ["service", "update", "demo-shop", "--binding", "linked"];
    let shown = gateway.run(&words).await.ok();
    for line in ["My Shop", RETURN_URL, "profile orders", "multiple", "linked"] {
        assert!(shown.lines().any(|shown| shown.ends_with(&format!("  {line}"))), "{line}:\n{shown}");
    }
    after["binding"] = "linked".into();
    assert_eq!(
        listed().await,
        json!([after, before[1]]),
        "what is printed stands; the other one is as it was"
    );

    eventually("the running gateway takes no hint any more", || async {
        let answer = shop.create(&gateway, &shop.asking(alice.did().as_str()).0).await;
        (answer.status == 400).then_some(())
    })
    .await;
    let (body, _) = shop.asking_for_a_link();
    let orders = CreateChallenge { scopes: vec!["orders".into()], ..body };
    let link: Challenge = shop.create(&gateway, &orders).await.is(201).ok();
    assert!(link.request.contains("My Shop"), "{}", link.request);
    other.sign_in(&gateway, &alice).await;
    // Its secret is the one it had, and what was begun by a hint is finished.
    alice.approve(&gateway, &begun.challenge, begun.number()).await.is(200);
    shop.finish(&gateway, &begun).await;
}

async fn changes_of_a_service_that_cannot_be_say_why(world: World) {
    let (gateway, _) = world.gateway_and_service(&[]).await;
    let before = gateway.run(&["service", "list", "--json"]).await.ok();
    let cases: &[(&[&str], &str)] = &[
        (&["nobody", "--name", "x"], "no service called nobody"),
        (&["demo-shop"], "nothing to change"),
        (&["demo-shop", "--json"], "nothing to change"),
        (&["demo-shop", "--add-return-url", "http://shop.example/back"], "http://shop.example/back"),
        (&["demo-shop", "--name", "y", "--return-url", "https://shop.example/#x"], "fragment"),
        (
            &["demo-shop", "--return-url", "https://a.example/", "--add-return-url", "https://b.example/"],
            "with",
        ),
        (&["demo-shop", "--name", "a\u{202e}b"], "name"),
        (&["demo-shop", "--name", ""], "name"),
        (&["demo-shop", "--scopes", "Profile"], "scope"),
        (&["demo-shop", "--scopes", ""], "scope"),
        (&["demo-shop", "--binding", "addressed"], "binding"),
        (&["demo-shop", "--session-policy", "none"], "session-policy"),
    ];
    for (words, wanted) in cases {
        says(gateway.run(&[&["service", "update"], *words].concat()).await, wanted);
    }
    assert_eq!(gateway.run(&["service", "list", "--json"]).await.ok(), before);
}

async fn refreshed(gateway: &Gateway, shop: &miid_e2e::Service, token: &str) -> String {
    shop.refresh(gateway, token).await.json()["access_token"].as_str().unwrap().to_owned()
}

fn signing_kid(token: &str) -> String {
    let header = token.split('.').next().and_then(miid_protocol::jws::decode).unwrap();
    let header: serde_json::Value = serde_json::from_slice(&header).unwrap();
    header["kid"].as_str().unwrap().to_owned()
}

async fn a_hangup_ends_no_gateway_without_an_edge(world: World) {
    let mut gateway = world.gateway(&[]).await;
    gateway.program().signal(Signal::SIGHUP);
    eventually("it says that there is nothing to read again", || {
        std::future::ready(gateway.program().errors().contains("there is no edge").then_some(()))
    })
    .await;
    world.get(&gateway, paths::JWKS).await.is(200);
}

async fn settings_come_from_flags_then_the_environment_then_a_file(world: World) {
    let data_dir = world.folder().join("data");
    let file = world.folder().join("gateway.toml");
    let port = Port::take();
    let text = format!(
        "# Everything that a flag can say\nlisten = \"{}\"\ndata_dir = \"{}\"\nissuer = \"{}\"\nlog-json = true\n",
        port.address(),
        data_dir.display(),
        port.origin()
    );
    std::fs::write(&file, text).unwrap();
    let start = |name: &str, flags: &[&str], environment: &[(&str, &str)]| {
        let mut command = program::command(program::bin("miid-gateway"), "KILL");
        command.arg("serve").arg("--config").arg(&file).args(flags).current_dir(world.folder());
        for (name, value) in environment {
            command.env(name, value);
        }
        program::Program::start(command, &world.logs(), name)
    };
    let mut by_file = start("by-file", &[], &[]);
    assert_eq!(by_file.line("listening on ").await.expect("it serves"), port.origin());
    assert!(by_file.errors().lines().all(|line| line.starts_with('{')), "{}", by_file.errors());
    by_file.stop().await;

    let (other, third) = (Port::take(), Port::take());
    let address = other.address();
    let environment = [("MIID_GATEWAY_LISTEN", address.as_str())];
    let mut by_environment = start("by-environment", &[], &environment);
    assert_eq!(by_environment.line("listening on ").await.expect("it serves"), other.origin());
    by_environment.stop().await;
    let mut by_flag = start("by-flag", &["--listen", &third.address()], &environment);
    assert_eq!(by_flag.line("listening on ").await.expect("it serves"), third.origin());
}
