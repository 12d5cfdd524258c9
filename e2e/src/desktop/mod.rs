//! A desktop that somebody sits at, and the wallet's real window on it.
//!
//! Each [`Desktop`] is whole and its own: an X server without a screen ([`screen`]), a session bus with a
//! notification daemon that writes down what it is shown ([`bus`], [`notices`]), a window manager, a panel
//! with a tray ([`tray`]), a home folder, a list of what starts at login ([`login`]), and a browser that only
//! writes down what it is asked to open ([`home`]). Several stand side by side on one machine. The wallet is the program that is shipped, driven
//! through WebKit's own WebDriver ([`window`], [`wallet`]); what is left of it when it has ended is looked
//! for in the kernel's list of processes ([`processes`]).

mod bus;
mod home;
mod keyring;
mod login;
mod notices;
mod processes;
mod screen;
mod tray;
mod wallet;
mod window;

pub use bus::Bus;
pub use home::Home;
pub use notices::Notice;
pub use screen::Screen;
pub use tray::{Entry, Tray};
pub use wallet::DesktopWallet;
pub use window::Window;

use std::path::{Path, PathBuf};

use crate::program::{self, Ran};
use crate::world::World;

/// Everything around the wallet.
#[derive(Debug)]
pub struct Desktop {
    /// What is drawn on.
    pub screen: Screen,
    /// What programs talk over.
    pub bus: Bus,
    /// Whose it is.
    pub home: Home,
    world: World,
    name: String,
    /// Where programs were installed beside the machine's own.
    system: Option<PathBuf>,
}

impl Desktop {
    /// One with a panel and a tray; `name` is whose it is.
    pub async fn start(world: &World, name: &str) -> Self {
        let desktop = Self::bare(world, name).await;
        desktop.screen.show_panel(&desktop.bus, &desktop.home).await;
        desktop
    }

    /// One without a tray, as some window managers are.
    pub async fn bare(world: &World, name: &str) -> Self {
        let home = Home::make(world, name);
        let bus = Bus::start(world, name, &home).await;
        let screen = Screen::start(world, name, &bus, &home).await;
        Self { screen, bus, home, world: world.clone(), name: name.to_owned(), system: None }
    }

    /// The same, on a system with what was installed below `root`.
    #[must_use]
    pub fn with_system(self, root: &Path) -> Self {
        Self { system: Some(root.to_owned()), ..self }
    }

    /// Runs a command that ends by itself on this desktop.
    pub async fn run(&self, program: impl AsRef<std::ffi::OsStr>, words: &[&str]) -> Ran {
        let mut command = self.command(program);
        command.args(words);
        program::capture(command).await
    }

    /// Whose it is.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A command that runs on this desktop and dies with us.
    fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> std::process::Command {
        let mut command = program::command(program, "KILL");
        self.dress(&mut command);
        command
    }

    /// Gives a command this desktop's environment and no other.
    fn dress(&self, command: &mut std::process::Command) {
        self.home.dress(command);
        self.bus.dress(command);
        self.screen.dress(command);
        if let Some(root) = &self.system {
            self.home.install(command, root);
        }
    }
}
