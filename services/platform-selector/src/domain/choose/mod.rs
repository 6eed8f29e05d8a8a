//! What serves the model: every platform says whether it can, here, and how well; the best that can is chosen.
//!
//! The score of a platform is `0.5 × fit + 0.3 × effort + 0.2 × features`, each from 0 to 1: how native the format is to it,
//! how little work it makes here, what it adds (batching, several protocols, GPU sharing). The weights are judgement.
//! Equal scores stay in the order of [`platforms::ALL`].

mod engines;
pub mod platforms;

pub use engines::Engine;

use super::artifact::Model;
use slipway_kernel::{
    Finding, FindingKind, MachineFacts, PlatformCandidate, Veto,
    spec::{Platform, Spec},
};

/// All that the choice depends on.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// What is wanted.
    pub spec: &'a Spec,
    /// The target that is ready (`local`…).
    pub target: &'a str,
    /// What it has.
    pub machine: &'a MachineFacts,
    /// What was read of the model.
    pub model: &'a Model,
    /// Every engine that Slipway's own worker may have, in the order in which it tries them. [`MachineFacts::engines`] says which of them
    /// the target has.
    pub engines: &'a [Engine],
    /// The images of model servers that workers may have beside them.
    pub images: &'a Images,
}

/// The images of the model servers that a worker may have beside it on Kubernetes. Which one is trusted, and pulled from where, its operator says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Images {
    /// NVIDIA Triton Inference Server.
    pub triton: Option<String>,
    /// TensorFlow Serving.
    pub tensorflow_serving: Option<String>,
}

impl Images {
    /// That of a platform; that of a container of one's own stands in the spec.
    #[must_use]
    pub fn of<'a>(&'a self, platform: Platform, spec: &'a Spec) -> Option<&'a str> {
        match platform {
            Platform::Triton => self.triton.as_deref(),
            Platform::TensorflowServing => self.tensorflow_serving.as_deref(),
            Platform::Container => spec.serving.container.as_ref().map(|container| container.image.as_str()),
            _ => None,
        }
    }
}

/// What was decided.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    /// The platform, if one can serve.
    pub platform: Option<Chosen>,
    /// Every candidate, best first.
    pub candidates: Vec<PlatformCandidate>,
}

/// The platform that serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// Its name.
    pub name: String,
    /// The image of the model server beside the worker; empty where the worker computes.
    pub image: String,
    /// One sentence.
    pub reason: String,
}

/// Why a platform cannot, and how well it could.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Weighed {
    /// Why it cannot; empty = it can.
    pub vetoes: Vec<Veto>,
    /// How native the format is to it.
    pub fit: f64,
    /// How little work it makes.
    pub effort: f64,
    /// What it adds.
    pub features: f64,
    /// What the score is made of.
    pub reasons: Vec<String>,
}

impl Weighed {
    fn exclude(&mut self, rule: &str, reason: impl Into<String>) {
        self.vetoes.push(Veto { rule: rule.to_owned(), reason: reason.into() });
    }

    fn score(&self) -> f64 {
        let score = 0.5 * self.fit + 0.3 * self.effort + 0.2 * self.features;
        if self.vetoes.is_empty() { (score * 1_000.0).round() / 1_000.0 } else { 0.0 }
    }
}

/// The rule by which a spec's own choice excludes all others; it is no hard fact about a platform.
const PLATFORM: &str = "platform";

/// Chooses. The same question has the same answer.
#[must_use]
pub fn choose(question: &Question<'_>) -> Choice {
    let asked = question.spec.serving.platform;
    let mut candidates: Vec<PlatformCandidate> = platforms::ALL
        .iter()
        .map(|(platform, weigh)| {
            let mut weighed = weigh(question);
            if asked != Platform::Auto && asked != *platform {
                let reason = format!("the spec asks for `{}` (spec.serving.platform)", platforms::name(asked));
                weighed.exclude(PLATFORM, reason);
            }
            PlatformCandidate {
                platform: platforms::name(*platform).to_owned(),
                score: weighed.score(),
                vetoes: weighed.vetoes,
                reasons: weighed.reasons,
            }
        })
        .collect();
    // A stable sort: equal ones stay in the order of the platforms.
    candidates.sort_by(|a, b| (!a.vetoes.is_empty()).cmp(&!b.vetoes.is_empty()).then(b.score.total_cmp(&a.score)));
    let best = candidates.first().filter(|best| best.vetoes.is_empty());
    let platform = best.map(|best| Chosen {
        name: best.platform.clone(),
        image: platforms::of_name(&best.platform)
            .and_then(|platform| question.images.of(platform, question.spec))
            .unwrap_or("")
            .to_owned(),
        reason: why(best, &candidates, asked),
    });
    Choice { platform, candidates }
}

fn why(best: &PlatformCandidate, candidates: &[PlatformCandidate], asked: Platform) -> String {
    let able = candidates.iter().filter(|candidate| candidate.vetoes.is_empty()).count();
    let score = best.score;
    if asked != Platform::Auto {
        format!("the spec asks for {}, and it can serve this model here", best.platform)
    } else if able == 1 {
        format!("{} is the only platform that can serve this model here (score {score:.3})", best.platform)
    } else {
        format!(
            "{} has the highest score of the {able} platforms that can serve this model here ({score:.3})",
            best.platform
        )
    }
}

/// Why nothing can serve, as findings: the reasons of the platform that was asked for, or of Slipway's own, which is what
/// most people can do something about.
#[must_use]
pub fn findings(choice: &Choice, spec: &Spec) -> Vec<Finding> {
    let asked = match spec.serving.platform {
        Platform::Auto => Platform::Slipway,
        asked => asked,
    };
    let name = platforms::name(asked);
    let of_interest = choice.candidates.iter().find(|candidate| candidate.platform == name);
    let vetoes = of_interest.map_or(&[][..], |candidate| &candidate.vetoes);
    let finding = |veto: &Veto| {
        let message = format!("{name} cannot serve this model here ({}): {}", veto.rule, veto.reason);
        Finding::deterministic(FindingKind::PlatformUnsuitable, message)
            .with_evidence(format!("candidate {name}, rule {}", veto.rule))
    };
    vetoes.iter().map(finding).collect()
}

#[cfg(test)]
mod tests;
