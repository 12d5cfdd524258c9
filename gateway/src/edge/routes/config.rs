//! What the operator says about the edge: the `[edge]` table of the configuration file. Everything in it is
//! checked before any of it is used, and every mistake is named at once.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::uri::Authority;
use http::{HeaderName, Method};
use miid_protocol::{ClientId, Lifetime, text};
use serde::Deserialize;

use super::path::PathRule;
use super::route::{Health, Kind, Protocol, Route, StoreAway, Table, Timeouts, Upstream};

/// Routes in one file: each costs a look at every request.
const MAX_ROUTES: usize = 500;

/// Why there are no routes. The texts are for the operator.
#[derive(Debug, thiserror::Error)]
pub enum EdgeConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration file {path}: {source}")]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// It is no TOML, or says something that there is not.
    #[error("{path}: {source}")]
    Toml {
        /// Which file.
        path: PathBuf,
        /// Where and what.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// It says nothing about the edge.
    #[error("{path} has no [[edge.route]]")]
    Nothing {
        /// Which file.
        path: PathBuf,
    },
    /// It says something that cannot be.
    #[error("{path}: {}", .mistakes.join("; "))]
    Wrong {
        /// Which file.
        path: PathBuf,
        /// All that is wrong.
        mistakes: Vec<String>,
    },
}

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    edge: EdgeTable,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct EdgeTable {
    cache_time: Option<String>,
    access_log: Option<bool>,
    #[serde(default)]
    route: Vec<RouteTable>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RouteTable {
    name: String,
    prefix: Option<String>,
    pattern: Option<String>,
    #[serde(default)]
    methods: Vec<String>,
    upstreams: Vec<String>,
    #[serde(default)]
    protocol: Protocol,
    kind: Kind,
    audience: Option<String>,
    #[serde(default)]
    scopes: Vec<String>,
    step_up: Option<String>,
    ask_active: Option<bool>,
    store_away: Option<StoreAway>,
    #[serde(default)]
    pass_authorization: Option<bool>,
    #[serde(default)]
    forwarded: bool,
    max_body: Option<u64>,
    retries: Option<u32>,
    connect_timeout: Option<String>,
    first_byte_timeout: Option<String>,
    idle_timeout: Option<String>,
    total_timeout: Option<String>,
    health_path: Option<String>,
    health_every: Option<String>,
}

/// Reads the file's edge.
pub fn read(path: &Path) -> Result<Table, EdgeConfigError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| EdgeConfigError::Read { path: path.to_owned(), source })?;
    parse(&text, path)
}

/// The same for whoever is about to serve it: without a route everything would be refused.
pub fn read_to_serve(path: &Path) -> Result<Table, EdgeConfigError> {
    let table = read(path)?;
    if table.is_empty() {
        return Err(EdgeConfigError::Nothing { path: path.to_owned() });
    }
    Ok(table)
}

/// The edge of a configuration file's text.
pub fn parse(text: &str, path: &Path) -> Result<Table, EdgeConfigError> {
    let file: File = toml::from_str(text)
        .map_err(|source| EdgeConfigError::Toml { path: path.to_owned(), source: Box::new(source) })?;
    let mut mistakes = Vec::new();
    let cache_time = time(&mut mistakes, "edge", "cache_time", file.edge.cache_time.as_deref())
        .unwrap_or(Duration::from_secs(300));
    if cache_time > Duration::from_secs(300) {
        mistakes.push("edge: cache_time is at most 5m, since nobody may be believed longer unasked".into());
    }
    if file.edge.route.len() > MAX_ROUTES {
        mistakes.push(format!("edge: at most {MAX_ROUTES} routes"));
    }
    let mut names = HashSet::new();
    let mut routes: Vec<Route> = Vec::new();
    for table in file.edge.route {
        if !names.insert(table.name.clone()) {
            mistakes.push(format!("edge.route {:?}: the name stands twice", table.name));
        }
        if let Some(route) = route(table, &mut mistakes) {
            let ties = |other: &&Route| other.path.ties_with(&route.path) && other.shares_a_method(&route);
            if let Some(other) = routes.iter().find(ties) {
                let how = match &route.path {
                    path if *path == other.path => "has the same path",
                    PathRule::Prefix(_) => "has the same path but for capitals",
                    PathRule::Pattern(_) => "takes some paths that it takes, neither says more about them,",
                };
                mistakes
                    .push(format!("edge.route {:?}: {:?} {how} and a same method", route.name, other.name));
            }
            routes.push(route);
        }
    }
    if !mistakes.is_empty() {
        return Err(EdgeConfigError::Wrong { path: path.to_owned(), mistakes });
    }
    Ok(Table::new(routes, cache_time, file.edge.access_log.unwrap_or(true)))
}

