//! The demo's service backend, running.

use std::process::Command;
use std::sync::Arc;

use crate::database::Database;
use crate::gateway::{Gateway, clean};
use crate::port::Port;
use crate::program::{self, Program};
use crate::service::Service;
use crate::wait::eventually;
use crate::world::World;

/// One running instance.
#[derive(Debug)]
pub struct Shop {
    world: World,
    name: String,
    port: Arc<Port>,
    public_url: String,
    /// Its database, which other instances may share.
    pub database: Database,
    service: Service,
    gateway_url: String,
    flags: Vec<String>,
    program: Program,
}

impl Shop {
    /// Starts one that uses this instance of the gateway.
    pub async fn start(world: &World, gateway: &Gateway, service: &Service, flags: &[&str]) -> Self {
        Self::start_on(world, Port::take(), gateway, service, flags).await
    }

    /// The same on a port that is known before, such as to its registration.
    pub async fn start_on(
        world: &World,
        port: Port,
        gateway: &Gateway,
        service: &Service,
        flags: &[&str],
    ) -> Self {
        let port = Arc::new(port);
        let public_url = port.origin();
        let database = world.database("shop").await;
        let flags = flags.iter().map(ToString::to_string).collect();
        let gateway_url = gateway.origin.clone();
        Self::launch(world, "shop", port, public_url, database, service.clone(), gateway_url, flags).await
    }

    /// Starts a second instance of the same shop: one public address, one database.
    pub async fn another(&self, name: &str) -> Self {
        let (world, port) = (&self.world, Arc::new(Port::take()));
        let (public_url, database, service) =
            (self.public_url.clone(), self.database.clone(), self.service.clone());
        let (gateway_url, flags) = (self.gateway_url.clone(), self.flags.clone());
        Self::launch(world, name, port, public_url, database, service, gateway_url, flags).await
    }

    #[allow(clippy::too_many_arguments, reason = "everything that one instance is made of, in one place")]
    async fn launch(
        world: &World,
        name: &str,
        port: Arc<Port>,
        public_url: String,
        database: Database,
        service: Service,
        gateway_url: String,
        flags: Vec<String>,
    ) -> Self {
        let command = serve(world, &port, &public_url, &database, &service, &gateway_url, &flags);
        let program = Program::start(command, &world.logs(), name);
        let (world, name) = (world.clone(), name.to_owned());
        let mut shop = Self { world, name, port, public_url, database, service, gateway_url, flags, program };
        shop.wait_until_ready().await;
        shop
    }

    /// The origin that browsers see.
    pub fn origin(&self) -> &str {
        &self.public_url
    }

    /// The origin of this instance alone.
    pub fn instance(&self) -> String {
        self.port.origin()
    }

    /// As which service it is registered.
    pub fn service(&self) -> &Service {
        &self.service
    }

    /// The process.
    pub fn program(&mut self) -> &mut Program {
        &mut self.program
    }

    /// Ends it with SIGKILL.
    pub fn kill(&mut self) {
        self.program.kill();
    }

    /// Starts it again on its port.
    pub async fn restart(&mut self) {
        assert!(!self.program.is_running(), "a shop is ended before it is started again");
        let command = serve(
            &self.world,
            &self.port,
            &self.public_url,
            &self.database,
            &self.service,
            &self.gateway_url,
            &self.flags,
        );
        self.program = Program::start(command, &self.world.logs(), &self.name);
        self.wait_until_ready().await;
    }

    async fn wait_until_ready(&mut self) {
        match self.program.line("listening on ").await {
            Ok(origin) => assert_eq!(origin.trim(), self.port.origin()),
            Err(status) => panic!("the shop ended: {status}\n{}", self.program.errors()),
        }
        let (http, url) = (self.world.http(), format!("{}/readyz", self.port.origin()));
        eventually("the shop is ready", || async {
            // The rule about `Host` holds for this instance's own address as well.
            let request = http.get(&url).header("Host", authority(&self.public_url));
            (request.send().await.ok()?.status() == 200).then_some(())
        })
        .await;
    }
}

fn authority(origin: &str) -> &str {
    origin.strip_prefix("http://").unwrap_or(origin)
}

fn serve(
    world: &World,
    port: &Port,
    public_url: &str,
    database: &Database,
    service: &Service,
    gateway_url: &str,
    flags: &[String],
) -> Command {
    let pages = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../frontend/dist");
    let mut command = clean(program::command(program::bin("miid-service"), "KILL"));
    command
        .env("MIID_SERVICE_CLIENT_SECRET", &service.secret)
        .args(["serve", "--listen", &port.address(), "--public-url", public_url])
        .args(["--gateway-url", gateway_url, "--client-id", &service.client_id])
        .args(["--database-url", database.url()])
        .arg("--data-dir")
        .arg(world.folder().join("shop-data"))
        .arg("--pages-dir")
        .arg(pages)
        .args(flags);
    command
}
