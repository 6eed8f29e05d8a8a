//! Security as a process of its own.

fn main() -> std::process::ExitCode {
    slipway_runtime::boot::<slipway_security::Config, _, _>("security", slipway_security::run)
}
