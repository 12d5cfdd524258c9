//! The icon in the tray and its menu. On Linux a tray says only which entry of the menu was chosen, so the menu
//! has everything, and a click elsewhere is an extra.

use std::sync::Mutex;

use miid_wallet::desk::{Desk, View};
use tauri::image::Image;
use tauri::menu::{CheckMenuItem, Menu, MenuItem, PredefinedMenuItem};
use tauri::tray::{MouseButton, MouseButtonState, TrayIcon, TrayIconBuilder, TrayIconEvent};
use tauri::{AppHandle, Manager as _, Runtime};

use crate::standing::{Mark, Standing};
use crate::words::Words;
use crate::{autostart, window};

/// The tray, and what it shows.
pub struct Tray<R: Runtime> {
    icon: TrayIcon<R>,
    line: MenuItem<R>,
    open: MenuItem<R>,
    lock: MenuItem<R>,
    at_login: CheckMenuItem<R>,
    quit: MenuItem<R>,
    shown: Mutex<Option<(Standing, Words, bool)>>,
}

impl<R: Runtime> Tray<R> {
    /// Puts it up. `folder` is private: icons are handed to the panel as files, and a folder that others may
    /// write to would let them swap one.
    pub fn put_up(app: &AppHandle<R>, folder: &std::path::Path, view: &View) -> tauri::Result<Self> {
        let words = Words::of(&view.settings.language);
        let standing = Standing::of(view);
        let item = |id: &str, text: &str, enabled| MenuItem::with_id(app, id, text, enabled, None::<&str>);
        let line = item("standing", &words.standing(standing), false)?;
        let open = item("open", words.open(), true)?;
        let lock = item("lock", words.lock(), false)?;
        let is_on = view.settings.start_at_login;
        let text = words.start_at_login();
        let at_login = CheckMenuItem::with_id(app, "at_login", text, true, is_on, None::<&str>)?;
        let quit = item("quit", words.quit(), true)?;
        let (first, second) = (PredefinedMenuItem::separator(app)?, PredefinedMenuItem::separator(app)?);
        let menu = Menu::with_items(app, &[&line, &first, &open, &lock, &at_login, &second, &quit])?;
        let icon = TrayIconBuilder::with_id("miid")
            .icon(picture(standing.mark()))
            .icon_as_template(true)
            .tooltip(words.title())
            .menu(&menu)
            .show_menu_on_left_click(cfg!(target_os = "macos"))
            .temp_dir_path(folder)
            .on_menu_event(|app, event| choose(app, event.id().as_ref()))
            .on_tray_icon_event(|tray, event| {
                let is_click = matches!(
                    event,
                    TrayIconEvent::Click {
                        button: MouseButton::Left,
                        button_state: MouseButtonState::Up,
                        ..
                    }
                );
                if is_click && !cfg!(target_os = "macos") {
                    window::come_to_front(tray.app_handle());
                }
            })
            .build(app)?;
        let tray = Self { icon, line, open, lock, at_login, quit, shown: Mutex::new(None) };
        tray.show(view);
        Ok(tray)
    }

    /// Shows how it stands now; touches only what is different.
    pub fn show(&self, view: &View) {
        let now = (Standing::of(view), Words::of(&view.settings.language), view.settings.start_at_login);
        let mut shown = self.shown.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if *shown == Some(now) {
            return;
        }
        if let Err(error) = self.change(now, *shown) {
            tracing::warn!(%error, "the tray could not be changed");
        }
        *shown = Some(now);
    }

    fn change(
        &self,
        (standing, words, at_login): (Standing, Words, bool),
        before: Option<(Standing, Words, bool)>,
    ) -> tauri::Result<()> {
        let line = words.standing(standing);
        self.line.set_text(&line)?;
        self.lock
            .set_enabled(!matches!(standing, Standing::New | Standing::Broken | Standing::Locked { .. }))?;
        // Set also where it seems right: a click has ticked it already, and may have failed.
        self.at_login.set_checked(at_login)?;
        self.icon.set_tooltip(Some(format!("{} · {line}", words.title())))?;
        if before.is_none_or(|(earlier, _, _)| earlier.mark() != standing.mark()) {
            self.icon.set_icon_with_as_template(Some(picture(standing.mark())), true)?;
        }
        if before.is_none_or(|(_, earlier, _)| earlier != words) {
            self.open.set_text(words.open())?;
            self.lock.set_text(words.lock())?;
            self.at_login.set_text(words.start_at_login())?;
            self.quit.set_text(words.quit())?;
        }
        Ok(())
    }

    /// Ticks or unticks “start at login” after it failed.
    fn tick_again(&self, is_on: bool) {
        let _ = self.at_login.set_checked(is_on);
    }
}

fn choose<R: Runtime>(app: &AppHandle<R>, entry: &str) {
    match entry {
        "open" => window::come_to_front(app),
        "lock" => app.state::<Desk>().lock(),
        "quit" => app.exit(0),
        "at_login" => {
            let app = app.clone();
            tauri::async_runtime::spawn(async move {
                let desk = app.state::<Desk>().inner().clone();
                let wanted = !desk.view().settings.start_at_login;
                if let Err(error) = autostart::choose(&app, &desk, wanted).await {
                    tracing::warn!(%error, "starting at login could not be changed");
                    if let Some(tray) = app.try_state::<Tray<R>>() {
                        tray.tick_again(!wanted);
                    }
                }
            });
        }
        _ => {}
    }
}

fn picture(mark: Mark) -> Image<'static> {
    match mark {
        Mark::Connected => tauri::include_image!("icons/tray/connected.png"),
        Mark::Waiting => tauri::include_image!("icons/tray/waiting.png"),
        Mark::Offline => tauri::include_image!("icons/tray/offline.png"),
        Mark::Locked => tauri::include_image!("icons/tray/locked.png"),
    }
}
