//! Observability as a process of its own.

fn main() -> std::process::ExitCode {
    slipway_runtime::boot::<slipway_observability::Config, _, _>("observability", slipway_observability::run)
}
