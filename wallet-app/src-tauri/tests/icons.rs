//! The icons are drawn here: a door that is a little open, and beside it a mark for how the wallet stands. When
//! this test says that they are stale, run `MIID_UPDATE=1 cargo test -p miid-wallet-app --test icons`.
//!
//! In the tray there is one colour and its transparency, so that a panel may take them for a template; its shape
//! alone tells each state. The teal is dark enough for a light panel and light enough for a dark one.

use std::fs;
use std::path::{Path, PathBuf};

/// Straight alpha, as a PNG has it.
type Pixel = [u8; 4];

const TEAL: [u8; 3] = [0x14, 0x93, 0x92];
const DEEP: [u8; 3] = [0x0b, 0x5f, 0x63];
const WHITE: [u8; 3] = [0xff, 0xff, 0xff];
/// Samples per pixel and direction.
const SAMPLES: u32 = 4;

/// What is painted at a point of the unit square; `None` is nothing.
type Paint = dyn Fn(f64, f64) -> Option<[u8; 3]>;

fn in_box(x: f64, y: f64, [left, top, right, bottom]: [f64; 4], radius: f64) -> bool {
    let dx = (left + radius - x).max(x - right + radius).max(0.0);
    let dy = (top + radius - y).max(y - bottom + radius).max(0.0);
    x >= left && x <= right && y >= top && y <= bottom && dx * dx + dy * dy <= radius * radius
}

fn in_circle(x: f64, y: f64, (cx, cy): (f64, f64), radius: f64) -> bool {
    (x - cx) * (x - cx) + (y - cy) * (y - cy) <= radius * radius
}

/// Within `width` of the line through two points, ends square to it.
fn on_line(x: f64, y: f64, a: (f64, f64), b: (f64, f64), width: f64) -> bool {
    let (dx, dy) = (b.0 - a.0, b.1 - a.1);
    let length = (dx * dx + dy * dy).sqrt();
    let along = ((x - a.0) * dx + (y - a.1) * dy) / length;
    let across = ((x - a.0) * dy - (y - a.1) * dx).abs() / length;
    (0.0..=length).contains(&along) && across <= width / 2.0
}

/// The frame, and a leaf that stands open: narrower towards its outer edge, with a knob cut out of it.
fn door(x: f64, y: f64) -> bool {
    let frame = in_box(x, y, [0.16, 0.06, 0.84, 0.94], 0.12) && !in_box(x, y, [0.26, 0.16, 0.74, 0.94], 0.05);
    // The leaf: its hinge is at the left, its free edge leans towards the one who looks.
    let slant = (x - 0.26) / 0.34;
    let leaf = (0.26..=0.60).contains(&x) && y >= 0.16 + 0.10 * slant && y <= 0.94;
    let knob = in_circle(x, y, (0.52, 0.60), 0.045);
    frame || (leaf && !knob)
}

/// The frame, shut, with a keyhole.
fn shut(x: f64, y: f64) -> bool {
    let leaf = in_box(x, y, [0.16, 0.06, 0.84, 0.94], 0.12);
    let keyhole = in_circle(x, y, (0.5, 0.44), 0.115) || in_box(x, y, [0.445, 0.46, 0.555, 0.72], 0.02);
    leaf && !keyhole
}

fn tray(state: &str, x: f64, y: f64) -> bool {
    match state {
        "connected" => door(x, y),
        "locked" => shut(x, y),
        "waiting" => {
            // A full dot, with a gap around it.
            let dot = (0.76, 0.26);
            in_circle(x, y, dot, 0.23) || (door(x, y) && !in_circle(x, y, dot, 0.30))
        }
        "offline" => {
            let (a, b) = ((0.10, 0.02), (0.98, 0.90));
            on_line(x, y, a, b, 0.10) || (door(x, y) && !on_line(x, y, a, b, 0.26))
        }
        other => panic!("no such state: {other}"),
    }
}

/// The application's own: white on a rounded square of teal, darker towards its foot.
fn application(x: f64, y: f64) -> Option<[u8; 3]> {
    if !in_box(x, y, [0.03, 0.03, 0.97, 0.97], 0.22) {
        return None;
    }
    let inner = ((x - 0.5) / 0.62 + 0.5, (y - 0.5) / 0.62 + 0.5);
    if door(inner.0, inner.1) {
        return Some(WHITE);
    }
    let mix = |top: u8, foot: u8| (f64::from(top) * (1.0 - y) + f64::from(foot) * y) as u8;
    Some([mix(TEAL[0], DEEP[0]), mix(TEAL[1], DEEP[1]), mix(TEAL[2], DEEP[2])])
}

