//! Printing: tables and colours on a terminal, plain text in a pipe, JSON for programs.

use comfy_table::{ContentArrangement, Table, presets::NOTHING};
use owo_colors::OwoColorize as _;
use serde::Serialize;
use std::{fmt::Display, io::Write as _};

/// Prints a line to standard output. A closed pipe ends the command's output, not the command in a panic.
pub fn line(text: impl Display) {
    let mut out = anstream::stdout().lock();
    let _ = writeln!(out, "{text}");
}

/// Prints a value as one line of JSON.
pub fn json(value: &impl Serialize) {
    match serde_json::to_string(value) {
        Ok(text) => line(text),
        Err(error) => line(format!("{{\"error\":\"{error}\"}}")),
    }
}

/// A table without lines, that fits the terminal.
#[must_use]
pub fn table<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(header.map(|word| word.to_uppercase().dimmed().to_string()));
    table
}

/// A heading.
#[must_use]
pub fn heading(text: impl Display) -> String {
    text.bold().to_string()
}

/// How a line of progress looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// Done well.
    Good,
    /// Went wrong.
    Bad,
    /// Something to know.
    Note,
}

impl Mark {
    /// The sign in front of a line.
    #[must_use]
    pub fn sign(self) -> String {
        match self {
            Self::Good => "✔".green().to_string(),
            Self::Bad => "✘".red().to_string(),
            Self::Note => "•".yellow().to_string(),
        }
    }
}
