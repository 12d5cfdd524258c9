//! A session bus of its own.

use std::path::Path;
use std::process::Command;

use futures_util::StreamExt as _;
use zbus::names::BusName;

use super::Home;
use super::notices::{Notice, Notices};
use crate::program::{self, Program};
use crate::wait::eventually;
use crate::world::World;

/// The bus, and what was shown over it.
#[derive(Debug)]
pub struct Bus {
    address: String,
    connection: zbus::Connection,
    notices: Notices,
    _daemon: Program,
}

impl Bus {
    pub(super) async fn start(world: &World, name: &str, home: &Home) -> Self {
        let mut command = program::command("dbus-daemon", "KILL");
        home.dress(&mut command);
        let config = home.folder().join("bus.conf");
        std::fs::write(&config, configuration(home)).expect("the bus's configuration");
        command.arg("--config-file").arg(config).args(["--nofork", "--nopidfile", "--print-address"]);
        let mut daemon = Program::start(command, &world.logs(), &format!("{name}-dbus"));
        let address = match daemon.line("").await {
            Ok(address) => address.trim().to_owned(),
            Err(status) => panic!("dbus-daemon ended with {status}: {}", daemon.errors()),
        };
        let notices = Notices::default();
        let connection = zbus::connection::Builder::address(address.as_str())
            .and_then(|builder| notices.serve_on(builder))
            .expect("the bus has an address");
        let connection = connection.build().await.expect("a session bus that answers");
        Self { address, connection, notices, _daemon: daemon }
    }

    /// A connection to it.
    pub fn connection(&self) -> &zbus::Connection {
        &self.connection
    }

    pub(super) fn dress(&self, command: &mut Command) {
        command.env("DBUS_SESSION_BUS_ADDRESS", &self.address);
    }

    /// Whether somebody has this name.
    pub async fn has(&self, name: &str) -> bool {
        let bus = zbus::fdo::DBusProxy::new(&self.connection).await.expect("the bus itself answers");
        let name = BusName::try_from(name).expect("a name of the bus");
        bus.name_has_owner(name).await.unwrap_or(false)
    }

    /// The names that programs have on it and that end so.
    pub async fn names(&self, end: &str) -> Vec<String> {
        let bus = zbus::fdo::DBusProxy::new(&self.connection).await.expect("the bus itself answers");
        let names = bus.list_names().await.expect("the bus lists its names");
        names.iter().map(ToString::to_string).filter(|name| name.ends_with(end)).collect()
    }

    /// Takes a name, as a program that ends in the moment in which somebody calls it: it never answers. Done once it
    /// has been called.
    pub async fn vanish_when_called(&self, name: &str) -> tokio::task::JoinHandle<()> {
        let connection = zbus::connection::Builder::address(self.address.as_str())
            .and_then(|builder| builder.name(name.to_owned()))
            .expect("a name of the bus")
            .build()
            .await
            .expect("the name is free");
        let mut messages = zbus::MessageStream::from(&connection);
        tokio::spawn(async move {
            while let Some(Ok(message)) = messages.next().await {
                if message.header().member().is_some_and(|member| member == "ExecuteCallback") {
                    break;
                }
            }
            drop(messages);
            connection.close().await.expect("gone");
        })
    }

    /// What the desktop has shown as notifications so far, oldest first.
    pub fn notices(&self) -> Vec<Notice> {
        self.notices.so_far()
    }

    /// The first notification that fits, as soon as it was shown.
    pub async fn notice(&self, what: &str, is_it: impl Fn(&Notice) -> bool) -> Notice {
        eventually(&format!("a notification of {what}"), || {
            std::future::ready(self.notices().into_iter().find(|notice| is_it(notice)))
        })
        .await
    }

    /// Waits until so many were shown.
    pub async fn notices_become(&self, wanted: usize) {
        eventually(&format!("{wanted} notifications were shown"), || {
            std::future::ready((self.notices().len() == wanted).then_some(()))
        })
        .await;
    }

    /// Clicks a notification that is on the screen.
    pub async fn click(&self, notice: &Notice) {
        self.notices.click(&self.connection, notice).await;
    }

    /// Whether a notification has been taken off the screen by the program that showed it.
    pub fn is_withdrawn(&self, notice: &Notice) -> bool {
        self.notices.is_withdrawn(notice)
    }

    /// Waits until it has been.
    pub async fn becomes_withdrawn(&self, notice: &Notice) {
        eventually(&format!("{:?} is withdrawn", notice.summary), || {
            std::future::ready(self.is_withdrawn(notice).then_some(()))
        })
        .await;
    }
}

/// A bus that starts nothing by itself but the panel's settings: not the developer's keychain, above all.
fn configuration(home: &Home) -> String {
    let services = home.folder().join("services");
    std::fs::create_dir_all(&services).expect("a folder for services");
    let name = "org.xfce.Xfconf.service";
    if let Ok(service) = std::fs::read(Path::new("/usr/share/dbus-1/services").join(name)) {
        std::fs::write(services.join(name), service).expect("a service's file");
    }
    format!(
        r#"<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <keep_umask/>
  <listen>unix:path={run}/bus</listen>
  <servicedir>{services}</servicedir>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
    <allow own="*"/>
  </policy>
</busconfig>
"#,
        run = home.folder().join("run").display(),
        services = services.display(),
    )
}
