//! `slipway dead`: messages that could not be handled.

use crate::{
    cli::{Format, Global},
    context::session,
    failure::{Failure, chain},
    logline::time,
    output::{self, Mark},
};

pub(crate) async fn list(global: &Global) -> Result<(), Failure> {
    let (_, bus) = session(global).await?;
    let letters = bus.dead().list().await.map_err(|error| Failure::unreachable(chain(&error)))?;
    if global.output == Format::Json {
        output::json(&letters);
        return Ok(());
    }
    if letters.is_empty() {
        output::line("there are no dead letters");
        return Ok(());
    }
    let mut table = output::table(["id", "when", "service", "subject", "reason"]);
    for letter in letters {
        table.add_row([
            letter.id.to_string(),
            time(letter.at),
            letter.service.clone(),
            letter.subject.clone(),
            letter.reason.clone(),
        ]);
    }
    output::line(table);
    Ok(())
}

pub(crate) async fn show(id: u64, global: &Global) -> Result<(), Failure> {
    let (_, bus) = session(global).await?;
    let found = bus.dead().show(id).await.map_err(|error| Failure::unreachable(chain(&error)))?;
    let letter = found.ok_or_else(|| unknown(id))?;
    let payload = String::from_utf8_lossy(&letter.payload).into_owned();
    match global.output {
        Format::Json => output::json(&serde_json::json!({
            "id": id, "service": letter.service.clone(), "subject": letter.subject, "reason": letter.reason,
            "headers": letter.headers, "payload": payload,
        })),
        Format::Human => {
            output::line(output::heading(&letter.subject));
            output::line(format!("reason: {}", letter.reason));
            for (name, value) in &letter.headers {
                output::line(format!("{name}: {value}"));
            }
            output::line(format!("\n{payload}"));
        }
    }
    Ok(())
}

fn unknown(id: u64) -> Failure {
    Failure::input(format!("there is no dead letter {id}")).hint("`slipway dead list` lists them")
}

pub(crate) async fn redrive(id: u64, global: &Global) -> Result<(), Failure> {
    let (_, bus) = session(global).await?;
    if !bus.dead().redrive(id).await.map_err(|error| Failure::refused(chain(&error)))? {
        return Err(unknown(id));
    }
    match global.output {
        Format::Json => output::json(&serde_json::json!({ "redriven": id })),
        Format::Human => output::line(format!("{} letter {id} was sent again", Mark::Good.sign())),
    }
    Ok(())
}
