//! The validator as a process of its own.

fn main() -> std::process::ExitCode {
    slipway_runtime::boot::<slipway_validator::Config, _, _>("validator", slipway_validator::run)
}
