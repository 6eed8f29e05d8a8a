//! What is decided about infrastructure that a program makes: what its lines mean, what a plan may do, what a refusal is, what the module is told.
//!
//! The program is OpenTofu or Terraform, or one of one's own that says the same lines.

pub mod chosen;
pub mod events;
pub mod guard;
pub mod progress;
pub mod refusal;
pub mod variables;

pub use chosen::Chosen;
pub use events::{Action, Diagnostic, Event};
pub use guard::{Change, Guard, Purpose};
pub use progress::Progress;
pub use refusal::{Refused, Why};
