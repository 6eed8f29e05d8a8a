//! Several OpenMetrics texts made into one.

use std::collections::BTreeMap;

/// Families by name: the description as the first text had it, and the samples of all.
#[derive(Default)]
pub(super) struct Families(BTreeMap<String, Family>);

#[derive(Default)]
struct Family {
    description: String,
    samples: String,
}

impl Families {
    /// Adds a text. `prometheus-client` writes the description of a family (`# HELP`, `# TYPE`, `# UNIT`) before its
    /// samples, and nothing else.
    pub(super) fn add(&mut self, text: &str) {
        let mut current: Option<(&str, bool)> = None;
        for line in text.split_inclusive('\n') {
            if line.starts_with("# EOF") {
                continue;
            }
            if let Some(name) = line.strip_prefix("# ").and_then(|rest| rest.split_whitespace().nth(1)) {
                let first = match current {
                    Some((family, first)) if family == name => first,
                    _ => !self.0.contains_key(name),
                };
                current = Some((name, first));
                let family = self.0.entry(name.to_owned()).or_default();
                if first {
                    family.description.push_str(line);
                }
            } else if let Some(family) = current.and_then(|(name, _)| self.0.get_mut(name)) {
                family.samples.push_str(line);
            }
        }
    }

    pub(super) fn into_text(self) -> String {
        let mut text = String::new();
        for family in self.0.into_values() {
            text.push_str(&family.description);
            text.push_str(&family.samples);
        }
        text.push_str("# EOF\n");
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_of_a_family_stand_together_below_one_description() {
        let mut families = Families::default();
        families.add(
            "# HELP b B.\n# TYPE b gauge\nb{s=\"1\"} 1\n# HELP a A.\n# TYPE a gauge\n# UNIT a seconds\na 1\n# EOF\n",
        );
        families.add("# HELP b Otherwise.\n# TYPE b gauge\nb{s=\"2\"} 2\n# EOF\n");
        assert_eq!(
            families.into_text(),
            "# HELP a A.\n# TYPE a gauge\n# UNIT a seconds\na 1\n# HELP b B.\n# TYPE b gauge\nb{s=\"1\"} 1\nb{s=\"2\"} 2\n# EOF\n"
        );
    }
}
