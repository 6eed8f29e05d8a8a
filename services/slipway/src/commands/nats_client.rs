//! `slipway nats-client`: the key of a program that asks models over NATS.

use crate::{
    cli::{Format, Global, NatsClientArgs},
    context::Context,
    failure::{Failure, chain},
    output::{self, Mark},
    up,
};
use serde::Serialize;
use slipway_bus::{InferenceClient, keys, topology};
use std::path::PathBuf;

/// What the program needs to know.
#[derive(Debug, Serialize)]
struct Shown {
    client: String,
    seed_file: PathBuf,
    /// None where no mesh runs.
    nats_url: Option<String>,
    inbox_prefix: String,
    subjects: [String; 2],
    /// The object store for what is too large for a message.
    bucket: String,
    /// Whether the broker lets it in already.
    known: bool,
}

pub(crate) async fn run(args: &NatsClientArgs, global: &Global) -> Result<(), Failure> {
    if Context::read(&global.data).is_ok_and(|context| context.remote) {
        return Err(Failure::input("the broker of a cluster learns of a key from its own Secrets, not from this folder")
            .hint("add `<namespace>.<name>` to `natsClients` of the chart; the key is then in the Secret `<release>-client-<namespace>.<name>`"));
    }
    let client = InferenceClient { namespace: global.namespace.clone(), name: args.name.clone() };
    let made = keys::make_client(&global.data.join("keys"), &client);
    let seed_file = made.map_err(|error| Failure::local(chain(&error)))?;
    let known = up::tell_keys(&global.data).await?;
    let shown = Shown {
        client: client.to_string(),
        seed_file,
        nats_url: Context::read(&global.data).ok().map(|context| context.nats_url),
        inbox_prefix: topology::client_inbox(&client),
        subjects: topology::of_namespace(&client.namespace),
        bucket: topology::uploads(&client.namespace),
        known,
    };
    if global.output == Format::Json {
        output::json(&shown);
        return Ok(());
    }
    let sign = if known { Mark::Good } else { Mark::Note }.sign();
    output::line(format!("{sign} {} asks models over NATS", shown.client));
    output::line(format!("  seed     {}", shown.seed_file.display()));
    output::line(format!("  server   {}", shown.nats_url.as_deref().unwrap_or("none runs here")));
    output::line(format!("  inbox    {} (the client's inbox prefix; its answers go nowhere else)", shown.inbox_prefix));
    output::line(format!("  subjects {}", shown.subjects.join(", ")));
    output::line(format!(
        "  objects  {} (for what is too large for a message: its name goes into `ce-dataref`)",
        shown.bucket
    ));
    if !known {
        output::line("  The broker learns of the key when `slipway up` starts it next.");
    }
    Ok(())
}
