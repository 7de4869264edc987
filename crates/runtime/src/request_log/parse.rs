//! From a template's text to the steps that `run.rs` takes.

use std::collections::HashMap;
use std::vec;

use super::BadTemplate;
use super::function::Function;
use super::lex::{Kind, Piece, Token, pieces};
use super::pipeline::Declares;

/// How deep actions and brackets may be nested.
const MAX_DEPTH: usize = 64;

/// A compiled template.
#[derive(Debug)]
pub struct Template {
    /// The first is the template itself, the others those that it defines.
    pub(super) programs: Vec<Vec<Step>>,
}

/// One step. Targets of jumps are places in the same program; `n` values are those on top.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Step {
    /// Writes literal text.
    Literal(Box<[u8]>),
    /// Writes a value.
    Print,
    /// Puts a value on the stack.
    Dot,
    Variable(usize),
    Constant(Constant),
    /// Takes arguments and, beneath them, what the field is of.
    Field {
        name: Box<str>,
        args: usize,
    },
    /// Takes arguments.
    Call {
        function: Function,
        args: usize,
    },
    /// Brings the lowest of `n` values to the top.
    Rotate(usize),
    /// Takes a value into a variable.
    Set(usize),
    Jump(usize),
    /// Takes a value, and jumps if it is not true.
    JumpUnless(usize),
    /// Jumps if the value on top is `is`, and leaves it there; else takes it.
    JumpKeeping {
        is: bool,
        to: usize,
    },
    /// Takes a value, which becomes the dot until `PopDot`.
    PushDot,
    PopDot,
    /// Takes what is to be gone through, and begins with its first element, or jumps.
    Range {
        key: Option<usize>,
        value: Option<usize>,
        empty: usize,
    },
    /// Goes on with the next element at `body`, or ends the loop.
    Next {
        body: usize,
    },
    /// Ends the loop.
    EndRange,
    /// Takes the dot of another program and runs that; `None` if it was never defined.
    Run {
        program: Option<usize>,
        name: Box<str>,
    },
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Constant {
    Nil,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Box<[u8]>),
}

impl Template {
    /// Compiles a template. A line break is added at the end if it has none.
    ///
    /// # Errors
    ///
    /// [`BadTemplate`] says where it is wrong, and what.
    pub fn compile(template: &str) -> Result<Self, BadTemplate> {
        let mut text = template.to_owned();
        if !text.ends_with('\n') {
            text.push('\n');
        }
        let mut compiler = Compiler {
            template: &text,
            pieces: pieces(&text)?.into_iter(),
            programs: vec![Vec::new()],
            named: HashMap::new(),
            current: 0,
            variables: vec!["$".to_owned()],
            loops: Vec::new(),
            dots: 0,
            depth: 0,
        };
        match compiler.list()? {
            Stop::Eof => {}
            Stop::End(at) => return compiler.wrong(at, "{{end}} without a beginning"),
            Stop::Else(line) => return compiler.wrong(line.at, "{{else}} without {{if}}"),
        }
        compiler.link();
        Ok(Self {
            programs: compiler.programs,
        })
    }
}

/// What a list of pieces stops at.
enum Stop {
    Eof,
    End(usize),
    Else(Line),
}

/// The tokens of one action.
pub(super) struct Line {
    at: usize,
    pub(super) tokens: std::iter::Peekable<vec::IntoIter<Token>>,
}

impl Line {
    pub(super) fn peek(&mut self) -> Option<&Kind> {
        self.tokens.peek().map(|token| &token.kind)
    }

    /// Where the next token is, or the action if there is none.
    pub(super) fn place(&mut self) -> usize {
        self.tokens.peek().map_or(self.at, |token| token.at)
    }

    fn take_word(&mut self, word: &str) -> bool {
        let is_it = |token: &Token| matches!(&token.kind, Kind::Word(found) if found == word);
        self.tokens.next_if(is_it).is_some()
    }
}

/// A loop that is being compiled.
struct Loop {
    /// How many dots are pushed outside of its body.
    dots: usize,
    breaks: Vec<usize>,
    continues: Vec<usize>,
}

/// A template that is being compiled.
pub(super) struct Compiler<'a> {
    template: &'a str,
    pieces: vec::IntoIter<Piece<'a>>,
    programs: Vec<Vec<Step>>,
    named: HashMap<String, usize>,
    /// The program that is being made.
    current: usize,
    /// Those that can be seen here; their places are their slots.
    pub(super) variables: Vec<String>,
    loops: Vec<Loop>,
    /// Dots that are pushed here.
    dots: usize,
    pub(super) depth: usize,
}

