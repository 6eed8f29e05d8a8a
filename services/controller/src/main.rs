//! The controller as a process of its own.

fn main() -> std::process::ExitCode {
    slipway_runtime::boot::<slipway_controller::Config, _, _>("controller", slipway_controller::run)
}
