//! Just enough of Rust's grammar to tell code from comments, strings and tests.

/// A source text with comments and string contents blanked, line by line.
pub(crate) struct Masked {
    /// Same number of lines as the text.
    pub(crate) code: Vec<String>,
    /// String literals: the line each begins on (from 1) and its contents.
    pub(crate) strings: Vec<(usize, String)>,
    /// For each line whether it belongs to a test module or function.
    pub(crate) test_lines: Vec<bool>,
}

/// A function: name, first and last line (from 1).
pub(crate) struct Function {
    pub(crate) name: String,
    pub(crate) first: usize,
    pub(crate) last: usize,
}

struct Scanner<'a> {
    chars: Vec<char>,
    at: usize,
    line: usize,
    out: String,
    strings: &'a mut Vec<(usize, String)>,
}

impl Masked {
    pub(crate) fn new(text: &str) -> Masked {
        let mut strings = Vec::new();
        let mut scanner = Scanner {
            chars: text.chars().collect(),
            at: 0,
            line: 1,
            out: String::with_capacity(text.len()),
            strings: &mut strings,
        };
        scanner.run();
        let code: Vec<String> = scanner.out.lines().map(str::to_owned).collect();
        let test_lines = test_lines(&code);
        Masked { code, strings, test_lines }
    }

    /// Whether a line (from 1) is test code.
    pub(crate) fn is_test(&self, line: usize) -> bool {
        self.test_lines.get(line.wrapping_sub(1)).copied().unwrap_or(false)
    }

    /// Every function with a body.
    pub(crate) fn functions(&self) -> Vec<Function> {
        let mut found = Vec::new();
        for (index, line) in self.code.iter().enumerate() {
            for start in word_positions(line, "fn") {
                let name: String = line[start + 2..]
                    .trim_start()
                    .chars()
                    .take_while(|c| c.is_alphanumeric() || *c == '_')
                    .collect();
                if name.is_empty() {
                    continue; // a function pointer type
                }
                if let Some(last) = end_of_block(&self.code, index, start) {
                    found.push(Function { name, first: index + 1, last: last + 1 });
                }
            }
        }
        found
    }
}

impl Scanner<'_> {
    fn peek(&self, ahead: usize) -> char {
        self.chars.get(self.at + ahead).copied().unwrap_or('\0')
    }

    /// Copies one character, or a blank for it; newlines are always kept.
    fn take(&mut self, keep: bool) {
        let c = self.peek(0);
        self.at += 1;
        if c == '\n' {
            self.line += 1;
            self.out.push('\n');
        } else {
            self.out.push(if keep { c } else { ' ' });
        }
    }

    fn run(&mut self) {
        while self.at < self.chars.len() {
            match self.peek(0) {
                '/' if self.peek(1) == '/' => {
                    while self.at < self.chars.len() && self.peek(0) != '\n' {
                        self.take(false);
                    }
                }
                '/' if self.peek(1) == '*' => self.block_comment(),
                '"' => self.string(),
                'r' if !self.inside_word() && matches!(self.peek(1), '"' | '#') => self.raw(),
                'b' | 'c' if !self.inside_word() && self.peek(1) == 'r' => {
                    self.take(true);
                    self.raw();
                }
                '\'' => self.char_or_lifetime(),
                _ => self.take(true),
            }
        }
    }

    fn inside_word(&self) -> bool {
        let before = self.at.checked_sub(1).and_then(|i| self.chars.get(i));
        before.is_some_and(|c| c.is_alphanumeric() || *c == '_')
    }

    fn block_comment(&mut self) {
        let mut depth = 0;
        while self.at < self.chars.len() {
            if self.peek(0) == '/' && self.peek(1) == '*' {
                depth += 1;
                self.take(false);
            } else if self.peek(0) == '*' && self.peek(1) == '/' {
                depth -= 1;
                self.take(false);
            }
            self.take(false);
            if depth == 0 {
                return;
            }
        }
    }

    fn string(&mut self) {
        let line = self.line;
        let mut contents = String::new();
        self.take(true);
        while self.at < self.chars.len() && self.peek(0) != '"' {
            if self.peek(0) == '\\' {
                contents.push('\\');
                self.take(false);
            }
            contents.push(self.peek(0));
            self.take(false);
        }
        self.take(true);
        self.strings.push((line, contents));
    }

    /// `r"…"` or `r#"…"#`; a raw identifier such as `r#type` is left alone.
    fn raw(&mut self) {
        let line = self.line;
        let mut hashes = 0;
        while self.peek(1 + hashes) == '#' {
            hashes += 1;
        }
        if self.peek(0) != 'r' || self.peek(1 + hashes) != '"' {
            self.take(true);
            return;
        }
        (0..hashes + 2).for_each(|_| self.take(true));
        let mut contents = String::new();
        while self.at < self.chars.len() {
            if self.peek(0) == '"' && (1..=hashes).all(|i| self.peek(i) == '#') {
                (0..=hashes).for_each(|_| self.take(true));
                break;
            }
            contents.push(self.peek(0));
            self.take(false);
        }
        self.strings.push((line, contents));
    }

    fn char_or_lifetime(&mut self) {
        if self.peek(1) == '\\' {
            self.take(true);
            self.take(false);
            self.take(false);
            while self.at < self.chars.len() && self.peek(0) != '\'' {
                self.take(false);
            }
            self.take(true);
        } else if self.peek(2) == '\'' {
            self.take(true);
            self.take(false);
            self.take(true);
        } else {
            self.take(true);
        }
    }
}

