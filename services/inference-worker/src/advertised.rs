//! The address under which others reach a worker.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An address, with a port where that is another than the one listened on. Of a pod only its address is known to the platform, so the
/// port may be left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Advertised {
    ip: IpAddr,
    port: Option<u16>,
}

impl Advertised {
    /// The address of what listens there.
    #[must_use]
    pub fn of(self, listening: SocketAddr) -> SocketAddr {
        SocketAddr::new(self.ip, self.port.unwrap_or(listening.port()))
    }

    /// Whether it is one that others can go to: not "any".
    #[must_use]
    pub const fn is_one(self) -> bool {
        !self.ip.is_unspecified()
    }
}

/// Where others find what listens at `listening`, which may be every address, when they find this process at `reached`.
#[must_use]
pub fn reachable(listening: SocketAddr, reached: IpAddr) -> SocketAddr {
    if listening.ip().is_unspecified() { SocketAddr::new(reached, listening.port()) } else { listening }
}

impl FromStr for Advertised {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(ip) = text.parse() {
            return Ok(Self { ip, port: None });
        }
        let address: SocketAddr = text.parse().map_err(|_| ALLOWED.to_owned())?;
        Ok(Self { ip: address.ip(), port: Some(address.port()) })
    }
}

/// What an address may be.
pub const ALLOWED: &str = "an IP address, with or without a port, for example 10.0.0.7 or 10.0.0.7:8443";

impl TryFrom<String> for Advertised {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Advertised> for String {
    fn from(advertised: Advertised) -> Self {
        advertised.to_string()
    }
}

impl fmt::Display for Advertised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => SocketAddr::new(self.ip, port).fmt(f),
            None => self.ip.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_is_not_said_is_the_one_listened_on() {
        let listening = "0.0.0.0:8443".parse().unwrap();
        for (text, address) in [
            ("10.0.0.7", "10.0.0.7:8443"),
            ("10.0.0.7:81", "10.0.0.7:81"),
            ("fd00::7", "[fd00::7]:8443"),
            ("[fd00::7]:81", "[fd00::7]:81"),
        ] {
            let advertised: Advertised = text.parse().unwrap();
            assert_eq!(
                (advertised.of(listening).to_string().as_str(), advertised.to_string().as_str()),
                (address, text)
            );
        }
        for text in ["", "worker", "worker:81", "10.0.0.7:", "10.0.0.7:x"] {
            assert_eq!(text.parse::<Advertised>(), Err(ALLOWED.to_owned()), "{text}");
        }
    }

    #[test]
    fn what_listens_everywhere_is_found_where_the_process_is() {
        let reached = "10.0.0.7".parse().unwrap();
        assert_eq!(reachable("0.0.0.0:9091".parse().unwrap(), reached).to_string(), "10.0.0.7:9091");
        assert_eq!(reachable("[::]:9091".parse().unwrap(), reached).to_string(), "10.0.0.7:9091");
        assert_eq!(reachable("127.0.0.1:9091".parse().unwrap(), reached).to_string(), "127.0.0.1:9091");
    }
}
