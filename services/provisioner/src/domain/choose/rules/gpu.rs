//! A GPU is required: where there is none, or none large enough, or too few, the model cannot run.

use super::{Change, Demands, Offer, Veto, fewer, veto as excluded};
use crate::domain::choose::offer::Gpus;
use slipway_kernel::{ByteSize, GpuFacts, spec::Gpu};

/// Excludes what has no GPU for every worker.
#[must_use]
pub fn veto(offer: &Offer, demands: &Demands) -> Option<Veto> {
    if demands.gpu != Gpu::Required {
        return None;
    }
    let memory = demands.gpu_memory;
    let reason = match &offer.gpus {
        Gpus::None(why) => format!("a GPU is required and there is none: {why}"),
        Gpus::Rented(largest) if memory.0 > *largest => {
            format!("a GPU with {memory} is required; the largest to be had has {}", ByteSize(*largest))
        }
        Gpus::Rented(_) => return None,
        Gpus::These(gpus) => {
            // Not to know how large one is, is not to know that it is too small.
            let fits = |gpu: &&GpuFacts| gpu.memory_bytes == 0 || gpu.memory_bytes >= memory.0;
            let fitting = gpus.iter().filter(fits).count();
            let wanted = demands.gpus(demands.workers);
            if u32::try_from(fitting).unwrap_or(u32::MAX) >= wanted {
                return None;
            }
            let there: Vec<String> = gpus.iter().map(described).collect();
            format!("{wanted} GPUs with {memory} are required; there are: {}", there.join(", "))
        }
    };
    Some(excluded("gpu", reason))
}

fn described(gpu: &GpuFacts) -> String {
    match gpu.memory_bytes {
        0 => gpu.name.clone(),
        bytes => format!("{} with {}", gpu.name, ByteSize(bytes)),
    }
}

/// Smaller ones, fewer workers, or none.
pub fn relax(offer: &Offer, demands: &mut Demands) -> Option<Change> {
    let mut sizes: Vec<u64> = match &offer.gpus {
        Gpus::None(_) => Vec::new(),
        Gpus::Rented(largest) => vec![*largest; demands.workers as usize],
        Gpus::These(gpus) => gpus.iter().map(|gpu| gpu.memory_bytes).collect(),
    };
    sizes.sort_unstable_by(|a, b| b.cmp(a));
    let Some(smallest) = sizes.get((demands.workers as usize).saturating_sub(1)) else {
        if sizes.is_empty() {
            demands.gpu = Gpu::Optional;
            return Some(Change::new("spec.infrastructure.gpu", "required", "optional"));
        }
        return fewer(demands, u32::try_from(sizes.len()).unwrap_or(u32::MAX));
    };
    let from = std::mem::replace(&mut demands.gpu_memory, ByteSize(*smallest));
    Some(Change::new("spec.resources.gpuMemory", from, demands.gpu_memory))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        choose::candidates::{gcp, kubernetes, local},
        demands::tests::modest,
        surroundings::{ClusterGpus, Surroundings, tests::small_machine},
    };

    #[test]
    fn gpus_are_counted_by_those_that_are_large_enough() {
        let mut here = small_machine();
        let demands = Demands { gpu: Gpu::Required, gpu_memory: ByteSize(20 << 30), workers: 2, ..modest() };
        let reason = |here: &Surroundings| veto(&local::offer(&demands, here), &demands).map(|veto| veto.reason);
        assert_eq!(reason(&here).unwrap(), "a GPU is required and there is none: no NVIDIA driver");
        let gpu =
            |gibibytes: u64| GpuFacts { name: "A100".into(), memory_bytes: gibibytes << 30, ..GpuFacts::default() };
        here.machine.gpus = vec![gpu(40), gpu(16)];
        assert_eq!(reason(&here).unwrap(), "2 GPUs with 20Gi are required; there are: A100 with 40Gi, A100 with 16Gi");
        here.machine.gpus.push(gpu(24));
        assert_eq!(reason(&here), None);
    }

    #[test]
    fn the_gpus_of_a_cluster_are_those_that_were_seen_and_one_of_unknown_size_may_do() {
        let mut here = small_machine();
        let demands = Demands { gpu: Gpu::Required, gpu_memory: ByteSize(20 << 30), ..modest() };
        let reason = |here: &Surroundings| veto(&kubernetes::offer(&demands, here), &demands).map(|veto| veto.reason);
        assert!(reason(&here).unwrap().contains("no nodes with GPUs are configured"));
        here.kubernetes_gpus = ClusterGpus::Seen(Vec::new());
        assert!(reason(&here).unwrap().contains("no node that workers may be on has a whole one"));
        let unknown = GpuFacts { name: "NVIDIA GPU".into(), ..GpuFacts::default() };
        let small = GpuFacts { memory_bytes: 16 << 30, ..unknown.clone() };
        here.kubernetes_gpus = ClusterGpus::Seen(vec![small]);
        assert!(reason(&here).unwrap().contains("there are: NVIDIA GPU with 16Gi"));
        here.kubernetes_gpus = ClusterGpus::Seen(vec![unknown]);
        assert_eq!(reason(&here), None);
    }

    #[test]
    fn no_gpu_can_be_rented_beyond_the_largest() {
        let demands = Demands { gpu: Gpu::Required, gpu_memory: ByteSize(1 << 40), ..modest() };
        let offer = gcp::offer(&demands, &small_machine());
        assert!(veto(&offer, &demands).unwrap().reason.contains("a GPU with 1Ti is required"));
    }

    #[test]
    fn an_optional_gpu_excludes_nothing() {
        let demands = Demands { gpu: Gpu::Optional, ..modest() };
        assert_eq!(veto(&local::offer(&demands, &small_machine()), &demands), None);
    }
}
