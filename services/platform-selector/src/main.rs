//! The platform-selector as a process of its own.

fn main() -> std::process::ExitCode {
    slipway_runtime::boot::<slipway_platform_selector::Config, _, _>(
        "platform-selector",
        slipway_platform_selector::run,
    )
}
