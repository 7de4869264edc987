//! Where log lines go.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;

use super::Output;

/// Where log lines go: each to all of them.
#[derive(Clone, Debug)]
pub struct Outputs(Arc<[Open]>);

#[derive(Debug)]
enum Open {
    Stdout,
    Stderr,
    File(File),
}

/// A file that cannot be written to, and why.
pub type BadPath = (PathBuf, io::Error);

impl Outputs {
    /// What can be opened; standard error if nothing can.
    pub fn open(outputs: &[Output]) -> (Self, Vec<BadPath>) {
        let mut bad = Vec::new();
        let mut open: Vec<Open> = outputs
            .iter()
            .filter_map(|output| match output {
                Output::Stdout => Some(Open::Stdout),
                Output::Stderr => Some(Open::Stderr),
                Output::File(path) => {
                    let opened = OpenOptions::new().append(true).create(true).open(path);
                    let opened = opened.map_err(|error| bad.push((path.clone(), error)));
                    opened.ok().map(Open::File)
                }
            })
            .collect();
        if open.is_empty() {
            open.push(Open::Stderr);
        }
        (Self(open.into()), bad)
    }
}

impl Write for Outputs {
    /// A line that cannot be written is lost.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        for output in &*self.0 {
            let _ = match output {
                Open::Stdout => io::stdout().lock().write_all(line),
                Open::Stderr => io::stderr().lock().write_all(line),
                Open::File(file) => Write::write_all(&mut &*file, line),
            };
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
