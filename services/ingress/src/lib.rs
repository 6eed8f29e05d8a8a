//! slipway-ingress
