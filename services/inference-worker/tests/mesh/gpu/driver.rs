//! Makes `libcuda.so.1` of the forms in `driver.c`.

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

/// What kind of driver.
#[derive(Debug, Clone, Copy)]
pub enum Form {
    /// One GPU, of which things can be asked.
    OneDevice,
    /// No GPU.
    NoDevice,
    /// Ends whoever starts it.
    Aborts,
    /// No driver at all.
    Empty,
}

/// A folder with the library; gone with this.
pub struct Driver(TempDir);

impl Driver {
    /// Compiles it. `cc` is there: parts of this program are made with it.
    pub fn of(form: Form) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mesh/gpu/driver.c");
        let mut compile = Command::new("cc");
        compile.args(["-shared", "-fPIC", "-o"]).arg(folder.path().join("libcuda.so.1")).arg(source);
        match form {
            Form::OneDevice => {}
            Form::NoDevice => drop(compile.arg("-DNO_DEVICE")),
            Form::Aborts => drop(compile.arg("-DABORTS")),
            Form::Empty => drop(compile.arg("-DEMPTY")),
        }
        let output = compile.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        // Under each name that it is looked for.
        std::os::unix::fs::symlink("libcuda.so.1", folder.path().join("libcuda.so")).unwrap();
        Self(folder)
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        self.0.path()
    }
}
