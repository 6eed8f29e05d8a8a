//! A model of several files, which came as an archive of its folder. So come those of which one file is not enough.

use super::{
    Invalid, Model,
    broken::unreadable,
    content::{Content, Part},
    saved_model,
};
use slipway_kernel::bundle::{self, BundleError};

/// Reads the model.
///
/// # Errors
/// [`Invalid`], when the archive is broken, or is of no model that has several files.
pub(super) fn read<C: Content + ?Sized>(content: &C) -> Result<Model, Invalid> {
    let files = bundle::read(content.size(), |offset, buffer| content.read_at(offset, buffer));
    let files = files.map_err(|error| match error {
        BundleError::Unreadable(reason) => unreadable(&reason),
        broken => Invalid::new(format!("it is a tar archive: {broken}"), format!("make it anew: {}", bundle::COMMAND)),
    })?;
    let Some(file) = files.iter().find(|file| file.name == saved_model::FILE) else {
        let found = format!("it is a tar archive of {} files, none of which is {}", files.len(), saved_model::FILE);
        return Err(Invalid::new(
            found,
            "an archive is what the folder of a SavedModel comes as; of other formats name the model file itself",
        ));
    };
    saved_model::read_among(&Part { content, offset: file.offset, size: file.size }, &files)
}
