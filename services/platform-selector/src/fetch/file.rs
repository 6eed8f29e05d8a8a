//! Files of this machine. Only regular ones, and only below the configured folders, wherever links may point.

use super::{FetchError, Fetched, Limit, sink::Sink};
use slipway_kernel::bundle;
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _},
    os::{fd::AsRawFd as _, unix::fs::OpenOptionsExt as _},
    path::{Path, PathBuf},
};

/// Bytes copied at a time.
const PIECE: usize = 1 << 20;

/// Copies the file.
pub(super) async fn copy(path: PathBuf, roots: Vec<PathBuf>, to: &Path, limit: Limit) -> Result<Fetched, FetchError> {
    let to = to.to_owned();
    let copied = tokio::task::spawn_blocking(move || copy_blocking(&path, &roots, &to, limit)).await;
    copied.unwrap_or_else(|error| {
        Err(FetchError::Unavailable { what: format!("the copy ended before its time: {error}") })
    })
}

fn copy_blocking(path: &Path, roots: &[PathBuf], to: &Path, limit: Limit) -> Result<Fetched, FetchError> {
    let mut file = open(path, roots)?;
    let size = file.metadata().map_err(|error| unreadable(path, &error))?.len();
    if size > limit.bytes {
        return Err(FetchError::TooLarge { limit: limit.bytes, key: limit.key });
    }
    let mut sink = Sink::create(to, limit)?;
    let mut piece = vec![0; PIECE];
    loop {
        match file.read(&mut piece) {
            Ok(0) => return sink.finish(),
            Ok(length) => sink.write(&piece[..length])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(unreadable(path, &error)),
        }
    }
}

/// Opens a regular file below the roots.
fn open(path: &Path, roots: &[PathBuf]) -> Result<File, FetchError> {
    let real = fs::canonicalize(path).map_err(|error| unreadable(path, &error))?;
    below(&real, roots)?;
    // Links were followed above; one that appears now is an attempt. A pipe would block whoever opens it.
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let flags = i32::try_from(flags.bits()).unwrap_or(0);
    let file = OpenOptions::new().read(true).custom_flags(flags).open(&real);
    let file = file.map_err(|error| unreadable(path, &error))?;
    let metadata = file.metadata().map_err(|error| unreadable(path, &error))?;
    if metadata.is_dir() {
        let advice = format!(
            "a model is one file, known by its digest: name the one in it, or, of a SavedModel, an archive of the folder ({})",
            bundle::COMMAND
        );
        return Err(FetchError::not_allowed("it is a folder", advice));
    }
    if !metadata.is_file() {
        return Err(FetchError::not_allowed("it is no regular file (a device, pipe or socket)", "name a regular file"));
    }
    // A folder on the way may have been replaced by a link since: what was opened must still lie below the roots.
    if !roots.is_empty() {
        let opened = fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()));
        below(&opened.map_err(|error| unreadable(path, &error))?, roots)?;
    }
    Ok(file)
}

fn below(real: &Path, roots: &[PathBuf]) -> Result<(), FetchError> {
    let inside = |root: &PathBuf| fs::canonicalize(root).is_ok_and(|root| real.starts_with(root));
    if roots.is_empty() || roots.iter().any(inside) {
        return Ok(());
    }
    Err(FetchError::not_allowed(
        "the file lies outside of the folders that artifacts may come from",
        "put it into one of them, or have the operator add its folder to fetch.artifact_roots",
    ))
}

fn unreadable(path: &Path, error: &io::Error) -> FetchError {
    let what = format!("{}: {error}", path.display());
    // Too many links, or a link where none may be.
    if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) {
        return FetchError::not_allowed(what, "name a regular file");
    }
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => FetchError::NotFound { what },
        io::ErrorKind::PermissionDenied => FetchError::not_allowed(what, "let the user of Slipway read it"),
        io::ErrorKind::InvalidInput => FetchError::not_allowed(what, "name a regular file"),
        _ => FetchError::Unavailable { what },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fetch::sink::tests::SMALL;
    use std::os::unix::fs::symlink;

    struct Place {
        folder: tempfile::TempDir,
    }

    impl Place {
        fn new() -> Self {
            let place = Self { folder: tempfile::tempdir().unwrap() };
            fs::create_dir_all(place.at("models/deep")).unwrap();
            fs::create_dir(place.at("elsewhere")).unwrap();
            fs::write(place.at("models/deep/m.onnx"), "model").unwrap();
            fs::write(place.at("elsewhere/secret"), "secret").unwrap();
            place
        }

        fn at(&self, path: &str) -> PathBuf {
            self.folder.path().join(path)
        }

        fn copy(&self, path: &str, roots: &[&str]) -> Result<Fetched, FetchError> {
            let roots: Vec<PathBuf> = roots.iter().map(|root| self.at(root)).collect();
            let to = self.at("copy");
            let _ = fs::remove_file(&to);
            copy_blocking(&self.at(path), &roots, &to, SMALL)
        }
    }

    #[test]
    fn a_regular_file_is_copied_with_and_without_roots() {
        let place = Place::new();
        for roots in [&[][..], &["models"], &["elsewhere", "models"]] {
            let fetched = place.copy("models/deep/m.onnx", roots).unwrap();
            assert_eq!(fs::read(fetched.path).unwrap(), b"model");
        }
        symlink(place.at("models/deep"), place.at("models/link")).unwrap();
        assert!(place.copy("models/link/m.onnx", &["models"]).is_ok(), "a link that stays inside");
    }

    #[test]
    fn no_link_leads_out_of_the_roots() {
        let place = Place::new();
        symlink(place.at("elsewhere/secret"), place.at("models/file-link")).unwrap();
        symlink(place.at("elsewhere"), place.at("models/folder-link")).unwrap();
        symlink("../elsewhere/secret", place.at("models/relative-link")).unwrap();
        for path in ["models/file-link", "models/folder-link/secret", "models/relative-link", "elsewhere/secret"] {
            let error = place.copy(path, &["models"]).unwrap_err();
            assert!(
                matches!(&error, FetchError::NotAllowed { .. }) && error.to_string().contains("outside"),
                "{error}"
            );
        }
        // A folder whose name begins like a root is another folder.
        fs::create_dir(place.at("models-b")).unwrap();
        fs::write(place.at("models-b/m"), "x").unwrap();
        assert!(place.copy("models-b/m", &["models"]).is_err());
    }

    #[test]
    fn folders_pipes_devices_and_missing_files_are_refused_without_hanging() {
        let place = Place::new();
        let made = std::process::Command::new("mkfifo").arg(place.at("pipe")).status();
        assert!(place.copy("models", &[]).unwrap_err().to_string().contains("it is a folder"));
        if made.is_ok_and(|status| status.success()) {
            assert!(place.copy("pipe", &[]).unwrap_err().to_string().contains("no regular file"));
        }
        assert!(place.copy("/dev/zero", &[]).unwrap_err().to_string().contains("no regular file"));
        assert!(matches!(place.copy("models/none", &[]), Err(FetchError::NotFound { .. })));
        assert!(matches!(place.copy("models/deep/m.onnx/x", &[]), Err(FetchError::NotFound { .. })));
        symlink("loop", place.at("loop")).unwrap();
        assert!(matches!(place.copy("loop", &[]), Err(FetchError::NotAllowed { .. })));
    }

    #[test]
    fn a_file_that_is_too_large_is_not_copied() {
        let place = Place::new();
        fs::write(place.at("large"), [0; 11]).unwrap();
        assert!(matches!(place.copy("large", &[]), Err(FetchError::TooLarge { limit: 10, .. })));
        assert!(!place.at("copy").exists());
    }
}
