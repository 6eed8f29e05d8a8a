//! The batcher on real threads, with a model that does as it is told.

use std::collections::HashSet;
use std::sync::{Condvar, Mutex};

use super::*;
use crate::engine::{Batching, stack_rows};
use crate::signature::{Signature, TensorSpec};
use slipway_proto::oip::DataType;

mod brief;

/// Doubles its input. A negative value panics, infinity is an error, and while the gate is shut every run waits.
#[derive(Debug)]
struct Doubler {
    signature: Signature,
    batching: Batching,
    runs: Mutex<Vec<usize>>,
    /// The values of all runs, in the order in which they were run.
    ran: Mutex<Vec<f32>>,
    gate: Mutex<bool>,
    opened: Condvar,
    /// Runs that are under way, and the most that ever were.
    at_a_time: Mutex<(usize, usize)>,
}

impl Doubler {
    fn new() -> Arc<Self> {
        let spec = |name: &str| TensorSpec { name: name.into(), data_type: DataType::Fp32, shape: vec![-1, -1] };
        Arc::new(Self {
            signature: Signature::new(vec![spec("x")], vec![spec("y")]),
            batching: Batching::Rows,
            runs: Mutex::default(),
            ran: Mutex::default(),
            gate: Mutex::new(true),
            opened: Condvar::new(),
            at_a_time: Mutex::default(),
        })
    }

    fn shut(&self) {
        *self.gate.lock().unwrap() = false;
    }

    fn open(&self) {
        *self.gate.lock().unwrap() = true;
        self.opened.notify_all();
    }

    /// Rows of each run, in order.
    fn runs(&self) -> Vec<usize> {
        self.runs.lock().unwrap().clone()
    }
}

impl Model for Doubler {
    fn platform(&self) -> &'static str {
        "double"
    }
    fn signature(&self) -> &Signature {
        &self.signature
    }
    fn batching(&self) -> &Batching {
        &self.batching
    }
    fn plan(&self) -> String {
        String::new()
    }
    fn run(&self, requests: &[&[Tensor]]) -> Result<Vec<Tensor>, EngineError> {
        {
            let (now, most) = &mut *self.at_a_time.lock().unwrap();
            *now += 1;
            *most = (*most).max(*now);
        }
        let parts: Vec<&Tensor> = requests.iter().map(|inputs| &inputs[0]).collect();
        let inputs = [stack_rows(&parts)?];
        self.runs.lock().unwrap().push(inputs[0].shape()[0]);
        let gate = self.gate.lock().unwrap();
        let (gate, waited) = self.opened.wait_timeout_while(gate, Duration::from_secs(10), |open| !*open).unwrap();
        assert!(!waited.timed_out(), "the gate was never opened");
        drop(gate);
        self.at_a_time.lock().unwrap().0 -= 1;
        let values = inputs[0].as_f32().unwrap();
        self.ran.lock().unwrap().extend(&values);
        assert!(values.iter().all(|value| *value >= 0.0), "a negative value");
        if values.iter().any(|value| value.is_infinite()) {
            return Err(EngineError::Run("infinity".into()));
        }
        let doubled: Vec<f32> = values.iter().map(|value| value * 2.0).collect();
        Ok(vec![Tensor::from_f32("y", inputs[0].shape().to_vec(), &doubled).unwrap()])
    }
}

const OPTIONS: BatcherOptions = BatcherOptions {
    max_rows: 4,
    max_delay: Duration::from_millis(20),
    queue_requests: 8,
    queue_bytes: 1 << 20,
    threads: 1,
    pinned: false,
    at_once: Duration::ZERO,
};

fn start(model: &Arc<Doubler>, options: BatcherOptions) -> (Batcher, BatcherMetrics) {
    let metrics = BatcherMetrics::default();
    let model: Arc<dyn Model> = Arc::clone(model) as _;
    (Batcher::start(&model, options, None, metrics.clone()).unwrap(), metrics)
}

fn work(values: &[f32]) -> Work {
    Work {
        inputs: vec![Tensor::from_f32("x", vec![values.len(), 1], values).unwrap()],
        rows: values.len(),
        deadline: None,
        alone: false,
        priority: Priority::Normal,
    }
}

fn values(computed: &Computed) -> Vec<f32> {
    computed.outputs[0].as_f32().unwrap()
}