impl Compiler<'_> {
    pub(super) fn wrong<T>(&self, at: usize, problem: impl Into<String>) -> Result<T, BadTemplate> {
        Err(BadTemplate::new(self.template, at, problem))
    }

    pub(super) fn steps(&mut self) -> &mut Vec<Step> {
        &mut self.programs[self.current]
    }

    /// Adds a step and says where.
    pub(super) fn add(&mut self, step: Step) -> usize {
        self.steps().push(step);
        self.steps().len() - 1
    }

    pub(super) fn here(&mut self) -> usize {
        self.steps().len()
    }

    /// Lets the jump at `from` lead to `target`.
    pub(super) fn patch(&mut self, from: usize, target: usize) {
        match &mut self.steps()[from] {
            Step::Jump(to)
            | Step::JumpUnless(to)
            | Step::JumpKeeping { to, .. }
            | Step::Range { empty: to, .. } => *to = target,
            _ => {}
        }
    }

    pub(super) fn enter(&mut self, at: usize) -> Result<(), BadTemplate> {
        self.depth += 1;
        match self.depth > MAX_DEPTH {
            true => self.wrong(at, format!("nested deeper than {MAX_DEPTH}")),
            false => Ok(()),
        }
    }

    /// Compiles pieces up to an `{{end}}` or `{{else}}` of somebody else.
    fn list(&mut self) -> Result<Stop, BadTemplate> {
        loop {
            let (at, tokens) = match self.pieces.next() {
                None => return Ok(Stop::Eof),
                Some(Piece::Text(text)) => {
                    self.add(Step::Literal(text.as_bytes().into()));
                    continue;
                }
                Some(Piece::Action { at, tokens }) => (at, tokens),
            };
            let tokens = tokens.into_iter().peekable();
            let mut line = Line { at, tokens };
            let Some(Kind::Word(word)) = line.peek() else {
                self.output(line)?;
                continue;
            };
            match word.as_str() {
                "end" => {
                    line.tokens.next();
                    self.ends(&mut line)?;
                    return Ok(Stop::End(at));
                }
                "else" => {
                    line.tokens.next();
                    return Ok(Stop::Else(line));
                }
                "if" | "with" | "range" | "define" | "block" | "template" | "break"
                | "continue" => {
                    let word = word.clone();
                    line.tokens.next();
                    self.enter(at)?;
                    match word.as_str() {
                        "if" => self.branch(line, false)?,
                        "with" => self.branch(line, true)?,
                        "range" => self.range(line)?,
                        "define" | "block" => self.define(line, word == "block")?,
                        "template" => self.run(&mut line)?,
                        _ => self.leave(&mut line, word == "break")?,
                    }
                    self.depth -= 1;
                }
                _ => self.output(line)?,
            }
        }
    }

    fn ends(&self, line: &mut Line) -> Result<(), BadTemplate> {
        match line.tokens.next() {
            None => Ok(()),
            Some(token) => self.wrong(token.at, "unexpected, the action should end here"),
        }
    }

    /// `{{pipeline}}`
    fn output(&mut self, mut line: Line) -> Result<(), BadTemplate> {
        let declared = self.pipeline(&mut line, Declares::One)?;
        self.ends(&mut line)?;
        match declared[..] {
            [] => self.add(Step::Print),
            [slot, ..] => self.add(Step::Set(slot)),
        };
        Ok(())
    }

    /// `{{if}}` and `{{with}}`, with all their `{{else}}`.
    fn branch(&mut self, mut line: Line, with: bool) -> Result<(), BadTemplate> {
        let visible = self.variables.len();
        let at = line.at;
        let declared = self.pipeline(&mut line, Declares::One)?;
        self.ends(&mut line)?;
        if let [slot, ..] = declared[..] {
            self.add(Step::Set(slot));
            self.add(Step::Variable(slot));
        }
        let unless = if with {
            // Once to be looked at and once to be the dot.
            let slot = self.variables.len();
            self.variables.push(String::new());
            self.add(Step::Set(slot));
            self.add(Step::Variable(slot));
            let unless = self.add(Step::JumpUnless(0));
            self.add(Step::Variable(slot));
            self.add(Step::PushDot);
            self.dots += 1;
            unless
        } else {
            self.add(Step::JumpUnless(0))
        };
        let stop = self.list()?;
        if with {
            self.add(Step::PopDot);
            self.dots -= 1;
        }
        match stop {
            Stop::Eof => return self.wrong(at, "{{end}} is missing"),
            Stop::End(_) => {
                let here = self.here();
                self.patch(unless, here);
            }
            Stop::Else(mut line) => {
                let over = self.add(Step::Jump(0));
                let here = self.here();
                self.patch(unless, here);
                if line.take_word("if") {
                    self.enter(line.at)?;
                    self.branch(line, false)?;
                    self.depth -= 1;
                } else if with && line.take_word("with") {
                    self.enter(line.at)?;
                    self.branch(line, true)?;
                    self.depth -= 1;
                } else {
                    self.ends(&mut line)?;
                    self.rest(at)?;
                }
                let here = self.here();
                self.patch(over, here);
            }
        }
        self.variables.truncate(visible);
        Ok(())
    }

    /// What is behind an `{{else}}`, up to its `{{end}}`.
    fn rest(&mut self, at: usize) -> Result<(), BadTemplate> {
        match self.list()? {
            Stop::End(_) => Ok(()),
            Stop::Eof => self.wrong(at, "{{end}} is missing"),
            Stop::Else(line) => self.wrong(line.at, "a second {{else}}"),
        }
    }

    fn range(&mut self, mut line: Line) -> Result<(), BadTemplate> {
        let visible = self.variables.len();
        let at = line.at;
        let declared = self.pipeline(&mut line, Declares::Pair)?;
        self.ends(&mut line)?;
        let (key, value) = match declared[..] {
            [] => (None, None),
            [value] => (None, Some(value)),
            [key, value, ..] => (Some(key), Some(value)),
        };
        let begin = self.add(Step::Range {
            key,
            value,
            empty: 0,
        });
        self.dots += 1;
        self.loops.push(Loop {
            dots: self.dots,
            breaks: Vec::new(),
            continues: Vec::new(),
        });
        let stop = self.list()?;
        let next = self.add(Step::Next { body: begin + 1 });
        self.dots -= 1;
        let done = self.loops.pop();
        let over = self.add(Step::Jump(0));
        let here = self.here();
        self.patch(begin, here);
        match stop {
            Stop::Eof => return self.wrong(at, "{{end}} is missing"),
            Stop::End(_) => {}
            Stop::Else(mut line) => {
                self.ends(&mut line)?;
                self.rest(at)?;
            }
        }
        let here = self.here();
        self.patch(over, here);
        if let Some(jumps) = done {
            for from in jumps.breaks {
                self.patch(from, here);
            }
            for from in jumps.continues {
                self.patch(from, next);
            }
        }
        self.variables.truncate(visible);
        Ok(())
    }

    /// `{{break}}` and `{{continue}}`.
    fn leave(&mut self, line: &mut Line, breaks: bool) -> Result<(), BadTemplate> {
        self.ends(line)?;
        let Some(dots) = self.loops.last().map(|one| one.dots) else {
            let word = if breaks { "break" } else { "continue" };
            return self.wrong(line.at, format!("{{{{{word}}}}} outside of {{{{range}}}}"));
        };
        for _ in dots..self.dots {
            self.add(Step::PopDot);
        }
        if breaks {
            self.add(Step::EndRange);
        }
        let jump = self.add(Step::Jump(0));
        if let Some(own) = self.loops.last_mut() {
            match breaks {
                true => own.breaks.push(jump),
                false => own.continues.push(jump),
            }
        }
        Ok(())
    }

    /// The name in `{{define}}`, `{{block}}` and `{{template}}`.
    fn name(&self, line: &mut Line) -> Result<String, BadTemplate> {
        let at = line.place();
        match line.tokens.next().map(|token| token.kind) {
            Some(Kind::Text(name)) => Ok(String::from_utf8_lossy(&name).into_owned()),
            _ => self.wrong(at, "the name of a template is missing, in quotes"),
        }
    }

    fn define(&mut self, mut line: Line, runs: bool) -> Result<(), BadTemplate> {
        let at = line.at;
        if !runs && (self.current != 0 || self.depth > 1) {
            return self.wrong(at, "{{define}} inside of another action");
        }
        let name = self.name(&mut line)?;
        if runs {
            if line.peek().is_none() {
                return self.wrong(at, "{{block}} without a value");
            }
            self.pipeline(&mut line, Declares::Nothing)?;
            self.add(Step::Run {
                program: None,
                name: name.clone().into(),
            });
        }
        self.ends(&mut line)?;
        self.programs.push(Vec::new());
        let own = self.programs.len() - 1;
        self.named.insert(name, own);
        let outer = (
            std::mem::replace(&mut self.current, own),
            std::mem::replace(&mut self.variables, vec!["$".to_owned()]),
            std::mem::take(&mut self.loops),
            std::mem::take(&mut self.dots),
        );
        self.rest(at)?;
        (self.current, self.variables, self.loops, self.dots) = outer;
        Ok(())
    }

    /// `{{template}}`
    fn run(&mut self, line: &mut Line) -> Result<(), BadTemplate> {
        let name = self.name(line)?;
        match line.peek() {
            None => {
                self.add(Step::Constant(Constant::Nil));
            }
            Some(_) => {
                self.pipeline(line, Declares::Nothing)?;
            }
        }
        self.ends(line)?;
        self.add(Step::Run {
            program: None,
            name: name.into(),
        });
        Ok(())
    }

    /// Lets each call of a program lead to the one that was defined last under its name.
    fn link(&mut self) {
        for step in self.programs.iter_mut().flatten() {
            if let Step::Run { program, name } = step {
                *program = self.named.get(&**name).copied();
            }
        }
    }
}
