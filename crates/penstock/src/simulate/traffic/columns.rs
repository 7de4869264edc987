//! Tables of comma-separated values: rows with their lines, and what is wrong with a field.

use csv::{ByteRecord, Reader, ReaderBuilder, Trim};

/// Mistakes that are told of one file; after so many the rest is like them.
const TOLD: usize = 20;

/// A file that is read row by row.
pub(super) struct Rows<'a> {
    name: &'a str,
    reader: Reader<&'a [u8]>,
    pub(super) mistakes: Mistakes,
}

/// One row.
pub(super) struct Row {
    pub(super) line: u64,
    fields: ByteRecord,
}

impl<'a> Rows<'a> {
    /// `name` is how mistakes name the file.
    pub(super) fn new(name: &'a str, text: &'a str) -> Self {
        let reader = ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .trim(Trim::All)
            .comment(Some(b'#'))
            .from_reader(text.as_bytes());
        Self {
            name,
            reader,
            mistakes: Mistakes::default(),
        }
    }

    /// The next row; `None` at the end.
    pub(super) fn next(&mut self) -> Option<Row> {
        let mut fields = ByteRecord::new();
        // What is read lies in memory, and rows may have any length: nothing can fail.
        let any = self.reader.read_byte_record(&mut fields).unwrap_or(false);
        let line = fields.position().map_or(0, csv::Position::line);
        any.then_some(Row { line, fields })
    }

    /// Notes that `what` is wrong in `line`.
    pub(super) fn wrong(&mut self, line: u64, what: impl FnOnce() -> String) {
        let name = self.name;
        self.mistakes
            .add(|| format!("{name}, line {line}{}", what()));
    }

    /// The field at `index`, read by `parse`; a mistake if it is not there or cannot be read.
    pub(super) fn field<T>(
        &mut self,
        row: &Row,
        index: usize,
        column: &str,
        right: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let Some(text) = row.text(index) else {
            self.wrong(row.line, || {
                format!(
                    ": column {} ({column}) is missing; it must be {right}",
                    index + 1
                )
            });
            return None;
        };
        let value = parse(&text);
        if value.is_none() {
            self.wrong(row.line, || {
                format!(", column {} ({column}): {text:?} is not {right}", index + 1)
            });
        }
        value
    }
}

impl Row {
    pub(super) fn len(&self) -> usize {
        self.fields.len()
    }

    /// The field at `index` (from 0); what is not UTF-8 is shown, and fits nothing.
    pub(super) fn text(&self, index: usize) -> Option<String> {
        let bytes = self.fields.get(index)?;
        Some(String::from_utf8_lossy(bytes).into_owned())
    }
}

/// The mistakes of one file, the first of them in words.
#[derive(Debug, Default)]
pub(super) struct Mistakes {
    told: Vec<String>,
    others: u64,
}

impl Mistakes {
    fn add(&mut self, sentence: impl FnOnce() -> String) {
        if self.told.len() < TOLD {
            self.told.push(sentence());
        } else {
            self.others += 1;
        }
    }

    /// `value`, if there was no mistake.
    pub(super) fn unless<T>(mut self, name: &str, value: T) -> Result<T, Vec<String>> {
        if self.told.is_empty() {
            return Ok(value);
        }
        if self.others > 0 {
            let others = self.others;
            self.told
                .push(format!("{name}: {others} more such mistakes"));
        }
        Err(self.told)
    }
}