/// Waits until the condition holds; a test that would wait for ever fails instead.
async fn until(what: &str, condition: impl Fn() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < Duration::from_secs(10), "{what} never came true");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Keeps the only thread busy with a first request, so that what follows gathers in the queue.
async fn occupied(model: &Arc<Doubler>, batcher: &Batcher) -> Pending {
    model.shut();
    let pending = batcher.submit(Work { alone: true, ..work(&[0.0]) }).unwrap();
    until("the first run", || model.runs().len() == 1).await;
    pending
}

#[tokio::test]
async fn requests_that_wait_together_run_together_and_each_gets_its_own_rows() {
    let model = Doubler::new();
    let (batcher, metrics) = start(&model, OPTIONS);
    let first = occupied(&model, &batcher).await;
    let pending: Vec<_> =
        [vec![1.0], vec![2.0, 3.0], vec![4.0]].iter().map(|values| batcher.submit(work(values)).unwrap()).collect();
    model.open();
    first.await.unwrap();
    let mut answers = Vec::new();
    for pending in pending {
        let computed = pending.await.unwrap();
        assert_eq!(computed.batch_rows, 4);
        answers.push(values(&computed));
    }
    assert_eq!(answers, [vec![2.0], vec![4.0, 6.0], vec![8.0]]);
    assert_eq!(model.runs(), [1, 4]);
    assert_eq!(metrics.queue_requests.get(), 0);
}

#[tokio::test]
async fn one_bad_request_fails_alone_whether_it_errs_or_panics() {
    for (poison, reason) in [(f32::INFINITY, "infinity"), (-1.0, "a negative value")] {
        let model = Doubler::new();
        let (batcher, metrics) = start(&model, OPTIONS);
        let first = occupied(&model, &batcher).await;
        let good = batcher.submit(work(&[1.0])).unwrap();
        let bad = batcher.submit(work(&[poison])).unwrap();
        let also_good = batcher.submit(work(&[3.0, 4.0])).unwrap();
        model.open();
        first.await.unwrap();
        assert_eq!(values(&good.await.unwrap()), [2.0]);
        assert_eq!(values(&also_good.await.unwrap()), [6.0, 8.0]);
        let error = bad.await.unwrap_err();
        assert!(error.to_string().contains(reason), "{error}");
        assert_eq!(model.runs(), [1, 4, 1, 1, 2]);
        assert_eq!(metrics.isolated.get(), 1);
        // And the worker serves on.
        assert!(batcher.submit(work(&[5.0])).unwrap().await.is_ok());
    }
}

#[tokio::test]
async fn a_redelivered_request_runs_alone() {
    let model = Doubler::new();
    let (batcher, _) = start(&model, OPTIONS);
    let first = occupied(&model, &batcher).await;
    let others = [batcher.submit(work(&[1.0])), batcher.submit(work(&[2.0]))];
    let again = batcher.submit(Work { alone: true, ..work(&[3.0]) }).unwrap();
    model.open();
    first.await.unwrap();
    assert_eq!(again.await.unwrap().batch_rows, 1);
    for other in others {
        assert_eq!(other.unwrap().await.unwrap().batch_rows, 2);
    }
}

#[tokio::test]
async fn different_shapes_are_not_mixed() {
    let model = Doubler::new();
    let (batcher, _) = start(&model, OPTIONS);
    let first = occupied(&model, &batcher).await;
    let narrow = batcher.submit(work(&[1.0])).unwrap();
    let wide = batcher
        .submit(Work { inputs: vec![Tensor::from_f32("x", vec![1, 2], &[5.0, 6.0]).unwrap()], ..work(&[0.0]) })
        .unwrap();
    model.open();
    first.await.unwrap();
    assert_eq!(values(&narrow.await.unwrap()), [2.0]);
    assert_eq!(values(&wide.await.unwrap()), [10.0, 12.0]);
}

#[tokio::test]
async fn a_full_queue_refuses_at_once_and_says_when_to_come_back() {
    let model = Doubler::new();
    let options = BatcherOptions { queue_requests: 2, ..OPTIONS };
    let (batcher, _) = start(&model, options);
    batcher.submit(work(&[1.0])).unwrap().await.unwrap();
    let first = {
        model.shut();
        let pending = batcher.submit(work(&[1.0])).unwrap();
        until("the run", || model.runs().len() == 2).await;
        pending
    };
    let waiting = [batcher.submit(work(&[2.0])), batcher.submit(work(&[3.0]))];
    let refused = batcher.submit(work(&[4.0])).unwrap_err();
    let Refused::Full { limit: 2, unit: "requests", retry_after } = refused else {
        panic!("{refused:?}");
    };
    assert!(retry_after > Duration::ZERO);
    model.open();
    first.await.unwrap();
    for waiting in waiting {
        waiting.unwrap().await.unwrap();
    }
    assert!(batcher.submit(work(&[4.0])).is_ok());
}

