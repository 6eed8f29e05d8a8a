//! The trace context on its way between processes: W3C `traceparent`, in intake messages, facts and requests.

mod requests;

pub(crate) use requests::record_requests;
pub use requests::{is_recorded, of_request};

use opentelemetry::{
    Context,
    propagation::{Extractor, TextMapPropagator as _},
    trace::{SpanContext, TraceContextExt as _},
};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

const TRACEPARENT: &str = "traceparent";
/// Version, trace id, span id and flags with their hyphens; later versions may only append.
const TRACEPARENT_BYTES: usize = 55;

/// The `traceparent` of the span that runs here. `None` outside any traced span.
#[must_use]
pub fn current_traceparent() -> Option<String> {
    traceparent_of(&Span::current())
}

/// The `traceparent` of a span, for what it causes elsewhere. It fixes the span's own parent.
#[must_use]
pub fn traceparent_of(span: &Span) -> Option<String> {
    with_valid(span, |context| {
        format!("00-{}-{}-{:02x}", context.trace_id(), context.span_id(), context.trace_flags().to_u8() & 1)
    })
}

/// The trace id in a checked `traceparent`: 32 hexadecimal digits.
#[must_use]
pub fn id_of(traceparent: &str) -> Option<&str> {
    traceparent.split('-').nth(1)
}

/// Makes a span a child of what a `traceparent` names. Call it before the span is entered or asked for its own context.
/// Whether it was done: a text that is no `traceparent` changes nothing, and so does a span that nobody traces.
pub fn parent_from(span: &Span, traceparent: &str) -> bool {
    // The SDK's reader also takes flags of one digit; a text cut short is not to be trusted with the rest either.
    if traceparent.len() < TRACEPARENT_BYTES {
        return false;
    }
    let context = TraceContextPropagator::new().extract_with_context(&Context::new(), &One(traceparent));
    context.span().span_context().is_valid() && span.set_parent(context).is_ok()
}

/// Whether a `traceparent` says that its trace is recorded.
fn is_sampled(traceparent: &str) -> bool {
    let digits = |flags: &&str| flags.bytes().all(|byte| byte.is_ascii_hexdigit());
    let flags = traceparent.get(TRACEPARENT_BYTES - 2..TRACEPARENT_BYTES).filter(digits);
    flags.and_then(|flags| u8::from_str_radix(flags, 16).ok()).is_some_and(|flags| flags & 1 == 1)
}

fn with_valid<R>(span: &Span, read: impl FnOnce(&SpanContext) -> R) -> Option<R> {
    let context = span.context();
    let span = context.span();
    span.span_context().is_valid().then(|| read(span.span_context()))
}

/// A carrier of one header.
struct One<'a>(&'a str);

impl Extractor for One<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        (key == TRACEPARENT).then_some(self.0)
    }

    fn keys(&self) -> Vec<&str> {
        vec![TRACEPARENT]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry::trace::TracerProvider as _;
    use opentelemetry_sdk::trace::SdkTracerProvider;
    use tracing::info_span;
    use tracing_subscriber::layer::SubscriberExt as _;

    const GIVEN: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn traced<R>(run: impl FnOnce() -> R) -> R {
        let provider = SdkTracerProvider::builder().build();
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), run)
    }

    #[test]
    fn a_trace_goes_from_one_process_to_the_next_and_on() {
        traced(|| {
            let span = info_span!("duty");
            assert!(parent_from(&span, GIVEN));
            let _entered = span.enter();
            let mine = current_traceparent().unwrap();
            assert_eq!(mine[..36], GIVEN[..36], "the trace is the caller's");
            assert_ne!(mine[36..52], GIVEN[36..52], "the span is not");
            assert_eq!(id_of(&mine), Some("0af7651916cd43dd8448eb211c80319c"));
            let inner = info_span!("inner");
            assert_eq!(traceparent_of(&inner).unwrap()[..36], GIVEN[..36]);
            let next = info_span!(parent: None, "next");
            assert!(parent_from(&next, &mine));
            assert_eq!(traceparent_of(&next).unwrap()[3..35], GIVEN[3..35]);
        });
    }

    #[test]
    fn a_trace_is_recorded_if_the_last_bit_of_its_flags_says_so() {
        let with = |flags: &str| is_sampled(&GIVEN.replace("-01", flags));
        assert_eq!(
            ["-01", "-03", "-ff", "-00", "-02", "-0", "-+1", "-zz", ""].map(with),
            [true, true, true, false, false, false, false, false, false]
        );
    }

    #[test]
    fn what_is_no_traceparent_changes_nothing() {
        traced(|| {
            let zero = "00-00000000000000000000000000000000-b7ad6b7169203331-01";
            for text in ["", "garbage", zero, &GIVEN[..54], "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"] {
                let span = info_span!("duty");
                assert!(!parent_from(&span, text), "{text}");
                assert!(traceparent_of(&span).is_some(), "a trace of its own");
            }
        });
    }

    #[test]
    fn a_span_that_has_begun_keeps_its_parent() {
        traced(|| {
            let span = info_span!("duty");
            span.in_scope(|| ());
            assert!(!parent_from(&span, GIVEN));
        });
    }

    #[test]
    fn without_a_trace_there_is_no_traceparent() {
        assert_eq!(current_traceparent(), None);
        assert_eq!(traced(current_traceparent), None);
    }
}
