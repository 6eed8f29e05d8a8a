//! How a command fails: a message that says what to do next, and an exit code programs can rely on.

use crate::cli::{Format, Global};
use slipway_kernel::Refusals;
use std::{fmt, process::ExitCode};

/// Why a command ended without having done what it was asked for.
#[derive(Debug)]
pub struct Failure(Box<Told>);

/// Boxed, because almost every function of this crate returns it and almost none does.
#[derive(Debug)]
struct Told {
    code: u8,
    name: &'static str,
    message: String,
    hint: Option<String>,
    detail: serde_json::Value,
}

impl Failure {
    /// The deployment failed, or a check found damage: exit code 1.
    pub fn outcome(message: impl Into<String>) -> Self {
        Self::new(1, "failed", message)
    }

    /// Bad flags or a bad document: exit code 2.
    pub fn input(message: impl Into<String>) -> Self {
        Self::new(2, "invalid-argument", message)
    }

    /// Refused by the gate or by the model's door: exit code 3.
    pub fn refused(message: impl Into<String>) -> Self {
        Self::new(3, "refused", message)
    }

    /// Not reachable or not in time: exit code 4.
    pub fn unreachable(message: impl Into<String>) -> Self {
        Self::new(4, "unavailable", message)
    }

    /// Something on this machine did not work: exit code 4.
    pub fn local(message: impl Into<String>) -> Self {
        Self::new(4, "local", message)
    }

    /// A refused document.
    #[must_use]
    pub fn refusals(refusals: &Refusals) -> Self {
        let mut failure = Self::input(format!("the document is refused:\n{refusals}"));
        failure.0.detail = serde_json::json!({ "refusals": refusals.0 });
        failure
    }

    fn new(code: u8, name: &'static str, message: impl Into<String>) -> Self {
        Self(Box::new(Told { code, name, message: message.into(), hint: None, detail: serde_json::Value::Null }))
    }

    /// Adds what the user can do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// Adds machine-readable detail.
    #[must_use]
    pub fn detail(mut self, detail: serde_json::Value) -> Self {
        self.0.detail = detail;
        self
    }

    /// Whether somebody who was asked refused.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        self.0.code == 3
    }

    /// Prints it to standard error and gives the exit code.
    #[expect(clippy::print_stderr, reason = "this is the boundary where errors are printed, once")]
    pub fn print(&self, global: &Global) -> ExitCode {
        match global.output {
            Format::Human => eprintln!("{self}"),
            Format::Json => {
                let error = serde_json::json!({
                    "error": { "name": self.0.name, "message": self.0.message, "hint": self.0.hint, "detail": self.0.detail }
                });
                eprintln!("{error}");
            }
        }
        ExitCode::from(self.0.code)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.0.message)?;
        match &self.0.hint {
            Some(hint) => write!(f, "\n  hint: {hint}"),
            None => Ok(()),
        }
    }
}

impl From<slipway_bus::BusError> for Failure {
    fn from(error: slipway_bus::BusError) -> Self {
        Self::unreachable(chain(&error)).hint("is `slipway up` running with this data folder? (`--data DIR`)")
    }
}

/// The error and what led to it, in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
