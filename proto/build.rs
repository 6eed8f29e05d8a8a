//! Compiles every `.proto` file below this folder, without `protoc`: protox parses, prost generates, and the descriptor
//! set is embedded for reflection. A new file is picked up by being there.

use std::path::{Path, PathBuf};
use std::{env, fs, io};

use prost::Message as _;

/// Folders of this crate that hold no sources of the wire format.
const NOT_PROTO: [&str; 4] = ["src", "golden", "tests", "target"];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    let out = PathBuf::from(env::var("OUT_DIR")?);

    println!("cargo:rerun-if-changed=build.rs");
    let mut files = Vec::new();
    for entry in fs::read_dir(&root)? {
        let path = entry?.path();
        let skipped = path
            .file_name()
            .and_then(|name| name.to_str())
            .is_none_or(|name| name.starts_with('.') || NOT_PROTO.contains(&name));
        if path.is_dir() && !skipped {
            // Cargo watches a folder with all that is below it, so an added file triggers too.
            println!("cargo:rerun-if-changed={}", path.display());
            find_protos(&path, &mut files)?;
        }
    }
    // Directory order differs from machine to machine; the generated code must not.
    files.sort();

    let mut compiler = protox::Compiler::new([&root])?;
    compiler.include_imports(true).include_source_info(true).open_files(&files)?;
    let set = compiler.file_descriptor_set();

    // Comments become documentation in the generated code; at run time they would only be weight.
    let mut bare = set.clone();
    for file in &mut bare.file {
        file.source_code_info = None;
    }
    fs::write(out.join("descriptors.bin"), bare.encode_to_vec())?;

    tonic_prost_build::configure()
        // Tensors are shared slices of the received frame, not copies of it.
        .bytes(".inference")
        // prost's, with a bound on the number of fields.
        .codec_path("crate::codec::BoundedCodec")
        .include_file("packages.rs")
        .compile_fds(set)?;
    Ok(())
}

fn find_protos(folder: &Path, found: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            find_protos(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "proto") {
            found.push(path);
        }
    }
    Ok(())
}
