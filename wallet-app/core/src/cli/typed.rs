//! What a person types to a command that is no conversation: a yes, a name, the words of a key.

use std::io::{BufRead as _, IsTerminal as _, Read as _, Write as _};

use zeroize::Zeroizing;

use super::failure::Failure;
use crate::recovery::{RecoveryWords, WORDS};

/// Longest input that is looked at.
const MAX_INPUT: u64 = 256 * 1024;

/// Asks on standard error, so that standard output stays what was asked for, and reads one line.
pub(crate) fn line(question: &str) -> Result<Option<String>, Failure> {
    let mut err = std::io::stderr().lock();
    err.write_all(question.as_bytes())?;
    err.flush()?;
    let mut line = String::new();
    let read = std::io::stdin().lock().take(MAX_INPUT).read_line(&mut line)?;
    Ok((read > 0).then(|| line.trim().to_owned()))
}

/// Everything on standard input. Bytes that are no text are replaced.
pub(crate) fn everything() -> Result<Zeroizing<String>, Failure> {
    let mut bytes = Zeroizing::new(Vec::new());
    std::io::stdin().lock().take(MAX_INPUT).read_to_end(&mut bytes)?;
    Ok(Zeroizing::new(String::from_utf8_lossy(&bytes).into_owned()))
}

/// The 24 words: all of the input, or on a terminal as many lines as it takes.
pub(crate) fn recovery_words(question: &str) -> Result<RecoveryWords, Failure> {
    let text = if std::io::stdin().is_terminal() {
        let mut err = std::io::stderr().lock();
        writeln!(err, "{question}")?;
        let mut text = Zeroizing::new(String::with_capacity(1024));
        for line in std::io::stdin().lock().lines() {
            let line = Zeroizing::new(line?);
            text.push_str(&line);
            text.push(' ');
            // With the last word, or an empty line, the person is done.
            let typed = text.split_whitespace().filter(|word| word.chars().any(char::is_alphabetic)).count();
            if typed >= WORDS || line.trim().is_empty() {
                break;
            }
        }
        text
    } else {
        everything()?
    };
    RecoveryWords::parse(&text).map_err(|error| {
        Failure::usage(error.to_string(), "nothing was changed; look at the sheet and try again")
            .kind("wrong_words")
    })
}
