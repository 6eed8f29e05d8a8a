//! slipway-platform-selector