#[tokio::test]
async fn bytes_are_bounded_too_but_one_large_request_is_let_in() {
    let model = Doubler::new();
    let options = BatcherOptions { queue_bytes: 10, ..OPTIONS };
    let (batcher, _) = start(&model, options);
    let first = occupied(&model, &batcher).await;
    let large = batcher.submit(work(&[1.0; 4])).unwrap();
    let refused = batcher.submit(work(&[1.0])).unwrap_err();
    assert!(matches!(refused, Refused::Full { limit: 10, unit: "bytes", .. }));
    model.open();
    first.await.unwrap();
    large.await.unwrap();
}

#[tokio::test]
async fn a_deadline_that_has_passed_is_refused_and_one_that_passes_in_the_queue_is_never_run() {
    let model = Doubler::new();
    let (batcher, metrics) = start(&model, OPTIONS);
    let late = Work { deadline: Some(Instant::now()), ..work(&[1.0]) };
    assert_eq!(batcher.submit(late).unwrap_err(), Refused::Late);
    let first = occupied(&model, &batcher).await;
    let soon = Instant::now() + Duration::from_millis(5);
    let pending = batcher.submit(Work { deadline: Some(soon), ..work(&[1.0]) }).unwrap();
    until("the deadline", || Instant::now() > soon).await;
    model.open();
    first.await.unwrap();
    assert_eq!(pending.await.unwrap_err(), Unanswered::Late);
    assert_eq!(model.runs(), [1]);
    assert_eq!(metrics.expired.get(), 1);
}

#[tokio::test]
async fn what_would_be_answered_too_late_is_refused_at_once_while_others_wait() {
    let model = Doubler::new();
    let (batcher, _) = start(&model, OPTIONS);
    let first = occupied(&model, &batcher).await;
    batcher.queue.ran(Duration::from_secs(10), 1);
    let within = |seconds| Work { deadline: Some(Instant::now() + Duration::from_secs(seconds)), ..work(&[1.0; 4]) };
    // The run that is under way takes ten seconds, and its own ten more.
    let Refused::Hopeless { expected, left } = batcher.submit(within(15)).unwrap_err() else {
        panic!("it has no hope")
    };
    assert!(expected <= Duration::from_secs(20) && expected > Duration::from_secs(15), "{expected:?}");
    assert!(left <= Duration::from_secs(15) && left > Duration::from_secs(10), "{left:?}");
    let next = batcher.submit(within(25)).unwrap();
    // Behind a batch that is full.
    assert!(matches!(batcher.submit(within(25)).unwrap_err(), Refused::Hopeless { .. }));
    let waits = batcher.submit(within(60)).unwrap();
    model.open();
    for answered in [first, next, waits] {
        answered.await.unwrap();
    }
    // Nothing runs and nothing waits: however long it is thought to take, it is tried.
    until("the last run is over", || batcher.queue.is_idle()).await;
    assert!(batcher.submit(within(1)).unwrap().await.is_ok());
}

#[tokio::test]
async fn what_would_end_too_late_gives_way_and_alone_it_is_tried() {
    let model = Doubler::new();
    let (batcher, metrics) = start(&model, OPTIONS);
    let first = occupied(&model, &batcher).await;
    let tight = || Work { deadline: Some(Instant::now() + Duration::from_secs(30)), ..work(&[1.0]) };
    let hopeless = batcher.submit(tight()).unwrap();
    // A time that one short run does not bring down to half a minute.
    batcher.queue.ran(Duration::from_secs(60), 1);
    let other = batcher.submit(work(&[2.0])).unwrap();
    model.open();
    first.await.unwrap();
    assert_eq!(hopeless.await.unwrap_err(), Unanswered::Late);
    assert_eq!(other.await.unwrap().batch_rows, 1);
    assert_eq!((model.runs(), metrics.expired.get()), (vec![1, 1], 1));
    until("the last run is over", || batcher.queue.is_idle()).await;
    assert!(batcher.submit(tight()).unwrap().await.is_ok(), "there is nothing better to do");
}

#[tokio::test]
async fn a_request_whose_caller_is_gone_is_never_run() {
    let model = Doubler::new();
    let (batcher, metrics) = start(&model, OPTIONS);
    let first = occupied(&model, &batcher).await;
    drop(batcher.submit(work(&[1.0])).unwrap());
    let wanted = batcher.submit(work(&[2.0])).unwrap();
    model.open();
    first.await.unwrap();
    assert_eq!(wanted.await.unwrap().batch_rows, 1);
    assert_eq!(model.runs(), [1, 1]);
    assert_eq!(metrics.cancelled.get(), 1);
}

