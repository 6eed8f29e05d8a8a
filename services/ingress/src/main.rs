//! Ingress as a process of its own.

fn main() -> std::process::ExitCode {
    slipway_runtime::boot::<slipway_ingress::Config, _, _>("ingress", slipway_ingress::run)
}