fn route(table: RouteTable, mistakes: &mut Vec<String>) -> Option<Route> {
    let before = mistakes.len();
    let name = format!("edge.route {:?}", table.name);
    let wrong = |mistakes: &mut Vec<String>, what: &str| mistakes.push(format!("{name}: {what}"));
    if !is_name(&table.name) {
        wrong(mistakes, "a name has 1 to 64 of a-z 0-9 . _ -");
    }
    let path = match (&table.prefix, &table.pattern) {
        (Some(prefix), None) => PathRule::prefix(prefix),
        (None, Some(pattern)) => PathRule::pattern(pattern),
        _ => {
            wrong(mistakes, "exactly one of prefix and pattern");
            return None;
        }
    };
    let path = path.map_err(|error| wrong(mistakes, &error.to_string())).ok();
    let mut methods: Vec<Method> = table
        .methods
        .iter()
        .filter_map(|method| match Method::from_bytes(method.as_bytes()) {
            Ok(method)
                if method.as_str() == method.as_str().to_ascii_uppercase()
                    && !matches!(method.as_str(), "CONNECT" | "TRACE") =>
            {
                Some(method)
            }
            _ => {
                wrong(mistakes, &format!("{method:?} is no method that can be forwarded"));
                None
            }
        })
        .collect();
    // Asked without the body, the same is asked: HEAD must not fall to a route that says less.
    if methods.contains(&Method::GET) && !methods.contains(&Method::HEAD) {
        methods.push(Method::HEAD);
    }
    if table.upstreams.is_empty() {
        wrong(mistakes, "at least one upstream");
    }
    let upstreams: Vec<Upstream> = table
        .upstreams
        .iter()
        .filter_map(|text| {
            let upstream = upstream(text);
            if upstream.is_none() {
                wrong(mistakes, &format!("{text:?} is no upstream; they are written http://HOST:PORT"));
            }
            upstream
        })
        .collect();
    let audience = match (&table.audience, table.kind) {
        (None, Kind::Public) => None,
        (None, _) => {
            wrong(mistakes, "audience is missing: the service whose tokens count here");
            None
        }
        (Some(_), Kind::Public) => {
            wrong(mistakes, "a public route looks at no token, so it has no audience");
            None
        }
        (Some(audience), _) => match ClientId::parse(audience) {
            Ok(audience) => Some(audience),
            Err(_) => {
                wrong(mistakes, "audience is no client_id");
                None
            }
        },
    };
    if table.kind == Kind::Public && (!table.scopes.is_empty() || table.step_up.is_some()) {
        wrong(mistakes, "a public route looks at no token, so it can ask for neither scopes nor step_up");
    }
    if table.scopes.iter().any(|scope| !text::is_scope(scope)) || text::has_duplicates(&table.scopes) {
        wrong(mistakes, "scopes have 1 to 64 of a-z 0-9 : . _ -, each once");
    }
    if table.kind != Kind::Critical && table.ask_active.is_some() {
        wrong(mistakes, "ask_active belongs to critical routes");
    }
    let store_away = match (table.kind, table.store_away) {
        (Kind::Critical, Some(StoreAway::ServeCached)) => {
            wrong(mistakes, "a critical route fails closed: store_away cannot be serve_cached");
            StoreAway::Refuse
        }
        (Kind::Critical, _) => StoreAway::Refuse,
        (_, wanted) => wanted.unwrap_or(StoreAway::ServeCached),
    };
    if table.retries.is_some_and(|retries| retries > 5) {
        wrong(mistakes, "at most 5 retries");
    }
    let mut time = |field: &str, value: Option<&str>| time(mistakes, &name, field, value);
    let timeouts = Timeouts {
        connect: time("connect_timeout", table.connect_timeout.as_deref()).unwrap_or(Duration::from_secs(2)),
        first_byte: time("first_byte_timeout", table.first_byte_timeout.as_deref())
            .unwrap_or(Duration::from_secs(30)),
        idle: time("idle_timeout", table.idle_timeout.as_deref()).unwrap_or(Duration::from_secs(60)),
        total: time("total_timeout", table.total_timeout.as_deref()),
    };
    let step_up = time("step_up", table.step_up.as_deref());
    let every = time("health_every", table.health_every.as_deref());
    let health = match &table.health_path {
        Some(path) if super::path::normalise(path).is_ok() => Some(Health {
            protocol: table.protocol,
            path: path.clone(),
            every: every.unwrap_or(Duration::from_secs(2)),
        }),
        Some(_) => {
            mistakes.push(format!("{name}: health_path is no path"));
            None
        }
        None => None,
    };
    if mistakes.len() > before {
        return None;
    }
    Some(Route {
        name: table.name.as_str().into(),
        path: path?,
        methods,
        upstreams,
        protocol: table.protocol,
        kind: table.kind,
        audience,
        scopes: table.scopes,
        step_up,
        ask_active: table.kind == Kind::Critical && table.ask_active.unwrap_or(true),
        store_away,
        pass_authorization: table.pass_authorization.unwrap_or(table.kind == Kind::Public),
        forwarded: table.forwarded,
        max_body: table.max_body.unwrap_or(16 << 20),
        retries: table.retries.unwrap_or(1),
        timeouts,
        health,
        turn: AtomicUsize::new(0),
        metrics: OnceLock::new(),
    })
}

