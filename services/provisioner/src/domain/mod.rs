//! What the provisioner decides, without doing anything: no clock, no network, no file, no environment.
//!
//! [`due::due`] says what is to be done for a deployment, [`choose::choose`] decides where it shall run.

pub mod choose;
pub mod clouds;
pub mod cluster;
pub mod demands;
pub mod due;
pub mod prices;
pub mod site;
pub mod stack;
pub mod surroundings;
