//! One JSON object a line: `time`, `level`, `service`, `target`, `message`, `traceId`, `spanId`, `span`, and the fields of
//! the event and of the spans around it under `fields`, the inner winning.

use super::services::{SpanService, service_of_target, task_service};
use opentelemetry::trace::TraceContextExt as _;
use serde_json::{Map, Value};
use std::fmt;
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    fmt::{
        FmtContext, FormatEvent, FormattedFields,
        format::{JsonFields, Writer},
        time::{FormatTime, SystemTime},
    },
    registry::LookupSpan,
};

/// The format; `process` is the service of events that have no other.
pub(super) struct JsonLines {
    pub(super) process: &'static str,
}

impl<S> FormatEvent<S, JsonFields> for JsonLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn format_event(
        &self,
        ctx: &FmtContext<'_, S, JsonFields>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let metadata = event.metadata();
        let mut time = String::new();
        SystemTime.format_time(&mut Writer::new(&mut time))?;
        let mut line = Map::new();
        let mut put = |key: &str, value: &str| line.insert(key.to_owned(), Value::String(value.to_owned()));
        put("time", &time);
        put("level", metadata.level().as_str());
        let mut fields = Map::new();
        let mut service = service_of_target(metadata.target());
        let current = ctx.event_scope();
        for span in current.into_iter().flat_map(tracing_subscriber::registry::Scope::from_root) {
            let extensions = span.extensions();
            if let Some(formatted) = extensions.get::<FormattedFields<JsonFields>>()
                && let Ok(of_span) = serde_json::from_str::<Map<String, Value>>(formatted)
            {
                fields.extend(of_span);
            }
            if service.is_none() {
                service = extensions.get::<SpanService>().map(|of| of.service);
            }
        }
        put("service", service.or_else(task_service).unwrap_or(self.process));
        put("target", metadata.target());
        event.record(&mut Fields(&mut fields));
        if let Some(Value::String(message)) = fields.remove("message") {
            put("message", &message);
        }
        if let Some(span) = ctx.lookup_current() {
            put("span", span.name());
        }
        let context = opentelemetry::Context::current();
        let trace = context.span();
        if trace.span_context().is_valid() {
            put("traceId", &trace.span_context().trace_id().to_string());
            put("spanId", &trace.span_context().span_id().to_string());
        }
        if !fields.is_empty() {
            line.insert("fields".to_owned(), Value::Object(fields));
        }
        writeln!(writer, "{}", Value::Object(line))
    }
}

struct Fields<'a>(&'a mut Map<String, Value>);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name().to_owned(), Value::String(format!("{value:?}")));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.0.insert(field.name().to_owned(), value.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::services::ServiceLayer;
    use std::{
        io,
        sync::{Arc, Mutex},
    };
    use tracing_subscriber::{fmt::MakeWriter, layer::SubscriberExt as _};

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl MakeWriter<'_> for Lines {
        type Writer = Self;

        fn make_writer(&self) -> Self {
            self.clone()
        }
    }

    #[test]
    fn an_event_is_one_object_with_the_fields_of_its_spans() {
        let lines = Lines::default();
        let log = tracing_subscriber::fmt::layer()
            .with_writer(lines.clone())
            .fmt_fields(JsonFields::new())
            .event_format(JsonLines { process: "up" });
        let subscriber = tracing_subscriber::registry().with(ServiceLayer::default()).with(log);
        tracing::subscriber::with_default(subscriber, || {
            let outer = tracing::info_span!(target: "slipway_ingress::stack", "request", deployment = "default.digits", try_ = 1);
            let _outer = outer.enter();
            let _inner = tracing::info_span!("send", try_ = 2).entered();
            tracing::warn!(late = true, left_ms = 1.5, who = %"a\nb", "refused");
        });
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text.lines().count(), 1, "{text}");
        let line: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["level"], "WARN");
        assert_eq!(line["service"], "ingress", "a span of a shared crate is of its parent's service");
        assert_eq!(line["message"], "refused");
        assert_eq!(line["span"], "send");
        assert_eq!(
            line["fields"],
            serde_json::json!({ "deployment": "default.digits", "try_": 2, "late": true, "left_ms": 1.5, "who": "a\nb" })
        );
    }
}
