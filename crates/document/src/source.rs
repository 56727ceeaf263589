//! Texts that were read, and places in them.

/// A range of bytes in one of the sources.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) file: u32,
    pub(crate) start: u32,
    pub(crate) end: u32,
}

/// One text with its name and where its lines begin.
pub(crate) struct Source<'a> {
    pub(crate) name: Option<&'a str>,
    pub(crate) text: &'a str,
    lines: Vec<u32>,
}

/// All texts of one parse.
pub(crate) struct Sources<'a>(Vec<Source<'a>>);

/// A place as people count: from one, columns in characters.
pub(crate) struct Position<'a> {
    pub(crate) file: Option<&'a str>,
    pub(crate) line: u32,
    pub(crate) column: u32,
    /// The line itself, cut at a length fit for a message.
    pub(crate) excerpt: String,
}

const EXCERPT: usize = 160;

// === impl Sources ===

impl<'a> Sources<'a> {
    pub(crate) fn new(texts: impl IntoIterator<Item = (Option<&'a str>, &'a str)>) -> Self {
        Self(texts.into_iter().map(|(name, text)| Source::new(name, text)).collect())
    }

    /// Whether more than one text was read, so that a line alone says too little.
    pub(crate) fn several(&self) -> bool {
        self.0.len() > 1
    }

    pub(crate) fn position(&self, place: Place) -> Option<Position<'a>> {
        self.0
            .get(place.file as usize)
            .map(|source| source.position(place.start))
    }

    /// `line 3`, with the file's name where there are several.
    pub(crate) fn spoken(&self, place: Place) -> Option<String> {
        let at = self.position(place)?;
        Some(match at.file {
            Some(file) if self.several() => format!("line {} of {file}", at.line),
            _ => format!("line {}", at.line),
        })
    }
}

// === impl Source ===

impl<'a> Source<'a> {
    fn new(name: Option<&'a str>, text: &'a str) -> Self {
        let lines = std::iter::once(0).chain(
            text.bytes()
                .enumerate()
                .filter(|(_, b)| *b == b'\n')
                .map(|(i, _)| i as u32 + 1),
        );
        Self {
            name,
            text,
            lines: lines.collect(),
        }
    }

    fn position(&self, start: u32) -> Position<'a> {
        let start = floor_char(self.text, start as usize);
        let line = self.lines.partition_point(|begin| *begin as usize <= start).max(1) - 1;
        let begin = self.lines.get(line).map_or(0, |b| *b as usize);
        let rest = &self.text[begin..];
        let content = rest.split('\n').next().unwrap_or_default().trim_end_matches('\r');
        let mut excerpt: String = content.trim().chars().take(EXCERPT).collect();
        if content.trim().chars().nth(EXCERPT).is_some() {
            excerpt.push('…');
        }
        let mut column = self.text[begin..start].chars().count() as u32 + 1;
        if begin == 0 && self.text.starts_with('\u{feff}') && column > 1 {
            column -= 1;
        }
        Position {
            file: self.name,
            line: line as u32 + 1,
            column,
            excerpt,
        }
    }
}

fn floor_char(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}
