//! Who may have which identity, which authority signs, what the policy says, and what a proof shows. Pure: no
//! broker, no file, no clock, no key.

pub mod api_key;
pub mod authority;
pub mod identity;
pub mod policy;
pub mod proof;
