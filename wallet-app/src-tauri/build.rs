//! Checks the configuration and the capabilities, finds the built pages, and makes a permission for each command:
//! what no capability names cannot be called.

mod commands {
    include!("src/commands.rs");
}

fn main() {
    // The pages are embedded: other pages are another program.
    println!("cargo::rerun-if-changed=../ui/dist");
    let commands = tauri_build::AppManifest::new().commands(commands::COMMANDS);
    let attributes = tauri_build::Attributes::new().app_manifest(commands);
    if let Err(error) = tauri_build::try_build(attributes) {
        println!("cargo::error={error:#}");
    }
}
