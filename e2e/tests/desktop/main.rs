//! What the desktop wallet claims, each claim tried on its real window, with the real gateway, the real shop and
//! the real login page in a real browser. A file is about one subject; a test's name is its claim.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a scenario fails where it stands")]

mod at_login;
mod first_run;
mod identities;
mod keychain;
mod linked;
mod locks;
mod looks;
mod notifications;
mod people;
mod requests;
mod retire;
mod sessions;
mod step_up;
mod text_size;
mod tray;
