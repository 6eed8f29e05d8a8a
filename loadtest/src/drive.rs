//! The sending thread: takes what is due, sends it, and hands what came of it to the record.

use crate::{
    client::{Client, Target},
    error::LoadError,
    record::{Done, Record},
    report::Report,
    run::{Limits, Shape, Stop},
    ticks::{self, Tick},
    workload::{Judgement, Workload},
};
use std::{
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    sync::mpsc::{self, Receiver},
    task::{JoinError, JoinSet},
    time::{MissedTickBehavior, Sleep},
};

/// How often the number of requests under way is noted: twenty times a second shows a backlog that grows within one.
const SAMPLING: Duration = Duration::from_millis(50);

/// How many requests are begun before answers and stops are looked at again.
const BURST: usize = 64;

struct Driving {
    client: Client,
    workload: Arc<dyn Workload>,
    under_way: JoinSet<Done>,
    record: Record,
}

impl Driving {
    fn send(&mut self, n: u64, due: Instant) {
        let sent = Instant::now();
        self.record.sent(sent.saturating_duration_since(due));
        let (client, workload) = (self.client.clone(), Arc::clone(&self.workload));
        let request = workload.request(n);
        self.under_way.spawn(async move {
            let outcome = client.send(request).await;
            let finished = Instant::now();
            let judgement = match outcome {
                Ok(reply) => workload.judge(n, &reply),
                Err(class) => {
                    workload.unanswered(n, class);
                    Judgement::Failed(class)
                }
            };
            Done { due, sent, finished, judgement }
        });
    }

    fn send_or_shed(&mut self, tick: Tick, max_in_flight: usize) {
        if self.under_way.len() < max_in_flight {
            self.send(tick.n, tick.at);
        } else {
            self.record.shed(1);
        }
    }

    /// Takes what came of a request, and of those that ended meanwhile.
    fn finished(&mut self, first: Result<Done, JoinError>) {
        // A request whose task panicked has no answer; the workload's own code is the only thing that can.
        self.record.finished(first.ok());
        for _ in 1..BURST {
            let Some(done) = self.under_way.try_join_next() else {
                return;
            };
            self.record.finished(done.ok());
        }
    }

    fn is_idle(&self) -> bool {
        self.under_way.is_empty()
    }
}

/// Where the next request comes from.
enum Arrivals {
    Open { ticks: Receiver<Tick>, clock: ticks::Running, max_in_flight: usize },
    Closed { callers: usize, until: Instant, end: Pin<Box<Sleep>>, next: u64 },
    Ended,
}

/// Runs it to its end or to its stop.
pub(crate) async fn drive(
    target: Target,
    workload: Arc<dyn Workload>,
    shape: Shape,
    limits: Limits,
    stop: Stop,
) -> Result<Report, LoadError> {
    let begin = Instant::now();
    let mut arrivals = Arrivals::new(shape, &limits, begin)?;
    let mut driving = Driving {
        client: Client::new(target, &limits),
        workload,
        under_way: JoinSet::new(),
        record: Record::new(begin, shape, limits),
    };
    let mut sampling = tokio::time::interval(SAMPLING);
    sampling.set_missed_tick_behavior(MissedTickBehavior::Skip);
    // Made once: what is made for every request is time that no request is sent in.
    let (now, enough) = (stop.now.cancelled(), stop.enough.cancelled());
    tokio::pin!(now, enough);
    let mut stopped = false;
    loop {
        arrivals.fill(&mut driving);
        if matches!(arrivals, Arrivals::Ended) && driving.is_idle() {
            break;
        }
        tokio::select! {
            () = &mut now => {
                stopped = true;
                arrivals.end(&mut driving);
                break;
            }
            () = &mut enough, if !matches!(arrivals, Arrivals::Ended) => {
                stopped = true;
                arrivals.end(&mut driving);
            }
            Some(done) = driving.under_way.join_next() => {
                driving.finished(done);
            }
            tick = arrivals.due() => match tick {
                Some(tick) => arrivals.take(tick, &mut driving),
                None => arrivals.end(&mut driving),
            },
            _ = sampling.tick() => driving.record.sample(driving.under_way.len(), Instant::now()),
        }
    }
    let abandoned = driving.under_way.len();
    driving.under_way.abort_all();
    Ok(driving.record.into_report(abandoned, stopped))
}

impl Arrivals {
    fn new(shape: Shape, limits: &Limits, begin: Instant) -> Result<Self, LoadError> {
        Ok(match shape {
            Shape::Open { rate, duration } => {
                let (due, ticks) = mpsc::channel(ticks::WAITING);
                let clock = ticks::start(begin, rate, duration, due).map_err(LoadError::Thread)?;
                Self::Open { ticks, clock, max_in_flight: limits.max_in_flight }
            }
            Shape::Closed { callers, duration } => {
                let until = begin + duration;
                Self::Closed { callers, until, end: Box::pin(tokio::time::sleep_until(until.into())), next: 0 }
            }
        })
    }

    /// Nothing more is sent.
    fn end(&mut self, driving: &mut Driving) {
        match self {
            Self::Open { clock, .. } => driving.record.shed(clock.missed()),
            Self::Closed { .. } => {}
            Self::Ended => return,
        }
        driving.record.sending_ended(Instant::now());
        *self = Self::Ended;
    }

    /// The next arrival of an open loop, or `None` when there will be none; of a closed loop, `None` at its end.
    async fn due(&mut self) -> Option<Tick> {
        match self {
            Self::Open { ticks, .. } => ticks.recv().await,
            Self::Closed { end, .. } => {
                end.await;
                None
            }
            Self::Ended => std::future::pending().await,
        }
    }

    /// Sends what is due and whatever became due meanwhile, or sheds it.
    fn take(&mut self, first: Tick, driving: &mut Driving) {
        let Self::Open { ticks, max_in_flight, .. } = self else {
            return;
        };
        driving.send_or_shed(first, *max_in_flight);
        for _ in 1..BURST {
            let Ok(tick) = ticks.try_recv() else {
                return;
            };
            driving.send_or_shed(tick, *max_in_flight);
        }
    }

    /// Lets every caller of a closed loop that has its answer send again.
    fn fill(&mut self, driving: &mut Driving) {
        if let Self::Closed { callers, until, next, .. } = self {
            for _ in 0..BURST {
                let now = Instant::now();
                if driving.under_way.len() >= *callers || now >= *until {
                    return;
                }
                driving.send(*next, now);
                *next += 1;
            }
        }
    }
}