fn is_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-'))
        && HeaderName::from_bytes(name.as_bytes()).is_ok()
}

fn upstream(text: &str) -> Option<Upstream> {
    let authority: Authority = text.strip_prefix("http://")?.trim_end_matches('/').parse().ok()?;
    let port = authority.port_u16().unwrap_or(80);
    let host = authority.host();
    let known = !host.is_empty() && authority.as_str().find('@').is_none() && port != 0;
    known.then(|| Upstream {
        address: format!("{host}:{port}").into(),
        well: Arc::default(),
        verdict: Arc::default(),
    })
}

fn time(mistakes: &mut Vec<String>, of: &str, field: &str, value: Option<&str>) -> Option<Duration> {
    let value = value?;
    let parsed = value.parse::<Lifetime>();
    if parsed.is_err() {
        mistakes.push(format!("{of}: {field} is a time such as 500ms, 30s or 5m"));
    }
    parsed.ok().map(Lifetime::duration)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mistakes(text: &str) -> String {
        parse(text, Path::new("x.toml")).err().map(|error| error.to_string()).unwrap_or_default()
    }

    const GOOD: &str = r#"
        [edge]
        cache_time = "1m"
        [[edge.route]]
        name = "orders"
        prefix = "/orders"
        upstreams = ["http://127.0.0.1:9001", "http://orders.internal"]
        kind = "general"
        audience = "demo-shop"
        scopes = ["orders:read"]
        methods = ["GET", "HEAD"]
        first_byte_timeout = "500ms"
        [[edge.route]]
        name = "new-orders"
        prefix = "/orders"
        upstreams = ["http://127.0.0.1:9001"]
        kind = "critical"
        audience = "demo-shop"
        methods = ["POST"]
        step_up = "5m"
        [[edge.route]]
        name = "order"
        pattern = "/orders/{id}"
        upstreams = ["http://127.0.0.1:9001"]
        kind = "public"
    "#;

    #[test]
    fn a_file_becomes_a_table() {
        let table = parse(GOOD, Path::new("x.toml")).expect("it is right");
        let found =
            |method: Method, path: &str| table.find(&method, path).map(|route| route.name.to_string());
        assert_eq!(found(Method::GET, "/orders").as_deref(), Ok("orders"));
        assert_eq!(found(Method::POST, "/orders").as_deref(), Ok("new-orders"));
        assert_eq!(found(Method::POST, "/orders/7").as_deref(), Ok("order"), "a pattern says more");
        assert_eq!(found(Method::GET, "/orders/7/lines").as_deref(), Ok("orders"));
        assert_eq!(found(Method::PUT, "/orders").err(), Some(crate::edge::routes::route::Missed::Method));
        assert_eq!(found(Method::GET, "/other").err(), Some(crate::edge::routes::route::Missed::Path));
        let route = table.find(&Method::POST, "/orders").expect("critical");
        assert!(route.ask_active && route.store_away == StoreAway::Refuse);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let with = |line: &str| GOOD.replace("scopes = [\"orders:read\"]", line);
        for (line, said) in [
            ("scopes = [\"Read It\"]", "scopes have"),
            ("max_boddy = 3", "max_boddy"),
            ("first_byte_timeouts = 3", "first_byte_timeouts"),
            ("retries = 50", "at most 5 retries"),
            ("idle_timeout = \"soon\"", "idle_timeout is a time"),
            ("ask_active = true", "ask_active belongs"),
            ("pattern = \"/x\"", "exactly one of prefix and pattern"),
            ("health_path = \"../x\"", "health_path is no path"),
        ] {
            let said_now = mistakes(&with(line));
            assert!(said_now.contains(said), "{line}: {said_now:?}");
        }
        for (from, to, said) in [
            ("http://127.0.0.1:9001\", ", "ftp://x\", ", "is no upstream"),
            ("http://127.0.0.1:9001\", ", "http://u:p@x\", ", "is no upstream"),
            ("kind = \"general\"", "kind = \"secret\"", "secret"),
            ("\"demo-shop\"\n        scopes", "\"Demo Shop\"\n        scopes", "no client_id"),
            ("\"GET\", \"HEAD\"", "\"get it\"", "is no method"),
            ("\"GET\", \"HEAD\"", "\"POST\"", "has the same path"),
            ("name = \"order\"", "name = \"orders\"", "the name stands twice"),
            ("cache_time = \"1m\"", "cache_time = \"6m\"", "at most 5m"),
            ("step_up = \"5m\"", "store_away = \"serve_cached\"", "fails closed"),
            ("kind = \"public\"", "kind = \"public\"\naudience = \"demo-shop\"", "looks at no token"),
            ("kind = \"public\"", "kind = \"general\"", "audience is missing"),
            ("prefix = \"/orders\"", "prefix = \"/a/../b\"", "segment of dots"),
        ] {
            let text = GOOD.replacen(from, to, 1);
            assert_ne!(text, GOOD, "{from} stands in the file");
            let said_now = mistakes(&text);
            assert!(said_now.contains(said), "{to}: {said_now:?}");
        }
    }
    #[test]
    fn a_weak_route_never_takes_a_request_that_another_spelling_gives_to_a_strict_one() {
        use crate::edge::routes::path::normalise;
        use crate::edge::routes::route::Missed;
        let strict = |name: &str, more: &str| {
            format!(
                "[[edge.route]]\nname=\"{name}\"\nkind=\"critical\"\naudience=\"a-shop\"\nupstreams=[\"http://a:1\"]\n{more}\n"
            )
        };
        let text = [
            strict("secret", "prefix = \"/secret\"\nmethods = [\"GET\"]"),
            strict("transfer", "pattern = \"/accounts/{id}/transfer\"\nmethods = [\"POST\"]"),
            "[[edge.route]]\nname=\"weak\"\nprefix=\"/\"\nkind=\"public\"\nupstreams=[\"http://a:1\"]"
                .to_owned(),
        ];
        let table = parse(&text.concat(), Path::new("x.toml")).expect("it is right");
        let get = [
            "/secret",
            "/secret/",
            "/secret;x=1",
            "/secret;x=1/y",
            "/secret%3bx/y",
            "/%73ecret",
            "/SECRET/y",
            "/Secret",
        ];
        let post = [
            "/accounts/7/transfer",
            "/accounts/7/transfer/",
            "/accounts/7/transfer;x",
            "/accounts/7;x/transfer",
            "/Accounts/7/TRANSFER",
        ];
        let asked = get.map(|path| (path, ["GET", "get", "Get", "HEAD"])).into_iter();
        for (path, methods) in asked.chain(post.map(|path| (path, ["POST", "post", "Post", "pOST"]))) {
            for method in methods {
                let Ok(path) = normalise(path) else { continue };
                let method = Method::from_bytes(method.as_bytes()).expect("a method");
                match table.find(&method, &path) {
                    Ok(route) => assert_eq!(route.kind, Kind::Critical, "{method} {path}"),
                    Err(missed) => assert_ne!(missed, Missed::Method, "{method} {path}"),
                }
            }
        }
        let found = |method: Method, path: &str| table.find(&method, path).map(|route| &*route.name);
        assert_eq!(found(Method::HEAD, "/secret"), Ok("secret"));
        assert_eq!(found(Method::POST, "/accounts/7/transfer/"), Ok("transfer"));
        assert_eq!(found(Method::GET, "/SECRET"), Err(Missed::Path));
        assert_eq!(found(Method::GET, "/secretary"), Ok("weak"));
        // Another method is another thing: the route says so.
        assert_eq!(found(Method::POST, "/secret"), Ok("weak"));
    }

    #[test]
    fn no_two_routes_leave_it_to_their_order_in_the_file() {
        let with = |one: &str, other: &str| {
            let route = |name: &str, path: &str| {
                format!(
                    "[[edge.route]]\nname=\"{name}\"\n{path}\nkind=\"public\"\nupstreams=[\"http://a:1\"]\n"
                )
            };
            mistakes(&[route("one", one), route("other", other)].concat())
        };
        let said = with("pattern = \"/a/{x}\"", "pattern = \"/{y}/b\"");
        assert!(said.contains("neither says more") && said.contains("\"one\""), "{said}");
        let said = with("prefix = \"/a\"", "prefix = \"/A\"");
        assert!(said.contains("the same path but for capitals"), "{said}");
        assert!(with("pattern = \"/a/b\"", "pattern = \"/a/b/\"").contains("has the same path"));
        assert_eq!(
            with("pattern = \"/a/{x}\"\nmethods = [\"GET\"]", "pattern = \"/{y}/b\"\nmethods = [\"POST\"]"),
            ""
        );
        let said =
            with("pattern = \"/a/{x}\"\nmethods = [\"GET\"]", "pattern = \"/{y}/b\"\nmethods = [\"HEAD\"]");
        assert!(said.contains("neither says more"), "GET takes HEAD, too: {said}");
    }

    #[test]
    fn a_file_without_routes_can_be_checked_but_not_served() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("empty.toml");
        std::fs::write(&path, "[edge]\n").expect("written");
        assert!(read(&path).expect("it is right").is_empty());
        let said = read_to_serve(&path).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(said.contains("has no [[edge.route]]"), "{said}");
    }
}
