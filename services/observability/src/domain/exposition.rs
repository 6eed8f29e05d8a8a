//! Reading the text form of metrics (Prometheus 0.0.4 and OpenMetrics 1.0), as far as our own services write it.

use std::collections::BTreeMap;

/// Samples read of one target. Ours expose some hundreds; a target with more is not one of ours.
const MAX_SAMPLES: usize = 200_000;

/// One sample.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The series' name, with its suffix (`_total`, `_bucket`, `_sum`, `_count`).
    pub name: String,
    /// The labels.
    pub labels: BTreeMap<String, String>,
    /// The value.
    pub value: f64,
}

impl Sample {
    /// Whether the sample has all these labels.
    #[must_use]
    pub fn has(&self, labels: &[(&str, &str)]) -> bool {
        labels.iter().all(|(name, value)| self.labels.get(*name).is_some_and(|found| found == value))
    }

    /// The value of a counter, which is a whole number; 0 for what is none.
    #[must_use]
    pub fn count(&self) -> u64 {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "cut to what a count can be")]
        let count = self.value as u64;
        count
    }

    /// The upper bound of a bucket of a histogram.
    #[must_use]
    pub fn bound(&self) -> Option<f64> {
        number(self.labels.get("le")?)
    }
}

/// The samples of an exposition. Lines that are none (comments, what cannot be read) are skipped.
#[must_use]
pub fn parse(text: &str) -> Vec<Sample> {
    text.lines().filter(|line| !line.starts_with('#')).filter_map(sample).take(MAX_SAMPLES).collect()
}

fn sample(line: &str) -> Option<Sample> {
    let name_end = line.find(['{', ' '])?;
    let (name, rest) = line.split_at(name_end);
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(inside) => labels(inside)?,
        None => (BTreeMap::new(), rest),
    };
    // After the value a timestamp or an exemplar may follow.
    let value = rest.split_whitespace().next()?;
    Some(Sample { name: name.to_owned(), labels, value: number(value)? })
}

fn number(text: &str) -> Option<f64> {
    match text {
        "+Inf" => Some(f64::INFINITY),
        "-Inf" => Some(f64::NEG_INFINITY),
        _ => text.parse().ok(),
    }
}

/// Labels up to the closing brace, and what stands behind it.
fn labels(mut text: &str) -> Option<(BTreeMap<String, String>, &str)> {
    let mut labels = BTreeMap::new();
    loop {
        text = text.trim_start_matches([',', ' ']);
        if let Some(rest) = text.strip_prefix('}') {
            return Some((labels, rest));
        }
        let (name, rest) = text.split_once("=\"")?;
        let mut value = String::new();
        let mut characters = rest.char_indices();
        let end = loop {
            match characters.next()? {
                (_, '\\') => match characters.next()?.1 {
                    'n' => value.push('\n'),
                    escaped => value.push(escaped),
                },
                (at, '"') => break at + 1,
                (_, plain) => value.push(plain),
            }
        };
        labels.insert(name.to_owned(), value);
        text = &rest[end..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_read_with_their_labels() {
        let text = "# HELP a b\n# TYPE a counter\na_total{x=\"1\",y=\"a \\\"b\\\" {c}\"} 3 1700000000\nplain 0.5\nh_bucket{le=\"+Inf\"} 7 # {trace=\"x\"} 1\n# EOF\n";
        let samples = parse(text);
        assert_eq!(samples.len(), 3);
        assert_eq!(samples[0].labels["y"], "a \"b\" {c}");
        assert!(samples[0].has(&[("x", "1")]) && !samples[0].has(&[("x", "2")]));
        assert_eq!((samples[1].name.as_str(), samples[1].value), ("plain", 0.5));
        assert_eq!(samples[2].value, 7.0);
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_fail(text in "\\PC{0,200}") {
            let _ = parse(&text);
        }
    }
}
