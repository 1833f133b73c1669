//! Spans with OpenTelemetry, for a collector that accepts OTLP over HTTP.

use std::{
    env,
    pin::Pin,
    sync::{Arc, OnceLock},
    time::Duration,
};

use opentelemetry::{
    Context, KeyValue,
    trace::{
        Span as _, SpanContext, SpanId, SpanKind, TraceContextExt, TraceFlags, TraceId, TraceState,
        Tracer, TracerProvider,
    },
};
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response, hyper::HyperClient};
use opentelemetry_otlp::{SpanExporter, WithHttpConfig};
use opentelemetry_sdk::{
    Resource,
    trace::{SdkTracer, SdkTracerProvider},
};
use tokio::runtime::Handle;

use super::{ExportError, Parent};

/// Timeout of the export of one batch.
const PATIENCE: Duration = Duration::from_secs(5);

static TRACER: OnceLock<SdkTracer> = OnceLock::new();

/// The span of a request, from its delivery until its reply.
#[derive(Debug)]
pub struct Span(Box<opentelemetry_sdk::trace::Span>);

impl Span {
    /// Starts the span of a request of this kind, if spans are exported and the trace is sampled.
    pub fn begin(kind: &'static str, partition: u16, parent: Parent<'_>) -> Option<Self> {
        let tracer = TRACER.get()?;
        if parent.flags & 1 == 0 {
            return None;
        }
        let context = SpanContext::new(
            TraceId::from(parent.trace),
            SpanId::from(parent.span),
            TraceFlags::SAMPLED,
            true,
            parent.state.parse::<TraceState>().unwrap_or_default(),
        );
        let span = tracer
            .span_builder(kind)
            .with_kind(SpanKind::Server)
            .with_attributes([
                KeyValue::new("messaging.system", "rabbitmq"),
                KeyValue::new("streamwatch.partition", i64::from(partition)),
            ])
            .start_with_context(tracer, &Context::new().with_remote_span_context(context));
        Some(Self(Box::new(span)))
    }

    /// Its id.
    pub fn id(&self) -> u64 {
        u64::from_be_bytes(self.0.span_context().span_id().to_bytes())
    }

    /// Ends it.
    pub fn end(mut self, outcome: &'static str) {
        self.0
            .set_attribute(KeyValue::new("streamwatch.outcome", outcome));
        self.0.end();
    }
}

/// The exporter of spans.
#[derive(Debug)]
pub struct Exporting(SdkTracerProvider);

impl Exporting {
    /// Exports pending spans. Blocks for a few seconds at most.
    pub fn finish(self) {
        if let Err(error) = self.0.shutdown_with_timeout(PATIENCE) {
            tracing::warn!(%error, "the last spans were not exported");
        }
    }
}

/// Starts the export of spans if the environment has a collector:
/// `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` or `OTEL_EXPORTER_OTLP_ENDPOINT`, and neither
/// `OTEL_SDK_DISABLED=true` nor `OTEL_TRACES_EXPORTER=none`. Call it within tokio.
///
/// # Errors
/// If the collector's address is not supported.
pub fn export() -> Result<Option<Exporting>, ExportError> {
    let variable = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
    let endpoint = variable("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
        .or_else(|| variable("OTEL_EXPORTER_OTLP_ENDPOINT"));
    let disabled = variable("OTEL_SDK_DISABLED").is_some_and(|v| v.eq_ignore_ascii_case("true"));
    let none = variable("OTEL_TRACES_EXPORTER").is_some_and(|v| v == "none");
    let Some(endpoint) = endpoint.filter(|_| !disabled && !none) else {
        return Ok(None);
    };
    if !endpoint.starts_with("http://") {
        let why =
            "the collector's address must begin with http://: use a collector on this machine";
        return Err(ExportError(why.to_owned()));
    }
    let client = OnRuntime {
        client: Arc::new(HyperClient::with_default_connector(PATIENCE, None)),
        runtime: Handle::current(),
    };
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(client)
        .build()
        .map_err(|error| ExportError(error.to_string()))?;
    let mut resource = Resource::builder();
    if variable("OTEL_SERVICE_NAME").is_none() {
        resource = resource.with_service_name("streamwatch");
    }
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_resource(resource.build())
        .build();
    let _ = TRACER.set(provider.tracer("streamwatch"));
    Ok(Some(Exporting(provider)))
}

/// OpenTelemetry exports batches on a thread of its own, without a tokio runtime.
#[derive(Clone, Debug)]
struct OnRuntime {
    client: Arc<HyperClient>,
    runtime: Handle,
}

type Answered<'a> = Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'a>>;

impl HttpClient for OnRuntime {
    fn send_bytes<'a, 'b>(&'a self, request: Request<Bytes>) -> Answered<'b>
    where
        'a: 'b,
        Self: 'b,
    {
        let client = Arc::clone(&self.client);
        let sent = self
            .runtime
            .spawn(async move { client.send_bytes(request).await });
        Box::pin(async move { sent.await? })
    }
}
