//! What the terminal shows. Colour only where somebody looks.

use std::io::IsTerminal;
use std::time::Duration;

/// A step that takes more than a moment.
pub(crate) fn step(words: &str) {
    eprintln!("{} {words}", paint(TEAL, "·"));
}

/// A part of several, with room above it.
pub(crate) fn headline(words: &str) {
    eprintln!("\n{}", paint(BOLD, &format!("── {words} ──")));
}

/// Something that is not an error but must not be missed.
pub(crate) fn loud(words: &str) {
    eprintln!("{} {words}", paint(YELLOW, "!!"));
}

/// Why the command failed: one line for each cause, the hint being part of the words.
pub(crate) fn failure(error: &anyhow::Error) {
    eprintln!("{} {error}", paint(RED, "error:"));
    for cause in error.chain().skip(1) {
        eprintln!("  because {cause}");
    }
}

/// Words in the colour of a good end.
pub(crate) fn good(words: &str) -> String {
    paint(GREEN, words)
}

/// Words in the colour of a bad end.
pub(crate) fn bad(words: &str) -> String {
    paint(RED, words)
}

/// Words that stand out.
pub(crate) fn strong(words: &str) -> String {
    paint(BOLD, words)
}

/// `0.3 s`, `41.2 s`, `3 min 05 s`.
pub(crate) fn duration(time: Duration) -> String {
    let seconds = time.as_secs();
    if seconds < 60 {
        format!("{:.1} s", time.as_secs_f64())
    } else {
        format!("{} min {:02} s", seconds / 60, seconds % 60)
    }
}

const RED: &str = "31";
const GREEN: &str = "32";
const YELLOW: &str = "33";
const TEAL: &str = "36";
const BOLD: &str = "1";

fn paint(style: &str, words: &str) -> String {
    // `NO_COLOR` as https://no-color.org has it: set to anything means no colour.
    let coloured = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    if coloured { format!("\u{1b}[{style}m{words}\u{1b}[0m") } else { words.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_reads_well_at_any_size() {
        assert_eq!(duration(Duration::from_millis(240)), "0.2 s");
        assert_eq!(duration(Duration::from_secs(185)), "3 min 05 s");
    }
}