fn draw(size: u32, paint: &Paint) -> Vec<u8> {
    let mut pixels = Vec::new();
    let step = f64::from(size * SAMPLES);
    for row in 0..size {
        for column in 0..size {
            let (mut sums, mut covered) = ([0_u32; 3], 0_u32);
            for sub in 0..SAMPLES * SAMPLES {
                let x = (f64::from(column * SAMPLES + sub % SAMPLES) + 0.5) / step;
                let y = (f64::from(row * SAMPLES + sub / SAMPLES) + 0.5) / step;
                if let Some(colour) = paint(x, y) {
                    covered += 1;
                    for (sum, part) in sums.iter_mut().zip(colour) {
                        *sum += u32::from(part);
                    }
                }
            }
            let part = |sum: u32| u8::try_from(sum / covered.max(1)).expect("a mean of bytes");
            let alpha = u8::try_from(covered * 255 / (SAMPLES * SAMPLES)).expect("at most 255");
            let pixel: Pixel = [part(sums[0]), part(sums[1]), part(sums[2]), alpha];
            pixels.extend(pixel);
        }
    }
    pixels
}

fn to_png(size: u32, pixels: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, size, size);
    encoder.set_color(png::ColorType::Rgba);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header().expect("a header");
    writer.write_image_data(pixels).expect("pixels");
    writer.finish().expect("an end");
    bytes
}

/// Pixels, since another version of the encoder may pack the same ones in other bytes.
fn from_png(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut reader = png::Decoder::new(std::io::Cursor::new(bytes)).read_info().ok()?;
    let mut pixels = vec![0; reader.output_buffer_size()?];
    let info = reader.next_frame(&mut pixels).ok()?;
    pixels.truncate(info.buffer_size());
    Some(pixels)
}

fn icons() -> Vec<(PathBuf, u32, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("icons");
    let mut icons = Vec::new();
    for state in ["connected", "waiting", "offline", "locked"] {
        let pixels = draw(64, &|x, y| tray(state, x, y).then_some(TEAL));
        icons.push((folder.join(format!("tray/{state}.png")), 64, pixels));
    }
    for (name, size) in [("32x32.png", 32), ("128x128.png", 128), ("128x128@2x.png", 256), ("icon.png", 512)]
    {
        icons.push((folder.join(name), size, draw(size, &application)));
    }
    icons
}

/// An icon of Windows: one picture of 256 pixels, as PNG.
fn to_ico(png: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, 1, 0, 1, 0, 0, 0, 0, 0, 1, 0, 32, 0];
    bytes.extend(u32::try_from(png.len()).expect("small").to_le_bytes());
    bytes.extend(22_u32.to_le_bytes());
    bytes.extend(png);
    bytes
}

/// An icon of macOS: pictures of 128, 256 and 512 pixels, as PNG.
fn to_icns(pictures: &[(&[u8; 4], &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (kind, png) in pictures {
        body.extend(*kind);
        body.extend(u32::try_from(png.len() + 8).expect("small").to_be_bytes());
        body.extend(*png);
    }
    let mut bytes = b"icns".to_vec();
    bytes.extend(u32::try_from(body.len() + 8).expect("small").to_be_bytes());
    bytes.extend(body);
    bytes
}

#[test]
fn the_icons_are_fresh() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("icons");
    let icons = icons();
    if std::env::var_os("MIID_UPDATE").is_some() {
        fs::create_dir_all(folder.join("tray")).expect("a folder");
        for (path, size, pixels) in &icons {
            fs::write(path, to_png(*size, pixels)).expect("written");
        }
        let read = |name: &str| fs::read(folder.join(name)).expect("just written");
        let (small, middle, large) = (read("128x128.png"), read("128x128@2x.png"), read("icon.png"));
        fs::write(folder.join("icon.ico"), to_ico(&middle)).expect("written");
        let pictures: [(&[u8; 4], &[u8]); 3] = [(b"ic07", &small), (b"ic08", &middle), (b"ic09", &large)];
        fs::write(folder.join("icon.icns"), to_icns(&pictures)).expect("written");
    }
    let hint = "run `MIID_UPDATE=1 cargo test -p miid-wallet-app --test icons`";
    for (path, _, pixels) in &icons {
        let found = fs::read(path).ok().and_then(|bytes| from_png(&bytes));
        assert!(found.as_ref() == Some(pixels), "{} is stale: {hint}", path.display());
    }
    let middle = fs::read(folder.join("128x128@2x.png")).expect("there");
    assert!(
        fs::read(folder.join("icon.ico")).expect("there").ends_with(&middle),
        "icon.ico is stale: {hint}"
    );
}

#[test]
fn each_state_has_a_shape_of_its_own() {
    let shape = |state: &'static str| draw(22, &move |x, y| tray(state, x, y).then_some(TEAL));
    let states = ["connected", "waiting", "offline", "locked"];
    for (i, one) in states.into_iter().enumerate() {
        for other in states.into_iter().skip(i + 1) {
            let alphas = |pixels: Vec<u8>| pixels.into_iter().skip(3).step_by(4).collect::<Vec<_>>();
            let (one_is, other_is) = (alphas(shape(one)), alphas(shape(other)));
            let differ = one_is.iter().zip(&other_is).filter(|(a, b)| a.abs_diff(**b) > 128).count();
            // At the size of a panel, by shape alone.
            assert!(differ > 22 * 22 / 20, "{one} and {other} differ in {differ} pixels");
        }
    }
}
