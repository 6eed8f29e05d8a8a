//! The memory of the GPU that serves, as metrics: read anew whenever somebody asks for them, for other processes take of it too.

use std::fmt;
use std::sync::atomic::AtomicU64;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use slipway_gpu::Management;
use slipway_kernel::GpuFacts;

/// One GPU, and whom to ask about it.
pub struct GpuMemory {
    management: Box<dyn Management + Send + Sync>,
    uuid: String,
    /// What it is called, as a label.
    label: [(&'static str, String); 1],
}

impl GpuMemory {
    /// Enters the memory of this GPU.
    pub fn register(registry: &mut Registry, management: Box<dyn Management + Send + Sync>, gpu: &GpuFacts) {
        let label = [("gpu", gpu.name.clone())];
        registry.register_collector(Box::new(Self { management, uuid: gpu.uuid.clone(), label }));
    }
}

impl fmt::Debug for GpuMemory {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("GpuMemory").field("uuid", &self.uuid).finish_non_exhaustive()
    }
}

impl Collector for GpuMemory {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        // A GPU that does not answer has no figures; a series that ends is noticed, and one that stands still is not.
        let Ok(gpu) = self.management.device_of(&self.uuid) else { return Ok(()) };
        for (name, help, bytes) in [
            ("gpu_memory_total", "Memory of the GPU that serves the model", gpu.memory_bytes),
            ("gpu_memory_free", "Memory of that GPU that nobody uses", gpu.memory_free_bytes),
        ] {
            let gauge = Gauge::<u64, AtomicU64>::default();
            gauge.set(bytes);
            let mut metric = encoder.encode_descriptor(name, help, Some(&Unit::Bytes), MetricType::Gauge)?;
            gauge.encode(metric.encode_family(&self.label)?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::Ordering::Relaxed;

    /// A GPU whose free memory a test sets; none of any other identity.
    struct MadeUp(Arc<AtomicU64>);

    impl Management for MadeUp {
        fn driver(&self) -> Result<String, String> {
            Ok("NVIDIA driver 580.1".to_owned())
        }
        fn count(&self) -> Result<u32, String> {
            Ok(1)
        }
        fn device(&self, _index: u32) -> Result<GpuFacts, String> {
            self.device_of("GPU-1")
        }
        fn device_of(&self, uuid: &str) -> Result<GpuFacts, String> {
            let memory_free_bytes = self.0.load(Relaxed);
            match uuid {
                "GPU-1" => Ok(GpuFacts { memory_bytes: 100, memory_free_bytes, ..GpuFacts::default() }),
                _ => Err("there is no such GPU".to_owned()),
            }
        }
    }

    #[test]
    fn the_memory_is_what_it_is_when_somebody_asks() {
        let free = Arc::new(AtomicU64::new(60));
        let gpu = |uuid: &str| GpuFacts { name: "L4".to_owned(), uuid: uuid.to_owned(), ..GpuFacts::default() };
        let told = |registry: &Registry| {
            let mut text = String::new();
            prometheus_client::encoding::text::encode(&mut text, registry).unwrap();
            text
        };
        let mut registry = Registry::default();
        GpuMemory::register(&mut registry, Box::new(MadeUp(Arc::clone(&free))), &gpu("GPU-1"));
        let text = told(&registry);
        assert!(text.contains("gpu_memory_total_bytes{gpu=\"L4\"} 100"), "{text}");
        assert!(text.contains("gpu_memory_free_bytes{gpu=\"L4\"} 60"), "{text}");
        free.store(7, Relaxed);
        assert!(told(&registry).contains("gpu_memory_free_bytes{gpu=\"L4\"} 7"));

        let mut registry = Registry::default();
        GpuMemory::register(&mut registry, Box::new(MadeUp(free)), &gpu("GPU-2"));
        assert!(!told(&registry).contains("gpu_memory"));
    }
}
