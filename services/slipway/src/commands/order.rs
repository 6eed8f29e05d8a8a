//! Commands that become facts: one message to the gate, one answer.

use super::{GATE_TIMEOUT, id};
use crate::{
    cli::{AnnulArgs, Format, Global, OrderArgs, RollbackArgs},
    context::session,
    failure::Failure,
    output,
};
use serde_json::{Value, json};
use slipway_bus::{Bus, Command, IntakeAnswer, Verb};
use slipway_kernel::Namespace;

pub(crate) async fn approve(args: OrderArgs, global: &Global) -> Result<(), Failure> {
    order(Verb::Approve, args, global).await
}

pub(crate) async fn decline(args: OrderArgs, global: &Global) -> Result<(), Failure> {
    order(Verb::Decline, args, global).await
}

pub(crate) async fn pause(args: OrderArgs, global: &Global) -> Result<(), Failure> {
    order(Verb::Pause, args, global).await
}

pub(crate) async fn resume(args: OrderArgs, global: &Global) -> Result<(), Failure> {
    order(Verb::Resume, args, global).await
}

pub(crate) async fn revalidate(args: OrderArgs, global: &Global) -> Result<(), Failure> {
    order(Verb::Revalidate, args, global).await
}

pub(crate) async fn retire(args: OrderArgs, global: &Global) -> Result<(), Failure> {
    order(Verb::Retire, args, global).await
}

pub(crate) async fn rollback(args: RollbackArgs, global: &Global) -> Result<(), Failure> {
    let to = args.to;
    let mut data = body(&args.order);
    if let Some(to) = to {
        data["to"] = json!(to);
    }
    once(Verb::Rollback, data, global).await
}

pub(crate) async fn annul(args: AnnulArgs, global: &Global) -> Result<(), Failure> {
    let deployment = id(global, &args.name);
    // People copy subjects from the log; the gate wants keys. The key begins with the deployment.
    let key = args.fact.find(&format!("{deployment}.")).map_or(args.fact.as_str(), |at| &args.fact[at..]);
    let data = json!({ "deployment": args.name, "fact": key, "reason": args.reason });
    once(Verb::Annul, data, global).await
}

async fn order(verb: Verb, args: OrderArgs, global: &Global) -> Result<(), Failure> {
    let data = body(&args);
    once(verb, data, global).await
}

fn body(args: &OrderArgs) -> Value {
    let mut data = json!({ "deployment": args.name, "reason": args.reason });
    if let Some(generation) = args.generation {
        data["generation"] = json!(generation);
    }
    data
}

async fn once(verb: Verb, data: Value, global: &Global) -> Result<(), Failure> {
    let (_, bus) = session(global).await?;
    let answer = send(&bus, &global.namespace, verb, data, None).await?;
    match global.output {
        Format::Json => output::json(&answer),
        Format::Human => output::line(format!("{} {}", output::Mark::Good.sign(), answer.message)),
    }
    Ok(())
}

/// Sends one message to the gate; a refusal becomes a failure that names it.
pub(crate) async fn send(
    bus: &Bus,
    namespace: &Namespace,
    verb: Verb,
    data: Value,
    id: Option<String>,
) -> Result<IntakeAnswer, Failure> {
    let command = Command {
        namespace: namespace.clone(),
        verb,
        source: "slipway-cli".to_owned(),
        id: id.unwrap_or_else(|| uuid::Uuid::now_v7().to_string()),
        data,
    };
    let answer = bus.intake().send(&command, GATE_TIMEOUT).await.map_err(|error| {
        Failure::unreachable(crate::failure::chain(&error))
            .hint(format!("the message is kept if it arrived; the same again: `--id {}`", command.id))
    })?;
    if answer.accepted {
        return Ok(answer);
    }
    let name = answer.error.clone().unwrap_or_else(|| "refused".to_owned());
    let refusals: Vec<String> = answer.refusals.iter().map(|refusal| format!("\n  {refusal}")).collect();
    let failure = Failure::refused(format!("{name}: {}{}", answer.message, refusals.concat()));
    Err(failure.detail(serde_json::to_value(&answer).unwrap_or(Value::Null)))
}
