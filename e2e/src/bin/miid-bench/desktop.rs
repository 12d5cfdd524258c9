//! How long the wallet takes from its start to its icon in the tray, and what it costs when nothing happens.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use miid_e2e::desktop::Desktop;
use miid_e2e::program::Program;
use miid_e2e::{World, eventually};

use super::numbers::spread;

/// Starts that count; one more goes before them, to have the files in the system's cache.
const STARTS: usize = 7;
/// Nothing happens for so long before memory is looked at: caches of the start are given back by then.
const IDLE: Duration = Duration::from_secs(8);
const PASSPHRASE: &str = "a passphrase for a bench";

pub const HEADING: &str = "| build | start → icon in the tray, ms | start → window drawn, ms | idle in the tray, MiB | with its window, MiB | programs, MiB |\n|---|--:|--:|--:|--:|--:|";

/// Measures the builds there are, on a desktop of their own.
pub async fn measure(world: World) {
    let gateway = world.gateway(&[]).await;
    let desktop = Desktop::start(&world, "bench").await;
    desktop
        .command_line(&["init", "--name", "Alice", "--gateway", gateway.issuer.as_str()], PASSPHRASE)
        .await
        .ok();
    println!("\n{HEADING}");
    for (build, folder) in [("release", "MIID_BIN_DIR"), ("debug", "MIID_DEBUG_BIN_DIR")] {
        if let Some(folder) = std::env::var_os(folder) {
            let program = PathBuf::from(folder).join("miid-wallet-app");
            println!("{}", line(build, &desktop, &program).await);
        }
    }
}

async fn line(build: &str, desktop: &Desktop, program: &Path) -> String {
    let (mut tray, mut window) = (Vec::new(), Vec::new());
    for nth in 0..=STARTS {
        let (to_tray, to_window) = start(desktop, program).await;
        if nth > 0 {
            tray.push(to_tray);
            window.push(to_window);
        }
    }
    let hidden = idle(desktop, program, &["--hidden"]).await;
    let shown = idle(desktop, program, &[]).await;
    let size = std::fs::metadata(program).map_or(0, |meta| meta.len()) >> 20;
    format!("| {build} | {} | {} | {hidden} | {shown} | {size} |", spread(tray, 0), spread(window, 0))
}

/// Milliseconds to the icon, and to a window that has something in it.
async fn start(desktop: &Desktop, program: &Path) -> (f64, f64) {
    let began = Instant::now();
    let running = desktop.launch(program, &[]);
    desktop.bus.tray().await;
    let to_tray = began.elapsed();
    // The page has asked for what to show: it is drawn with the next frame.
    eventually("the page is there", || {
        std::future::ready(running.errors().contains("tray and window").then_some(()))
    })
    .await;
    let to_window = began.elapsed();
    end(desktop, running).await;
    (to_tray.as_secs_f64() * 1e3, to_window.as_secs_f64() * 1e3)
}

/// What all its processes hold, in MiB.
async fn idle(desktop: &Desktop, program: &Path, words: &[&str]) -> u64 {
    let running = desktop.launch(program, words);
    desktop.bus.tray().await;
    tokio::time::sleep(IDLE).await;
    let held = desktop.wallet_memory_kib() / 1024;
    end(desktop, running).await;
    held
}

async fn end(desktop: &Desktop, mut running: Program) {
    running.stop().await;
    desktop.nothing_is_left().await;
    eventually("the tray is empty", || async { desktop.bus.tray_is_empty().await.then_some(()) }).await;
}
