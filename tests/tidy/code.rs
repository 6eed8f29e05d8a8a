//! Reading Rust just well enough: code without comments and texts, texts without code, tests told apart.

/// What a source file says, split.
pub(crate) struct Code {
    /// The code, with every comment and every text literal blanked out; line numbers stay.
    pub(crate) code: String,
    /// Every text literal with its line, from 1.
    pub(crate) texts: Vec<(usize, String)>,
}

/// The part of a file before its tests, which stand at the bottom.
pub(crate) fn before_tests(text: &str) -> &str {
    let at = text.find("\n#[cfg(test)]\nmod ").or_else(|| text.find("\n#[cfg(test)]\npub(crate) mod "));
    at.map_or(text, |at| &text[..at])
}

/// Splits a source text.
pub(crate) fn split(text: &str) -> Code {
    let bytes: Vec<char> = text.chars().collect();
    let mut code = String::with_capacity(text.len());
    let mut texts = Vec::new();
    let (mut at, mut line) = (0, 1);
    while at < bytes.len() {
        let end = match bytes[at] {
            '/' if bytes.get(at + 1) == Some(&'/') => end_of_line(&bytes, at),
            '/' if bytes.get(at + 1) == Some(&'*') => end_of_block(&bytes, at),
            '"' => {
                let end = end_of_text(&bytes, at);
                texts.push((line, bytes[at + 1..end.saturating_sub(1).max(at + 1)].iter().collect()));
                end
            }
            'r' | 'b' if !preceded_by_word(&bytes, at) && raw_text(&bytes, at).is_some() => {
                let (start, end, close) = raw_text(&bytes, at).unwrap();
                texts.push((line, bytes[start..end].iter().collect()));
                close
            }
            '\'' => match end_of_char(&bytes, at) {
                Some(end) => end,
                None => {
                    code.push('\'');
                    at += 1;
                    continue;
                }
            },
            other => {
                code.push(other);
                line += usize::from(other == '\n');
                at += 1;
                continue;
            }
        };
        for skipped in &bytes[at..end] {
            code.push(if *skipped == '\n' { '\n' } else { ' ' });
            line += usize::from(*skipped == '\n');
        }
        at = end;
    }
    Code { code, texts }
}

fn preceded_by_word(bytes: &[char], at: usize) -> bool {
    at > 0 && (bytes[at - 1].is_alphanumeric() || bytes[at - 1] == '_')
}

fn end_of_line(bytes: &[char], from: usize) -> usize {
    (from..bytes.len()).find(|at| bytes[*at] == '\n').unwrap_or(bytes.len())
}

fn end_of_block(bytes: &[char], from: usize) -> usize {
    let (mut depth, mut at) = (0, from);
    while at < bytes.len() {
        match (bytes[at], bytes.get(at + 1)) {
            ('/', Some('*')) => {
                depth += 1;
                at += 2;
            }
            ('*', Some('/')) => {
                depth -= 1;
                at += 2;
                if depth == 0 {
                    return at;
                }
            }
            _ => at += 1,
        }
    }
    bytes.len()
}

fn end_of_text(bytes: &[char], from: usize) -> usize {
    let mut at = from + 1;
    while at < bytes.len() {
        match bytes[at] {
            '\\' => at += 2,
            '"' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// `r"…"`, `r#"…"#`, `br"…"`: where its text starts and ends, and where the literal does.
fn raw_text(bytes: &[char], from: usize) -> Option<(usize, usize, usize)> {
    let mut at = from;
    if bytes[at] == 'b' {
        at += 1;
    }
    if bytes.get(at) != Some(&'r') {
        return None;
    }
    at += 1;
    let hashes = bytes[at..].iter().take_while(|c| **c == '#').count();
    at += hashes;
    if bytes.get(at) != Some(&'"') {
        return None;
    }
    let start = at + 1;
    let mut end = start;
    while end < bytes.len() {
        let closes = bytes[end] == '"' && bytes[end + 1..].iter().take(hashes).filter(|c| **c == '#').count() == hashes;
        if closes {
            return Some((start, end, end + 1 + hashes));
        }
        end += 1;
    }
    None
}

/// `'x'`, `'\n'`, `'\u{1f}'`; `None` for a lifetime.
fn end_of_char(bytes: &[char], from: usize) -> Option<usize> {
    match bytes.get(from + 1)? {
        '\\' => (from + 3..bytes.len()).find(|at| bytes[*at] == '\'').map(|at| at + 1),
        _ => (bytes.get(from + 2) == Some(&'\'')).then_some(from + 3),
    }
}

/// Lines of `code` where `word` stands as a whole word, from 1.
pub(crate) fn lines_with(code: &str, word: &str) -> Vec<usize> {
    let inside = |c: char| c.is_alphanumeric() || c == '_';
    let mut found = Vec::new();
    for (at, _) in code.match_indices(word) {
        let before = code[..at].chars().next_back().is_some_and(inside);
        let after = code[at + word.len()..].chars().next().is_some_and(inside);
        let (starts, ends) = (word.starts_with(inside), word.ends_with(inside));
        if !(before && starts || after && ends) {
            found.push(code[..at].matches('\n').count() + 1);
        }
    }
    found
}

#[test]
fn comments_and_texts_are_told_from_code() {
    let source = "let a = \"x // no \\\" comment\"; // todo!() here\n/* todo!() /* nested */ */ let b = r#\"raw \"q\" \"#;\nlet c = '\"'; let d: &'static str = b\"bytes\";\n";
    let split = split(source);
    assert!(!split.code.contains("todo") && !split.code.contains("comment") && split.code.contains("let b ="));
    let texts: Vec<(usize, &str)> = split.texts.iter().map(|(line, text)| (*line, text.as_str())).collect();
    assert_eq!(texts, [(1, "x // no \\\" comment"), (2, "raw \"q\" "), (3, "bytes")]);
    assert!(split.code.contains("&'static str"));
    assert_eq!(split.code.lines().count(), source.lines().count());
}

#[test]
fn words_are_found_whole() {
    assert_eq!(lines_with("a async\nasyncx async_y\n async", "async"), [1, 3]);
    assert_eq!(lines_with("std::fs::read", "std::fs"), [1]);
}
