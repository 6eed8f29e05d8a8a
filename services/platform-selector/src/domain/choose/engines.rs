//! What the engines of Slipway's own worker can compute, and which of them the target has.

use super::{Question, Weighed};
use crate::domain::artifact::{Model, Pattern};
use slipway_kernel::Veto;
use std::collections::BTreeSet;

/// An engine of Slipway's own worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Engine {
    /// Its name.
    pub name: String,
    /// Whether it is part of every worker, or a library that a machine may have.
    pub built_in: bool,
    /// The operators it has, as models name them: bare in the default domain, else behind their domain and a dot.
    pub operators: BTreeSet<String>,
    /// What it computes wrongly without an error.
    pub wrong: BTreeSet<Pattern>,
}

/// Most operators named in one reason.
const NAMED: usize = 12;

/// Says for each engine that the target has whether it can compute the model. It excludes only when none can: the worker tries them in
/// their order and takes the first that can.
pub(super) fn weigh(question: &Question<'_>, weighed: &mut Weighed) {
    let (there, away): (Vec<&Engine>, Vec<&Engine>) =
        question.engines.iter().partition(|engine| is_there(engine, question));
    let judged: Vec<(&Engine, Vec<Veto>)> =
        there.into_iter().map(|engine| (engine, objections(engine, question.model))).collect();
    let able = judged.iter().any(|(_, objections)| objections.is_empty());
    let note = &question.machine.engine_note;
    let note = if note.is_empty() { "its library was not found" } else { note };
    for (engine, objections) in &judged {
        let name = &engine.name;
        match objections.as_slice() {
            [] => weighed.reasons.push(format!("engine {name}: has every operator of the model")),
            objections => {
                weighed.reasons.extend(objections.iter().map(|veto| format!("engine {name}: {}", veto.reason)));
            }
        }
    }
    for engine in &away {
        weighed.reasons.push(format!("engine {}: not on this target ({note})", engine.name));
    }
    if able {
        return;
    }
    let rescue = away.iter().find(|engine| objections(engine, question.model).is_empty());
    let rescue = rescue.map(|engine| format!("; {} could, and is not on this target ({note})", engine.name));
    let rescue = rescue.unwrap_or_default();
    for (engine, objections) in judged {
        weighed.vetoes.extend(
            objections
                .into_iter()
                .map(|veto| Veto { reason: format!("{} {}{rescue}", engine.name, veto.reason), ..veto }),
        );
    }
}

fn is_there(engine: &Engine, question: &Question<'_>) -> bool {
    engine.built_in || question.machine.engines.contains(&engine.name)
}

/// Why the engine cannot compute the model; empty if it can.
fn objections(engine: &Engine, model: &Model) -> Vec<Veto> {
    let veto = |rule: &str, reason: String| Veto { rule: rule.to_owned(), reason };
    let patterns =
        model.cautions.patterns.intersection(&engine.wrong).map(|pattern| veto("wrong-results", wrong(*pattern)));
    lacking(engine, model).map(|reason| veto("operators", reason)).into_iter().chain(patterns).collect()
}

fn lacking(engine: &Engine, model: &Model) -> Option<String> {
    let missing: Vec<_> =
        model.operators.iter().filter(|counted| !engine.operators.contains(&counted.operator)).collect();
    let named: Vec<String> =
        missing.iter().take(NAMED).map(|counted| format!("{} ({} ×)", counted.operator, counted.count)).collect();
    let named = named.join(", ");
    let more = missing.len().saturating_sub(NAMED);
    let named = if more == 0 { named } else { format!("{named} and {more} more") };
    let has = |name: &str| missing.iter().any(|counted| counted.operator.starts_with(name));
    let advice = match missing.as_slice() {
        [] => return None,
        _ if missing.iter().all(|counted| counted.operator == "ai.onnx.ml.ZipMap") => {
            "what that makes is no tensor to it; export with options={'zipmap': False}"
        }
        _ if has("ai.onnx.ml.") => {
            "for scikit-learn, black_op={'NAME'} in to_onnx may do without; support vector machines cannot be exported otherwise"
        }
        _ => "export with operators of the default set (another opset_version may do), or without custom operators",
    };
    Some(format!("lacks the operators: {named}; {advice}"))
}

fn wrong(pattern: Pattern) -> String {
    let (what, advice) = match pattern {
        Pattern::QuantizedSoftmax => (
            "a quantised Softmax gives 1 for every class",
            "leave Softmax out of the quantisation (op_types_to_quantize, nodes_to_exclude)",
        ),
    };
    format!("would answer wrongly without an error: {what}; {advice}")
}
