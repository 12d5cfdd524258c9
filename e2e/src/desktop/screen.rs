//! An X server without a screen, with a window manager and, where wanted, a panel.

use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use super::{Bus, Home};
use crate::program::{self, Program};
use crate::wait::eventually;
use crate::world::World;

/// The panel's whole configuration: one line at the top, with a tray.
const PANEL: &str = include_str!("panel.xml");

/// One display of its own.
#[derive(Debug)]
pub struct Screen {
    display: String,
    logs: std::path::PathBuf,
    name: String,
    // Before the server they draw on.
    clients: Mutex<Vec<Program>>,
    _server: Program,
}

impl Screen {
    pub(super) async fn start(world: &World, name: &str, bus: &Bus, home: &Home) -> Self {
        let mut command = program::command("Xvfb", "KILL");
        // It looks for a free display itself, and says which to its standard output.
        command.args(["-displayfd", "1", "-screen", "0", "1280x900x24", "-nolisten", "tcp", "-noreset"]);
        let mut server = Program::start(command, &world.logs(), &format!("{name}-xvfb"));
        let number = match server.line("").await {
            Ok(number) => number,
            Err(status) => panic!(
                "Xvfb ended with {status}: {}\n{}",
                server.errors(),
                "is it installed? cargo xtask setup"
            ),
        };
        let screen = Self {
            display: format!(":{}", number.trim()),
            logs: world.logs(),
            name: name.to_owned(),
            clients: Mutex::default(),
            _server: server,
        };
        screen.run("openbox", &["--sm-disable"], bus, home);
        eventually("the window manager manages", || async {
            // Without one there are no desktops to count.
            let told = program::capture(screen.x("xdotool", &["get_num_desktops"])).await;
            told.status.success().then_some(())
        })
        .await;
        screen
    }

    /// Puts a panel with a tray on it.
    pub(super) async fn show_panel(&self, bus: &Bus, home: &Home) {
        let folder = home.folder().join("config/xfce4/xfconf/xfce-perchannel-xml");
        std::fs::create_dir_all(&folder).expect("a folder for the panel's settings");
        std::fs::write(folder.join("xfce4-panel.xml"), PANEL).expect("the panel's settings");
        self.run("xfce4-panel", &["--disable-wm-check"], bus, home);
        eventually("the panel has a tray", || async {
            bus.has("org.kde.StatusNotifierWatcher").await.then_some(())
        })
        .await;
    }

    fn run(&self, name: &str, words: &[&str], bus: &Bus, home: &Home) {
        let mut command = program::command(name, "KILL");
        home.dress(&mut command);
        bus.dress(&mut command);
        self.dress(&mut command);
        command.args(words);
        let program = Program::start(command, &self.logs, &format!("{}-{name}", self.name));
        self.clients.lock().unwrap_or_else(PoisonError::into_inner).push(program);
    }

    /// Its name, as in `DISPLAY`.
    pub fn display(&self) -> &str {
        &self.display
    }

    pub(super) fn dress(&self, command: &mut Command) {
        // No accessibility bus beside the session's own, and no graphics card to look for.
        command.env("DISPLAY", &self.display).env("NO_AT_BRIDGE", "1").env("LIBGL_ALWAYS_SOFTWARE", "1");
    }

    /// A short command of X's.
    fn x(&self, program: &str, words: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(words).env("DISPLAY", &self.display);
        command
    }

    /// Presses keys as the keyboard would, for whichever window has the focus: `alt+F4`, `Tab`.
    pub async fn press(&self, keys: &[&str]) {
        let mut command = self.x("xdotool", &["key", "--clearmodifiers", "--delay", "30"]);
        command.args(keys);
        program::capture(command).await.ok();
    }

    /// Asks the window manager to close the window with this title, as the button in its title bar does.
    pub async fn close(&self, title: &str) {
        let found =
            program::capture(self.x("xdotool", &["search", "--onlyvisible", "--name", title])).await.stdout;
        let window = found.lines().next().and_then(|id| id.parse().ok()).expect("the window can be seen");
        let display = self.display.clone();
        let asked = tokio::task::spawn_blocking(move || ask_to_close(&display, window)).await;
        asked.expect("asked").expect("the screen takes a message");
    }

    /// Sets how many dots an inch of text has, for programs that start from now on; 96 are usual.
    pub async fn set_text_dpi(&self, dpi: u32) {
        let display = self.display.clone();
        let set = tokio::task::spawn_blocking(move || set_resources(&display, &format!("Xft.dpi:\t{dpi}\n")));
        set.await.expect("asked").expect("the screen takes a setting");
    }

