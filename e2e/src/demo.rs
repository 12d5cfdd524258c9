//! The demo whole: a gateway with an edge, the shop, and its API server behind the edge.

use std::sync::Arc;

use miid_protocol::paths;

use crate::edge::Edge;
use crate::gateway::{Gateway, clean};
use crate::port::Port;
use crate::program::{self, Program};
use crate::service::Service;
use crate::shop::Shop;
use crate::wait::eventually;
use crate::world::World;

/// The file that `cargo xtask demo` writes.
const ROUTES: &str = include_str!("../../xtask/src/demo/edge.toml");
const API: &str = "http://127.0.0.1:15080";

/// What differs from the demo as people run it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Change<'a> {
    /// Of the gateway's `serve`.
    pub gateway: &'a [&'a str],
    /// Of the shop's registration.
    pub registration: &'a [&'a str],
    /// Of the shop's `serve`.
    pub shop: &'a [&'a str],
    /// In the edge's file, instead of `step_up = "5m"`.
    pub step_up: Option<&'a str>,
}

/// All of it.
#[derive(Debug)]
pub struct Demo {
    /// With the edge.
    pub gateway: Gateway,
    /// Of the gateway.
    pub edge: Edge,
    /// Knows where the edge is.
    pub shop: Shop,
    /// Behind the edge.
    pub api: Api,
}

impl Demo {
    /// Starts it.
    pub async fn start(world: &World, change: Change<'_>) -> Self {
        let api_port = Port::take();
        let mut routes = ROUTES.replace(API, &api_port.origin());
        if let Some(age) = change.step_up {
            routes = routes.replace("step_up = \"5m\"", &format!("step_up = \"{age}\""));
        }
        let edge = Edge::new(world, "edge", &routes);
        let own = edge.flags();
        let flags: Vec<&str> = own.iter().map(String::as_str).chain(change.gateway.iter().copied()).collect();
        let gateway = world.gateway(&flags).await;

        let port = Port::take();
        let return_url = format!("{}{}", port.origin(), paths::AUTH_RETURN);
        let registration = [change.registration, &["--return-url", &return_url]].concat();
        let service = gateway.add_service("demo-shop", &registration).await;
        let api = Api::start(world, api_port, &gateway, &service).await;
        let origin = edge.origin();
        let flags = [change.shop, &["--edge-url", &origin]].concat();
        let shop = Shop::start_on(world, port, &gateway, &service, &flags).await;
        Self { gateway, edge, shop, api }
    }
}

/// The demo's API server, running.
#[derive(Debug)]
pub struct Api {
    port: Arc<Port>,
    program: Program,
}

impl Api {
    async fn start(world: &World, port: Port, gateway: &Gateway, service: &Service) -> Self {
        let mut command = clean(program::command(program::bin("miid-service"), "KILL"));
        command
            .env("MIID_SERVICE_CLIENT_SECRET", &service.secret)
            .args(["demo-api", "--listen", &port.address(), "--gateway-url", &gateway.origin])
            .args(["--issuer", gateway.issuer.as_str(), "--client-id", &service.client_id]);
        let mut program = Program::start(command, &world.logs(), "demo-api");
        match program.line("listening on ").await {
            Ok(origin) => assert_eq!(origin.trim(), port.origin()),
            Err(status) => panic!("the API server ended: {status}\n{}", program.errors()),
        }
        let (http, url) = (world.http(), format!("{}{}", port.origin(), paths::READYZ));
        eventually("the API server is ready", || async {
            (http.get(&url).send().await.ok()?.status() == 200).then_some(())
        })
        .await;
        Self { port: Arc::new(port), program }
    }

    /// Where it listens, for who would go around the edge.
    pub fn origin(&self) -> String {
        self.port.origin()
    }

    /// The process.
    pub fn program(&mut self) -> &mut Program {
        &mut self.program
    }
}
