import unittest

from harness.profile import COPIES, ENGINE, KERNEL, MEMORY, NATS, OTHER, count
from harness.report import profiles

from .measured import figures, run

# As `perf script` prints it: a thread, then a frame a line, the innermost first.
SCRIPT = """
tokio-rt-worker 
	ffffffff8207c563 tcp_ack ([kernel.kallsyms])
	ffffffff8206e58b tcp_sendmsg ([kernel.kallsyms])
	          fde9d3 __GI___writev (/usr/lib/x86_64-linux-gnu/libc.so.6)

tokio-rt-worker 
	ffffffff82265c84 __schedule ([kernel.kallsyms])
	ffffffff81750f98 do_epoll_wait ([kernel.kallsyms])

tokio-rt-worker 
	ffffffff82265c84 asm_exc_page_fault ([kernel.kallsyms])

engine-0 
	         14dead [unknown] (/x/libonnxruntime.so.1.27.0)

engine-0 
	         14deae _mi_page_malloc_zero (/x/slipway)

engine-0 
	         14deaf __memmove_avx_unaligned_erms (/usr/lib/x86_64-linux-gnu/libc.so.6)

tokio-rt-worker 
	        4c56943 <alloc::vec::Vec<T,A> as core::ops::drop::Drop>::drop (/x/slipway)
	        4c56944 <hyper::proto::h1::role::Server as hyper::proto::h1::Http1Transaction>::parse (/x/slipway)

tokio-rt-worker 
	        4c56945 core::ptr::drop_in_place<slipway_inference_worker::front::Front> (/x/slipway)

tokio-rt-worker 
	        4c56946 aes_gcm_enc_update_vaes_avx2 (/x/slipway)

nats-server 
	        4c56947 runtime.mallocgc (/x/nats-server)

tokio-rt-worker 
	        4c56948 core::str::converts::from_utf8 (/x/slipway)
	              1 [unknown] ([unknown])
"""


class Layers(unittest.TestCase):
    def test_a_sample_counts_for_what_was_at_work(self):
        layers = ["kernel: sending", "kernel: waiting and waking", KERNEL, ENGINE, MEMORY, COPIES, "HTTP and gRPC", "worker", "TLS", NATS, OTHER]
        self.assertEqual(dict(count(SCRIPT)), {layer: 1 for layer in layers})


class Table(unittest.TestCase):
    def test_contenders_stand_beside_each_other_in_microseconds(self):
        text = profiles(figures(
            run("ours", "oip-json", profile={"tokio": 0.02, "worker": 0.01}), run("floor", "oip-json", profile={"tokio": 0.01}),
        ))
        self.assertIn("| µs of CPU a request | ours | floor |", text)
        self.assertIn("| tokio | 20.0 | 10.0 |\n| worker | 10.0 | 0.0 |\n| **all** | **30.0** | **10.0** |", text)


if __name__ == "__main__":
    unittest.main()
