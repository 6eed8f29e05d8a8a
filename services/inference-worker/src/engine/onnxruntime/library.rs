//! Finding and loading the library.

use std::env;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use ort::environment::Environment;

use crate::engine::EngineError;

/// The library's file name.
pub const LIBRARY: &str = "libonnxruntime.so";

/// How to get what is missing.
const HINT: &str = "`make tools` gets it; or name it in worker.onnxruntime_library or ORT_DYLIB_PATH";

/// A process can load one library only, and `ort` keeps it for ever.
static OPENED: Mutex<Option<Opened>> = Mutex::new(None);

#[derive(Debug, Clone)]
struct Opened {
    path: PathBuf,
    environment: Environment,
}

/// The environment of the library that is found.
pub(super) fn open(configured: Option<&Path>) -> Result<Environment, EngineError> {
    let path = find(configured, env::var_os("ORT_DYLIB_PATH").map(PathBuf::from), &beside())?;
    let mut opened = OPENED.lock().unwrap_or_else(PoisonError::into_inner);
    match opened.as_ref() {
        Some(opened) if opened.path == path => Ok(opened.environment.clone()),
        Some(opened) => Err(EngineError::Unavailable(format!(
            "{} is loaded already, and a process cannot load {} besides",
            opened.path.display(),
            path.display()
        ))),
        None => {
            let environment = load(&path)?;
            *opened = Some(Opened { path, environment: environment.clone() });
            Ok(environment)
        }
    }
}

fn load(path: &Path) -> Result<Environment, EngineError> {
    let failed = |error: &dyn std::fmt::Display| {
        EngineError::Unavailable(format!("{} cannot be used ({error}); {HINT}", path.display()))
    };
    // This opens the library and asks for its version before anything is called in it.
    let builder = ort::init_from(path).map_err(|error| failed(&error))?;
    builder.with_name("slipway").build().map_err(|error| failed(&error))
}

/// The library's path. One that is named must be there: to take another would not be what was asked for.
fn find(configured: Option<&Path>, named: Option<PathBuf>, beside: &[PathBuf]) -> Result<PathBuf, EngineError> {
    let demanded = configured.map(Path::to_path_buf).or(named.filter(|path| !path.as_os_str().is_empty()));
    let missing = |what: String| EngineError::Unavailable(format!("{what}; {HINT}"));
    let found = match demanded {
        Some(path) if path.is_file() => path,
        Some(path) => return Err(missing(format!("there is no file {}", path.display()))),
        None => beside
            .iter()
            .find(|path| path.is_file())
            .cloned()
            .ok_or_else(|| missing(format!("there is no {LIBRARY}")))?,
    };
    // The loader would search the system's folders for a name without a folder.
    found.canonicalize().map_err(|error| missing(format!("{}: {error}", found.display())))
}

/// Where the library may lie when nobody says: beside this program, and in the tools of the project that it was built in. Not in the
/// folder that the program happens to be called from: who can write there could have code of theirs loaded.
fn beside() -> Vec<PathBuf> {
    let tools = Path::new(".tools/onnxruntime").join(LIBRARY);
    let mut all = Vec::new();
    if let Some(folder) = env::current_exe().ok().and_then(|exe| exe.parent().map(Path::to_path_buf)) {
        all.push(folder.join(LIBRARY));
        all.extend(folder.ancestors().map(|up| up.join(&tools)));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configured_library_comes_before_the_environments_and_that_before_what_lies_about() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| {
            let path = folder.path().canonicalize().unwrap().join(name);
            std::fs::write(&path, b"").unwrap();
            path
        };
        let (a, b, c) = (file("a"), file("b"), file("c"));
        let about = [folder.path().join("none"), c.clone()];
        assert_eq!(find(Some(&a), Some(b.clone()), &about), Ok(a));
        assert_eq!(find(None, Some(b.clone()), &about), Ok(b));
        assert_eq!(find(None, Some(PathBuf::new()), &about), Ok(c.clone()));
        assert_eq!(find(None, None, &about), Ok(c));
    }

    #[test]
    fn a_library_that_is_not_there_is_an_error_that_says_how_to_get_it() {
        let gone = Path::new("/nowhere/libonnxruntime.so");
        let about = [std::env::current_exe().unwrap()];
        for error in [
            find(Some(gone), None, &about).unwrap_err(),
            find(None, Some(gone.to_path_buf()), &about).unwrap_err(),
            find(None, None, &[]).unwrap_err(),
        ] {
            assert!(matches!(error, EngineError::Unavailable(_)));
            assert!(error.to_string().contains("make tools"), "{error}");
        }
    }

    #[test]
    fn a_file_that_is_no_library_or_another_library_is_an_error_and_no_end_of_the_process() {
        let folder = tempfile::tempdir().unwrap();
        let text = folder.path().join("libonnxruntime.so");
        std::fs::write(&text, b"not a library").unwrap();
        let error = load(&text).unwrap_err().to_string();
        assert!(error.contains("cannot be used"), "{error}");
        // The C library loads, and is not ONNX Runtime.
        let libc = ["/lib/x86_64-linux-gnu/libc.so.6", "/lib/aarch64-linux-gnu/libc.so.6", "/lib64/libc.so.6"];
        if let Some(libc) = libc.iter().map(Path::new).find(|path| path.is_file()) {
            let error = load(libc).unwrap_err().to_string();
            assert!(error.contains("cannot be used"), "{error}");
        }
    }
}