#[tokio::test]
async fn a_request_larger_than_a_batch_is_computed_in_pieces() {
    let model = Doubler::new();
    let (batcher, _) = start(&model, OPTIONS);
    let input: Vec<f32> = (0..11_u8).map(f32::from).collect();
    let computed = batcher.submit(work(&input)).unwrap().await.unwrap();
    let expected: Vec<f32> = input.iter().map(|value| value * 2.0).collect();
    assert_eq!(values(&computed), expected);
    assert_eq!(model.runs(), [4, 4, 3]);
}

#[tokio::test]
async fn draining_runs_what_waits_and_takes_nothing_more_in() {
    let model = Doubler::new();
    let options = BatcherOptions {
        // Longer than the test may take: draining must not wait for company.
        max_delay: Duration::from_secs(60),
        ..OPTIONS
    };
    let (batcher, _) = start(&model, options);
    let pending = [batcher.submit(work(&[1.0])), batcher.submit(work(&[2.0]))];
    batcher.close();
    assert_eq!(batcher.submit(work(&[3.0])).unwrap_err(), Refused::Draining);
    tokio::task::spawn_blocking(|| batcher.drain()).await.unwrap();
    for pending in pending {
        assert_eq!(pending.unwrap().await.unwrap().batch_rows, 2);
    }
}

#[tokio::test]
async fn dropping_the_batcher_answers_everyone() {
    let model = Doubler::new();
    let (batcher, _) = start(&model, OPTIONS);
    let first = occupied(&model, &batcher).await;
    let pending = batcher.submit(work(&[1.0])).unwrap();
    drop(batcher);
    assert_eq!(pending.await.unwrap_err(), Unanswered::Stopped);
    model.open();
    // What runs already is finished.
    assert!(first.await.is_ok());
}

#[tokio::test]
async fn under_load_on_several_threads_everyone_gets_the_answer_to_its_own_question() {
    let model = Doubler::new();
    let options =
        BatcherOptions { threads: 3, max_delay: Duration::from_micros(200), queue_requests: 10_000, ..OPTIONS };
    let (batcher, metrics) = start(&model, options);
    let pending: Vec<_> = (0..2_000_u16)
        .map(|number| {
            let rows = usize::from(number % 3 + 1);
            let question = vec![f32::from(number); rows];
            (question.clone(), batcher.submit(work(&question)).unwrap())
        })
        .collect();
    let mut sizes = HashSet::new();
    for (question, pending) in pending {
        let computed = pending.await.unwrap();
        let expected: Vec<f32> = question.iter().map(|value| value * 2.0).collect();
        assert_eq!(values(&computed), expected);
        assert!(computed.batch_rows <= 4);
        sizes.insert(computed.batch_rows);
    }
    assert!(sizes.len() > 1, "nothing was ever batched");
    assert_eq!(metrics.queue_requests.get(), 0);
    assert_eq!(metrics.failed_runs.get(), 0);
}

fn of(priority: Priority, value: f32) -> Work {
    Work { priority, ..work(&[value]) }
}

#[tokio::test]
async fn what_is_urgent_runs_first_and_what_came_first_among_equals() {
    let model = Doubler::new();
    let (batcher, _) = start(&model, BatcherOptions { max_rows: 2, ..OPTIONS });
    let first = occupied(&model, &batcher).await;
    let asked = [
        (Priority::Low, 1.0),
        (Priority::Normal, 2.0),
        (Priority::Normal, 3.0),
        (Priority::High, 4.0),
        (Priority::Low, 5.0),
        (Priority::High, 6.0),
    ];
    let pending: Vec<_> = asked.map(|(priority, value)| batcher.submit(of(priority, value)).unwrap()).into();
    model.open();
    first.await.unwrap();
    for (pending, (_, value)) in pending.into_iter().zip(asked) {
        assert_eq!(values(&pending.await.unwrap()), [value * 2.0]);
    }
    assert_eq!(*model.ran.lock().unwrap(), [0.0, 4.0, 6.0, 2.0, 3.0, 1.0, 5.0]);
}