    /// The title of the window in front, which has the keyboard.
    pub async fn in_front(&self) -> String {
        let told = program::capture(self.x("xdotool", &["getactivewindow", "getwindowname"])).await;
        told.stdout.trim().to_owned()
    }

    /// Waits until the window in front is one whose title has this in it.
    pub async fn comes_to_front(&self, title: &str) {
        eventually(&format!("{title} is in front"), || async {
            self.in_front().await.contains(title).then_some(())
        })
        .await;
    }

    /// Opens some other program's window with this title in front of the others. It lives as long as what is
    /// returned.
    pub async fn open_another(&self, title: &str) -> impl Drop + use<> {
        let (display, name) = (self.display.clone(), title.to_owned());
        let opened = tokio::task::spawn_blocking(move || Another::open(&display, &name)).await;
        let another = opened.expect("asked").expect("the screen takes a window");
        let window = another.window.to_string();
        program::capture(self.x("xdotool", &["windowactivate", "--sync", &window])).await.ok();
        self.comes_to_front(title).await;
        another
    }

    /// The titles of the windows that can be seen now.
    pub async fn windows(&self) -> Vec<String> {
        let found = self.x("xdotool", &["search", "--onlyvisible", "--name", ".*"]);
        let found = program::capture(found).await;
        let mut titles = Vec::new();
        for id in found.stdout.lines() {
            let title = program::capture(self.x("xdotool", &["getwindowname", id])).await;
            titles.push(title.stdout.trim().to_owned());
        }
        titles
    }

    /// Keeps a picture of all of it.
    pub async fn picture(&self, file: &Path) {
        program::capture(self.import(file)).await.ok();
    }

    /// The same without waiting for anything else, and without a word where it cannot be.
    pub(super) fn picture_now(&self, file: &Path) {
        let _ = self.import(file).output();
    }

    fn import(&self, file: &Path) -> Command {
        let mut command = self.x("import", &["-window", "root"]);
        command.arg(file);
        command
    }
}

/// A window of nobody's.
struct Another {
    connection: x11rb::rust_connection::RustConnection,
    window: u32,
}

impl Another {
    fn open(display: &str, title: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        use x11rb::connection::Connection as _;
        use x11rb::protocol::xproto::{AtomEnum, ConnectionExt as _, CreateWindowAux, PropMode, WindowClass};
        use x11rb::wrapper::ConnectionExt as _;
        let (connection, screen) = x11rb::connect(Some(display))?;
        let root = connection.setup().roots[screen].clone();
        let window = connection.generate_id()?;
        let (class, look) =
            (WindowClass::INPUT_OUTPUT, CreateWindowAux::new().background_pixel(root.white_pixel));
        connection.create_window(0, window, root.root, 0, 0, 300, 200, 0, class, 0, &look)?.check()?;
        let name = AtomEnum::WM_NAME;
        connection
            .change_property8(PropMode::REPLACE, window, name, AtomEnum::STRING, title.as_bytes())?
            .check()?;
        connection.map_window(window)?.check()?;
        Ok(Self { connection, window })
    }
}

impl Drop for Another {
    fn drop(&mut self) {
        use x11rb::protocol::xproto::ConnectionExt as _;
        // Its connection goes with it.
        let _ = self.connection.destroy_window(self.window);
    }
}

/// `_NET_CLOSE_WINDOW` of the Extended Window Manager Hints.
fn ask_to_close(display: &str, window: u32) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    use x11rb::connection::Connection as _;
    use x11rb::protocol::xproto::{ClientMessageEvent, ConnectionExt as _, EventMask};
    let (connection, screen) = x11rb::connect(Some(display))?;
    let root = connection.setup().roots[screen].root;
    let name = connection.intern_atom(false, b"_NET_CLOSE_WINDOW")?.reply()?.atom;
    // When: not known. Who asks: a pager, 2.
    let message = ClientMessageEvent::new(32, window, name, [0, 2, 0, 0, 0]);
    let mask = EventMask::SUBSTRUCTURE_NOTIFY | EventMask::SUBSTRUCTURE_REDIRECT;
    connection.send_event(false, root, mask, message)?.check()?;
    Ok(())
}

/// What `xrdb` sets.
fn set_resources(display: &str, text: &str) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    use x11rb::connection::Connection as _;
    use x11rb::protocol::xproto::{AtomEnum, PropMode};
    use x11rb::wrapper::ConnectionExt as _;
    let (connection, screen) = x11rb::connect(Some(display))?;
    let (root, name) = (connection.setup().roots[screen].root, AtomEnum::RESOURCE_MANAGER);
    connection.change_property8(PropMode::REPLACE, root, name, AtomEnum::STRING, text.as_bytes())?.check()?;
    Ok(())
}
