//! What the platform-selector decides, without doing anything: no clock, no network, no file, no environment.
//!
//! [`due::due`] says what is to be done, [`artifact`] reads what a file is and holds, [`golden`] checks golden rows,
//! [`choose::choose`] decides what serves the model, [`addresses`] says which addresses an artifact may come from.

pub mod addresses;
pub mod artifact;
pub mod choose;
pub mod due;
pub mod golden;
