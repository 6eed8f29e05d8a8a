//! slipway-security
