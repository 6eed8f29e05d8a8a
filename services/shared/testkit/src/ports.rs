//! Ports that are a test's own.

use std::{
    fs::{self, File},
    net::{Ipv4Addr, TcpListener},
    ops::Range,
    path::Path,
    sync::{Mutex, PoisonError},
};

/// Below the range from which Linux takes ports for outgoing connections and for port 0 (32768 and up): no connection of another test
/// sits on a port between its choice and its use.
const RANGE: Range<u16> = 10_240..32_000;

/// A port of the loopback that nobody listens on and that no other test, of this process or another, is given while this process lives.
///
/// # Panics
/// When none is left.
#[must_use]
pub fn free_port() -> u16 {
    /// The files whose locks mark what this process was given; the system lets go of them when it ends, however it ends.
    static TAKEN: Mutex<Vec<File>> = Mutex::new(Vec::new());
    let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = std::env::temp_dir().join("slipway-test-ports");
    fs::create_dir_all(&folder).expect("the folder of the locks is made");
    // Processes begin at different places, so that a port is seldom given again right after its process ended.
    let spread = std::process::id().wrapping_mul(977) + u32::try_from(taken.len()).expect("fewer than there are ports");
    let (file, port) = (0..RANGE.len())
        .filter_map(|n| u16::try_from((spread as usize + n) % RANGE.len()).ok())
        .map(|n| RANGE.start + n)
        .find_map(|port| Some((lock(&folder, port)?, port)))
        .expect("a port is left");
    taken.push(file);
    port
}

/// The lock of a port, if nobody has it and nobody listens there.
fn lock(folder: &Path, port: u16) -> Option<File> {
    let file = File::options().create(true).append(true).open(folder.join(port.to_string())).ok()?;
    file.try_lock().ok()?;
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok().map(|_| file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn no_port_is_given_twice_although_nobody_listens_on_it() {
        let given: Vec<u16> = (0..200).map(|_| free_port()).collect();
        assert_eq!(given.iter().collect::<BTreeSet<_>>().len(), given.len());
    }

    #[test]
    fn a_port_that_somebody_listens_on_is_passed_over() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = listener.local_addr().expect("an address").port();
        assert!(lock(folder.path(), port).is_none());
        drop(listener);
        let held = lock(folder.path(), port);
        assert!(held.is_some() && lock(folder.path(), port).is_none(), "it is given once");
    }
}
