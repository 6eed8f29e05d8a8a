//! Printing: tables and colours on a terminal, plain text in a pipe, JSON for programs.

use comfy_table::{Attribute, Cell, Color, ContentArrangement, Table, presets::NOTHING};
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
    // Whether colours go out is decided by `line`. They are the cell's, not its text's, which would count in its width.
    table.enforce_styling();
    table.set_header(header.map(|word| Cell::new(word.to_uppercase()).add_attribute(Attribute::Dim)));
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
    const fn symbol(self) -> &'static str {
        match self {
            Self::Good => "✔",
            Self::Bad => "✘",
            Self::Note => "•",
        }
    }

    /// The sign in front of a line.
    #[must_use]
    pub fn sign(self) -> String {
        match self {
            Self::Good => self.symbol().green().to_string(),
            Self::Bad => self.symbol().red().to_string(),
            Self::Note => self.symbol().yellow().to_string(),
        }
    }

    /// The sign in a table.
    #[must_use]
    pub fn cell(self) -> Cell {
        Cell::new(self.symbol()).fg(match self {
            Self::Good => Color::Green,
            Self::Bad => Color::Red,
            Self::Note => Color::Yellow,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_is_as_wide_as_what_is_seen_of_it() {
        let mut table = table(["", "check"]);
        table.add_row([Mark::Good.cell(), Cell::new("traces")]);
        let plain = anstream::adapter::strip_str(&table.to_string()).to_string();
        let lines: Vec<&str> = plain.lines().map(str::trim_end).collect();
        assert_eq!(lines, ["    CHECK", " ✔  traces"]);
    }
}
