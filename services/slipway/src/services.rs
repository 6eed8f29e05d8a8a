//! The services by name. The one file that names every service's crate.

use slipway_kernel::Service;
use std::{ffi::OsString, process::ExitCode};

/// Calls `$call` with the crate that `$service` names.
macro_rules! for_service {
    ($service:expr, $call:ident!($($argument:tt)*)) => {
        match $service {
            slipway_kernel::Service::Provisioner => $call!(slipway_provisioner, $($argument)*),
            slipway_kernel::Service::PlatformSelector => $call!(slipway_platform_selector, $($argument)*),
            slipway_kernel::Service::Controller => $call!(slipway_controller, $($argument)*),
            slipway_kernel::Service::Ingress => $call!(slipway_ingress, $($argument)*),
            slipway_kernel::Service::SinkWriter => $call!(slipway_sink_writer, $($argument)*),
            slipway_kernel::Service::Observability => $call!(slipway_observability, $($argument)*),
            slipway_kernel::Service::Security => $call!(slipway_security, $($argument)*),
            slipway_kernel::Service::Validator => $call!(slipway_validator, $($argument)*),
            slipway_kernel::Service::InferenceWorker => $call!(slipway_inference_worker, $($argument)*),
        }
    };
}
pub(crate) use for_service;

/// The whole life of a service's process, with the arguments given to its name: settings, signals, drain, exit code.
pub(crate) fn boot(service: Service, arguments: &[String]) -> ExitCode {
    let program = std::iter::once(format!("slipway service {service}"));
    let arguments = program.chain(arguments.iter().cloned()).map(OsString::from);
    // The worker has flags of its own.
    if service == Service::InferenceWorker {
        return slipway_inference_worker::start(arguments);
    }
    macro_rules! boot_one {
        ($service:ident,) => {
            slipway_runtime::boot_from::<$service::Config, _, _>(service.name(), arguments, $service::run)
        };
    }
    for_service!(service, boot_one!())
}
