//! Which service a span belongs to.
//!
//! In a process of its own that is no question. In `slipway up` it is: nine services share one subscriber. A span is of
//! the service whose crate it was made in; made in a shared crate (the bus, this one), of its parent's service; without a
//! parent, of the service whose supervised task runs; and else of the process.

use slipway_kernel::Service;
use std::{future::Future, sync::OnceLock};
use tracing::{
    Dispatch, Metadata, Subscriber,
    dispatcher::WeakDispatch,
    span::{Attributes, Id},
};
use tracing_subscriber::{Layer, layer::Context, registry::LookupSpan};

/// The attribute that tells a span's service to the exporter.
pub(super) const SERVICE_KEY: &str = "slipway.service";

tokio::task_local! {
    static TASK_SERVICE: &'static str;
}

/// Runs a future as part of a service.
pub(crate) fn with_service<F: Future>(service: &'static str, future: F) -> impl Future<Output = F::Output> {
    TASK_SERVICE.scope(service, future)
}

/// The service whose supervised task runs here.
pub(super) fn task_service() -> Option<&'static str> {
    TASK_SERVICE.try_with(|service| *service).ok()
}

/// `slipway_sink_writer::database` is of `sink-writer`.
pub(super) fn service_of_target(target: &str) -> Option<&'static str> {
    let name = target.split("::").next()?.strip_prefix("slipway_")?;
    let same = |service: &Service| {
        let spelt = service.name().bytes().map(|byte| if byte == b'-' { b'_' } else { byte });
        spelt.eq(name.bytes())
    };
    Service::ALL.iter().find(|service| same(service)).map(|service| service.name())
}

/// The service of a span, kept beside it.
pub(super) struct SpanService {
    pub(super) service: &'static str,
    /// Whether the span's trace context has been told.
    told: bool,
}

/// Finds out each span's service and writes it into the span's trace context. Must stand outside the layer that makes those.
#[derive(Default)]
pub(super) struct ServiceLayer {
    dispatch: OnceLock<WeakDispatch>,
}

impl ServiceLayer {
    fn service_of<S>(metadata: &Metadata<'_>, attributes: &Attributes<'_>, ctx: &Context<'_, S>) -> Option<&'static str>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let of_parent = || {
            let parent = match attributes.parent() {
                Some(parent) => ctx.span(parent),
                None if attributes.is_contextual() => ctx.lookup_current(),
                None => None,
            };
            parent.and_then(|span| span.extensions().get::<SpanService>().map(|of| of.service))
        };
        service_of_target(metadata.target()).or_else(of_parent).or_else(task_service)
    }
}

impl<S> Layer<S> for ServiceLayer
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn on_register_dispatch(&self, subscriber: &Dispatch) {
        // Set once: a layer belongs to one subscriber.
        let _ = self.dispatch.set(subscriber.downgrade());
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, ctx: Context<'_, S>) {
        let service = Self::service_of(attributes.metadata(), attributes, &ctx);
        if let (Some(service), Some(span)) = (service, ctx.span(id)) {
            span.extensions_mut().insert(SpanService { service, told: false });
        }
    }

    // Not in `on_new_span`: asking for the trace context fixes the parent, and until the span is entered its maker may
    // still set one from a message or a request.
    fn on_enter(&self, id: &Id, ctx: Context<'_, S>) {
        let service = ctx.span(id).and_then(|span| {
            let mut extensions = span.extensions_mut();
            let of = extensions.get_mut::<SpanService>()?;
            (!std::mem::replace(&mut of.told, true)).then_some(of.service)
        });
        let (Some(service), Some(dispatch)) = (service, self.dispatch.get().and_then(WeakDispatch::upgrade)) else {
            return;
        };
        if let Some(context) = tracing_opentelemetry::get_otel_context(id, &dispatch) {
            use opentelemetry::trace::TraceContextExt as _;
            context.span().set_attribute(opentelemetry::KeyValue::new(SERVICE_KEY, service));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crate_of_a_service_names_it() {
        for (target, service) in [
            ("slipway_ingress::stack", Some("ingress")),
            ("slipway_platform_selector", Some("platform-selector")),
            ("slipway_inference_worker::engine::tract", Some("inference-worker")),
            ("slipway_bus::log", None),
            ("slipway_runtime", None),
            ("slipway", None),
            ("hyper::proto", None),
        ] {
            assert_eq!(service_of_target(target), service, "{target}");
        }
    }

    #[tokio::test]
    async fn a_supervised_task_knows_its_service() {
        assert_eq!(task_service(), None);
        assert_eq!(with_service("security", async { task_service() }).await, Some("security"));
    }
}