/// Byte positions where `word` stands as a whole word.
pub(crate) fn word_positions(line: &str, word: &str) -> Vec<usize> {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word)
        .filter(|(at, _)| {
            let before = line[..*at].chars().next_back();
            let after = line[at + word.len()..].chars().next();
            !before.is_some_and(part) && !after.is_some_and(part)
        })
        .map(|(at, _)| at)
        .collect()
}

/// The line (from 0) that closes the first `{` after a place, or `None` where a `;` comes first.
fn end_of_block(code: &[String], line: usize, column: usize) -> Option<usize> {
    let (mut braces, mut brackets) = (0usize, 0usize);
    for (index, text) in code.iter().enumerate().skip(line) {
        let text = if index == line { text.get(column..)? } else { text.as_str() };
        for c in text.chars() {
            match c {
                '{' => braces += 1,
                '}' => {
                    braces = braces.checked_sub(1)?;
                    if braces == 0 {
                        return Some(index);
                    }
                }
                '(' | '[' => brackets += 1,
                ')' | ']' => brackets = brackets.saturating_sub(1),
                ';' if braces == 0 && brackets == 0 => return None,
                _ => {}
            }
        }
    }
    None
}

/// Marks every item under `#[cfg(test)]`, `#[test]` or `proptest!`.
fn test_lines(code: &[String]) -> Vec<bool> {
    let mut marked = vec![false; code.len()];
    for (index, line) in code.iter().enumerate() {
        let compact: String = line.chars().filter(|c| !c.is_whitespace()).collect();
        let starts = compact.starts_with("#[cfg(test)]")
            || compact.starts_with("#[cfg(all(test")
            || compact.starts_with("#[cfg(any(test")
            || compact.starts_with("#[test]");
        if !starts {
            continue;
        }
        let column = line.find(']').map_or(0, |at| at + 1);
        let last = end_of_block(code, index, column).unwrap_or(index + 1);
        marked.iter_mut().take(last + 1).skip(index).for_each(|m| *m = true);
    }
    marked
}

#[test]
fn comments_and_strings_are_blanked() {
    let text = "let a = \"x { // y\"; // fn b() {\nlet c = r#\"fn \" d\"#; /* fn /* e */ */ 'f';\n";
    let masked = Masked::new(text);
    assert!(!masked.code.join("\n").contains("fn"), "{:?}", masked.code);
    assert_eq!(masked.strings, [(1, "x { // y".into()), (2, "fn \" d".into())]);
    let lifetimes =
        Masked::new("fn a<'a>(b: &'a str) -> char { '{' }\nfn c() { '\\''; '\\u{7b}' }\n");
    let names: Vec<_> = lifetimes.functions().into_iter().map(|f| (f.name, f.last)).collect();
    assert_eq!(names, [("a".into(), 1), ("c".into(), 2)]);
}

#[test]
fn tests_are_told_apart() {
    let text = "fn a() {\n}\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\nfn c(x: [u8; 3]) {}\n#[test]\nfn d() {\n}\n";
    let masked = Masked::new(text);
    let want = [false, false, true, true, true, true, false, true, true, true];
    assert_eq!(masked.test_lines, want);
}
