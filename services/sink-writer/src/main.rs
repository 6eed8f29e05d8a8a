//! The sink-writer as a process of its own.

fn main() -> std::process::ExitCode {
    slipway_runtime::boot::<slipway_sink_writer::Config, _, _>("sink-writer", slipway_sink_writer::run)
}
