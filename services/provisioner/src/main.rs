//! The provisioner as a process of its own.

fn main() -> std::process::ExitCode {
    slipway_runtime::boot::<slipway_provisioner::Config, _, _>("provisioner", slipway_provisioner::run)
}
