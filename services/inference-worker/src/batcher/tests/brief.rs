//! Runs that are done where their requests were read.

use super::*;
use crate::domain::company::Cost;

/// A batcher that runs at once what takes a millisecond, as one row does; four take four. It has seen that requests come seldom.
fn start_brief(model: &Arc<Doubler>) -> Batcher {
    start_at_once(model, Cost::of([(1, 1e3), (4, 4e3)]).unwrap())
}

fn start_at_once(model: &Arc<Doubler>, cost: Cost) -> Batcher {
    let options = BatcherOptions { at_once: Duration::from_millis(1), ..OPTIONS };
    let mut pace = Pace::new(cost, None);
    for second in 1..20 {
        pace.came(1, second * 1_000_000);
    }
    let served: Arc<dyn Model> = Arc::clone(model) as _;
    Batcher::start(&served, options, Some(pace), BatcherMetrics::default()).unwrap()
}

#[tokio::test]
async fn a_brief_run_is_over_when_its_request_was_submitted() {
    let model = Doubler::new();
    let batcher = start_brief(&model);
    let mut computed = batcher.submit(work(&[1.0])).unwrap();
    assert_eq!(computed.0.try_recv().unwrap().map(|computed| values(&computed)), Ok(vec![2.0]));
    assert!(batcher.queue.is_idle());
}

#[tokio::test]
async fn a_brief_run_that_fails_is_an_answer_too_and_leaves_nothing_under_way() {
    for (poison, reason) in [(f32::INFINITY, "infinity"), (-1.0, "a negative value")] {
        let model = Doubler::new();
        let batcher = start_brief(&model);
        let error = batcher.submit(work(&[poison])).unwrap().0.try_recv().unwrap().unwrap_err();
        assert!(error.to_string().contains(reason), "{error}");
        assert!(batcher.queue.is_idle());
    }
}

#[tokio::test]
async fn a_run_that_is_long_or_has_others_before_it_waits_for_a_thread() {
    let model = Doubler::new();
    let batcher = start_brief(&model);
    model.shut();
    // Four rows take too long, and who must run alone may do so for a reason.
    let long = batcher.submit(work(&[1.0; 4])).unwrap();
    until("the long run", || model.runs() == [4]).await;
    let behind = batcher.submit(work(&[2.0])).unwrap();
    let alone = batcher.submit(Work { alone: true, ..work(&[3.0]) }).unwrap();
    assert_eq!(batcher.waiting(), 2);
    model.open();
    for (pending, expected) in [(long, vec![2.0; 4]), (behind, vec![4.0]), (alone, vec![6.0])] {
        assert_eq!(values(&pending.await.unwrap()), expected);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_more_run_at_a_time_than_there_are_threads_whoever_runs_them() {
    let model = Doubler::new();
    // So cheap that requests always come seldom.
    let batcher = Arc::new(start_at_once(&model, Cost::of([(1, 1e-6)]).unwrap()));
    let callers: Vec<_> = (0..4)
        .map(|_| {
            let batcher = Arc::clone(&batcher);
            tokio::spawn(async move {
                for _ in 0..500 {
                    batcher.submit(work(&[1.0])).unwrap().await.unwrap();
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await.unwrap();
    }
    assert_eq!(*model.at_a_time.lock().unwrap(), (0, 1));
}

#[tokio::test]
async fn a_thread_takes_what_came_while_a_caller_ran() {
    let model = Doubler::new();
    let batcher = Arc::new(start_brief(&model));
    model.shut();
    let caller = tokio::task::spawn_blocking({
        let batcher = Arc::clone(&batcher);
        move || batcher.submit(work(&[1.0]))
    });
    until("the caller's run", || model.runs() == [1]).await;
    let waits = batcher.submit(work(&[2.0; 4])).unwrap();
    assert_eq!((model.runs(), batcher.waiting()), (vec![1], 1));
    model.open();
    assert_eq!(values(&caller.await.unwrap().unwrap().await.unwrap()), [2.0]);
    assert_eq!(values(&waits.await.unwrap()), [4.0; 4], "the thread was told that it may");
}

#[tokio::test]
async fn who_must_run_alone_never_runs_where_requests_are_read() {
    let model = Doubler::new();
    let batcher = start_brief(&model);
    model.shut();
    // It may be what ended a worker before. Run here, it would wait for a gate that nobody opens.
    let alone = batcher.submit(Work { alone: true, ..work(&[1.0]) }).unwrap();
    model.open();
    assert_eq!(values(&alone.await.unwrap()), [2.0]);
}
