//! Ports nobody listens on.

use std::net::{Ipv4Addr, TcpListener};

/// A port of the loopback that was free a moment ago. Somebody may take it before it is used: whoever starts a server tries again.
#[must_use]
pub fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("the loopback has a free port");
    listener.local_addr().expect("a bound socket has an address").port()
}