#[tokio::test]
async fn in_a_full_queue_the_last_of_the_less_urgent_gives_way_and_nobody_else() {
    let model = Doubler::new();
    let (batcher, metrics) = start(&model, BatcherOptions { queue_requests: 3, ..OPTIONS });
    let first = occupied(&model, &batcher).await;
    let kept = batcher.submit(of(Priority::Low, 1.0)).unwrap();
    let normal = batcher.submit(of(Priority::Normal, 2.0)).unwrap();
    let last = batcher.submit(of(Priority::Low, 3.0)).unwrap();
    assert!(matches!(batcher.submit(of(Priority::Low, 9.0)).unwrap_err(), Refused::Full { limit: 3, .. }));
    let urgent = batcher.submit(of(Priority::High, 4.0)).unwrap();
    assert!(matches!(last.await.unwrap_err(), Unanswered::GaveWay { .. }));
    let second = batcher.submit(of(Priority::Normal, 5.0)).unwrap();
    assert!(matches!(kept.await.unwrap_err(), Unanswered::GaveWay { .. }));
    assert!(matches!(batcher.submit(of(Priority::Normal, 9.0)).unwrap_err(), Refused::Full { .. }));
    assert_eq!((batcher.waiting(), metrics.gave_way.get(), metrics.queue_requests.get()), (3, 2, 3));
    model.open();
    first.await.unwrap();
    for (pending, value) in [(normal, 2.0), (urgent, 4.0), (second, 5.0)] {
        assert_eq!(values(&pending.await.unwrap()), [value * 2.0]);
    }
}

#[tokio::test]
async fn in_a_queue_full_of_bytes_nobody_gives_way_in_vain() {
    let model = Doubler::new();
    let (batcher, _) = start(&model, BatcherOptions { queue_bytes: 16, ..OPTIONS });
    let first = occupied(&model, &batcher).await;
    let low = batcher.submit(of(Priority::Low, 1.0)).unwrap();
    let normal = batcher.submit(of(Priority::Normal, 2.0)).unwrap();
    let large = Work { priority: Priority::Normal, ..work(&[3.0; 4]) };
    assert!(matches!(batcher.submit(large.clone()).unwrap_err(), Refused::Full { limit: 16, unit: "bytes", .. }));
    let large = batcher.submit(Work { priority: Priority::High, ..large }).unwrap();
    assert!(matches!(low.await.unwrap_err(), Unanswered::GaveWay { .. }));
    assert!(matches!(normal.await.unwrap_err(), Unanswered::GaveWay { .. }));
    model.open();
    first.await.unwrap();
    assert_eq!(values(&large.await.unwrap()), [6.0; 4]);
}

#[tokio::test]
async fn a_caller_who_is_alone_does_not_wait_for_company() {
    let model = Doubler::new();
    let metrics = BatcherMetrics::default();
    let options = BatcherOptions { max_delay: Duration::from_secs(60), ..OPTIONS };
    // A run that costs the same for one row and for four: company would be worth waiting for, if any came.
    let cost = crate::domain::company::Cost::of([(1, 1e6), (4, 1e6)]).unwrap();
    let served: Arc<dyn Model> = Arc::clone(&model) as _;
    let batcher = Batcher::start(&served, options, Some(Pace::new(cost, None)), metrics).unwrap();
    for _ in 0..20 {
        let computed = tokio::time::timeout(Duration::from_secs(10), batcher.submit(work(&[1.0])).unwrap()).await;
        assert_eq!(values(&computed.expect("it waited for somebody").unwrap()), [2.0]);
    }
    assert_eq!(model.runs(), [1; 20]);
}

#[tokio::test]
async fn the_more_runs_differ_the_more_time_a_request_must_have() {
    let model = Doubler::new();
    let (batcher, _) = start(&model, OPTIONS);
    let within = |seconds| Work { deadline: Some(Instant::now() + Duration::from_secs(seconds)), ..work(&[1.0]) };
    for took in [100, 100, 100, 100] {
        batcher.queue.ran(Duration::from_secs(took), 1);
    }
    let first = occupied(&model, &batcher).await;
    // Under way 100, its own 100, and an eighth.
    drop(batcher.submit(within(230)).unwrap());
    for took in [150, 50, 150, 50, 150, 50, 150, 50, 150, 50] {
        batcher.queue.ran(Duration::from_secs(took), 1);
    }
    let refused = batcher.submit(within(230)).unwrap_err();
    assert!(
        matches!(refused, Refused::Hopeless { expected, .. } if expected < Duration::from_secs(205)),
        "{refused:?}"
    );
    let answered = batcher.submit(within(310)).unwrap();
    model.open();
    first.await.unwrap();
    answered.await.unwrap();
}
