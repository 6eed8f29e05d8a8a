//! Opening the store of an output.

use super::ObjectsSink;
use crate::{
    config::Objects,
    error::SinkError,
    sinks::{open_folder, secret},
};
use object_store::{
    BackoffConfig, ClientOptions, RetryConfig,
    aws::{AmazonS3Builder, S3ConditionalPut},
    path::Path as ObjectPath,
};
use slipway_kernel::spec::{Layout, S3Output};
use std::{sync::Arc, time::Duration};

/// How long one request may take, besides a second for each MiB of an object: ten Mbit/s are enough.
const REQUEST: Duration = Duration::from_secs(10);
/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(5);
/// How long one call is tried again. What is not done by then comes again with its delivery.
const RETRY: Duration = Duration::from_secs(15);
/// Tries after the first. A store that is overloaded asks for patience, one that is away is not helped by more.
const RETRIES: usize = 4;

impl ObjectsSink {
    /// The sink for a `file:///` URI that was checked at the gate. The folder is made if it is not there.
    pub(crate) fn in_folder(uri: &str, layout: Layout, settings: &Objects) -> Result<Self, SinkError> {
        let (store, name) = open_folder(uri)?;
        Ok(Self::new(Arc::new(store), ObjectPath::default(), layout, name, settings.known_rows))
    }

    /// The sink for a bucket. Connects when it is first used.
    pub(crate) fn in_bucket(output: &S3Output, settings: &Objects) -> Result<Self, SinkError> {
        let name = match output.prefix.as_str() {
            "" => format!("s3:{}", output.bucket),
            prefix => format!("s3:{}/{prefix}", output.bucket),
        };
        let builder = match (&output.access_key, &output.secret_key) {
            (Some(access), Some(key)) => {
                AmazonS3Builder::new().with_access_key_id(secret(access)?).with_secret_access_key(secret(key)?)
            }
            // The gate lets both or none through.
            _ => AmazonS3Builder::from_env(),
        };
        let request = REQUEST + Duration::from_secs(settings.max_bytes.0 >> 20);
        let mut builder = builder
            .with_bucket_name(&output.bucket)
            // What the sequences stand on; never left to the environment.
            .with_conditional_put(S3ConditionalPut::ETagMatch)
            .with_client_options(ClientOptions::new().with_timeout(request).with_connect_timeout(CONNECT))
            .with_retry(RetryConfig { backoff: BackoffConfig::default(), max_retries: RETRIES, retry_timeout: RETRY });
        if let Some(region) = &output.region {
            builder = builder.with_region(region);
        }
        if let Some(endpoint) = &output.endpoint {
            builder = builder
                .with_endpoint(endpoint.trim_end_matches('/'))
                .with_allow_http(endpoint.starts_with("http://"))
                .with_virtual_hosted_style_request(false);
        }
        let failed = |source| SinkError::Object { sink: name.clone(), action: "opened", source };
        let store = builder.build().map_err(failed)?;
        let prefix = ObjectPath::parse(&output.prefix).map_err(|error| failed(error.into()))?;
        Ok(Self::new(Arc::new(store), prefix, output.layout(), name, settings.known_rows))
    }
}
