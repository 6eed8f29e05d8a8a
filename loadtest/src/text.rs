//! The report for a person.

use crate::report::{Report, Summary};
use std::fmt;

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.count == 0 {
            return f.write_str("none");
        }
        write!(
            f,
            "p50 {:.2} ms, p90 {:.2}, p99 {:.2}, p99.9 {:.2}, most {:.2}",
            self.p50_ms, self.p90_ms, self.p99_ms, self.p999_ms, self.max_ms
        )
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.wanted_rate {
            Some(rate) => writeln!(f, "open loop, {rate:.1} requests/s for {:.1} s", self.sending_s)?,
            None => writeln!(f, "closed loop for {:.1} s", self.sending_s)?,
        }
        writeln!(f, "  answered    {} of {} sent, {:.1}/s", self.ok, self.sent, self.throughput)?;
        for (class, count) in &self.failures {
            writeln!(f, "  failed      {count} {class}")?;
        }
        if self.shed > 0 {
            writeln!(f, "  not sent    {} (shed by the generator: too many under way)", self.shed)?;
        }
        if self.abandoned > 0 {
            writeln!(f, "  abandoned   {} (under way when the run was stopped)", self.abandoned)?;
        }
        writeln!(f, "  latency     {}", self.latency)?;
        writeln!(f, "  from send   {} (forgives stalls; for comparison)", self.service)?;
        writeln!(
            f,
            "  under way   {:.1} then {:.1}, most {}{}",
            self.backlog.first_half,
            self.backlog.second_half,
            self.backlog.peak,
            if self.backlog.grew() { ": a backlog grew" } else { "" }
        )?;
        write!(f, "  generator   late by {}", self.lag)?;
        if self.late {
            write!(f, "\n  The generator itself was late: do not trust these figures.")?;
        }
        Ok(())
    }
}
