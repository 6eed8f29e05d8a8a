//! `loadtest/RESULTS.md`: what the benches of the mesh measured, each bench in its place.

use std::{fs, io, path::PathBuf};

/// Every section but that of the mesh itself, which is the head of the file, stands between two marks of this kind.
const MARK: &str = "<!-- bench-";

/// Date and machine, as lines of a list.
#[must_use]
pub fn conditions() -> String {
    let now = jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M UTC");
    let build = if cfg!(debug_assertions) {
        "debug (not what is shipped: figures of a release build are smaller)"
    } else {
        "release"
    };
    format!(
        "- date: {now}\n- machine: {}\n- build: {build}\n- load of the machine when it began: {}\n",
        machine(),
        load()
    )
}

/// The load averages.
#[must_use]
pub fn load() -> String {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split(' ').take(3).collect::<Vec<_>>().join(" ")
}

fn machine() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let value = |text: &str, key: &str| {
        let line = text.lines().find(|line| line.starts_with(key))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let model = value(&read("/proc/cpuinfo"), "model name").unwrap_or_else(|| "unknown processor".to_owned());
    let memory = value(&read("/proc/meminfo"), "MemTotal").unwrap_or_default();
    format!("{cores} cores, {model}, {memory} of memory, Linux {}", read("/proc/sys/kernel/osrelease").trim())
}

/// Writes the head of the file; the sections stay as they are.
///
/// # Errors
/// When the file cannot be written.
pub fn write_head(text: &str) -> io::Result<()> {
    let before = fs::read_to_string(file()).unwrap_or_default();
    let sections = before.find(MARK).and_then(|at| before.get(at..)).unwrap_or_default();
    fs::write(file(), [text, if sections.is_empty() { "" } else { "\n" }, sections].concat())
}

/// Writes the section of a bench, such as `queue`, in its place, or at the end.
///
/// # Errors
/// When the file cannot be written.
pub fn write_section(bench: &str, text: &str) -> io::Result<()> {
    let before = fs::read_to_string(file()).unwrap_or_default();
    fs::write(file(), with_section(&before, bench, text))
}

fn with_section(before: &str, bench: &str, text: &str) -> String {
    let (begin, end) = (format!("{MARK}{bench}: begin -->"), format!("{MARK}{bench}: end -->"));
    let section = format!("{begin}\n\n{}\n\n{end}", text.trim());
    let found = before.split_once(&begin).and_then(|(head, rest)| Some((head, rest.split_once(&end)?.1)));
    match found {
        Some((head, tail)) => [head, &section, tail].concat(),
        None => format!("{}\n\n{section}\n", before.trim_end()),
    }
}

fn file() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../loadtest/RESULTS.md")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_takes_its_own_place_and_no_other() {
        let first = with_section("# Head\n", "queue", "one");
        assert_eq!(first, "# Head\n\n<!-- bench-queue: begin -->\n\none\n\n<!-- bench-queue: end -->\n");
        let both = with_section(&first, "overload", "two");
        let again = with_section(&both, "queue", "three\n");
        assert!(again.contains("three") && again.contains("two") && !again.contains("one"), "{again}");
        assert_eq!(with_section(&again, "queue", "one"), both);
    }
}
