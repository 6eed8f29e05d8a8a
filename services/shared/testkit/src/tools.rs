//! Where the programs are that tests start.

use std::{
    env,
    path::{Path, PathBuf},
};

/// The workspace's folder.
#[must_use]
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(3).expect("three folders up is the workspace")
}

/// A program of `.tools/bin`, else of the `PATH`.
///
/// # Panics
/// When there is none, with what to do.
#[must_use]
pub fn tool(name: &str) -> PathBuf {
    let own = workspace().join(".tools/bin").join(name);
    if own.exists() {
        return own;
    }
    let path = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file());
    found.unwrap_or_else(|| panic!("{name} is neither in .tools/bin nor in PATH: `make tools` installs it"))
}

/// The `slipway` program of this build: `SLIPWAY_BINARY`, else the one beside the test's own.
///
/// # Panics
/// When it was not built.
#[must_use]
pub fn slipway_binary() -> PathBuf {
    if let Some(path) = env::var_os("SLIPWAY_BINARY") {
        return path.into();
    }
    let test = env::current_exe().expect("a running test knows its file");
    // target/debug/deps/flow-0123456789abcdef -> target/debug/slipway
    let found = test.ancestors().skip(1).take(3).map(|folder| folder.join("slipway")).find(|file| file.is_file());
    found.unwrap_or_else(|| {
        panic!("there is no `slipway` near {}: `cargo build -p slipway` builds it (`make test` does)", test.display())
    })
}
